"""Vertices to pixels: transformation, normals, z-buffer and shadow map. All kernels are compiled by numba."""

from typing import NamedTuple

import numpy as np

from facexai.rendering.compiled import compiled
from facexai.rendering.layers import ALPHA_CHANNEL

JIT = {"fastmath": True, "error_model": "numpy", "nogil": True}
NOTHING = -1  # value of the layer buffer where no layer is
FAR = np.float32(-1e9)
SHADOW_FLOOR = 0.18  # light that is left in full shadow


@compiled(**JIT)
def vertex_normals(points):
    """Unit normals of a grid of vertices that is closed in its columns. Shape (rows, columns, 3)."""
    rows, columns, _ = points.shape
    normals = np.empty_like(points)
    for i in range(rows):
        above, below = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            left = j - 1 if j > 0 else columns - 2
            right = j + 1 if j < columns - 1 else 1
            ax = points[i, right, 0] - points[i, left, 0]
            ay = points[i, right, 1] - points[i, left, 1]
            az = points[i, right, 2] - points[i, left, 2]
            bx = points[above, j, 0] - points[below, j, 0]
            by = points[above, j, 1] - points[below, j, 1]
            bz = points[above, j, 2] - points[below, j, 2]
            x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            scale = 1 / (np.sqrt(x * x + y * y + z * z) + 1e-6)
            normals[i, j, 0], normals[i, j, 1], normals[i, j, 2] = x * scale, y * scale, z * scale
    return normals


@compiled(**JIT)
def project(points, expressions, weights, follows, rotation, distance, alignment, light_frame, light_scale, light_size):
    """Expression, rotation, perspective and alignment of one mesh.

    Returns:
        Three arrays of shape (rows, columns, 3): camera coordinates in mm, screen and shadow map
        (x, y, depth).
    """
    rows, columns, _ = points.shape
    camera, screen, shadow = np.empty_like(points), np.empty_like(points), np.empty_like(points)
    for i in range(rows):
        for j in range(columns):
            x, y, z = points[i, j, 0], points[i, j, 1], points[i, j, 2]
            if follows[i] > 0:
                for k in range(len(weights)):
                    weight = weights[k] * follows[i]
                    if weight != 0:
                        x += weight * expressions[k, i, j, 0]
                        y += weight * expressions[k, i, j, 1]
                        z += weight * expressions[k, i, j, 2]
            cx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
            cy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
            cz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
            camera[i, j, 0], camera[i, j, 1], camera[i, j, 2] = cx, cy, cz
            scale = distance / (distance - cz)
            px, py = cx * scale, -cy * scale
            screen[i, j, 0] = alignment[0, 0] * px + alignment[0, 1] * py + alignment[0, 2]
            screen[i, j, 1] = alignment[1, 0] * px + alignment[1, 1] * py + alignment[1, 2]
            screen[i, j, 2] = cz
            sx = light_frame[0, 0] * cx + light_frame[0, 1] * cy + light_frame[0, 2] * cz
            sy = light_frame[1, 0] * cx + light_frame[1, 1] * cy + light_frame[1, 2] * cz
            shadow[i, j, 0] = light_size * 0.5 + light_scale * sx
            shadow[i, j, 1] = light_size * 0.5 - light_scale * (sy + 15)
            shadow[i, j, 2] = light_frame[2, 0] * cx + light_frame[2, 1] * cy + light_frame[2, 2] * cz
    return camera, screen, shadow


class Buffers(NamedTuple):
    """A z-buffer: of each sample the nearest depth, its grid column and row, and the number of its layer."""

    depth: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    layers: np.ndarray


def empty_buffers(size: int) -> Buffers:
    """A z-buffer with nothing in it. Shape (size, size) each."""
    shape = (size, size)
    columns, rows = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    return Buffers(np.full(shape, FAR, np.float32), columns, rows, np.full(shape, NOTHING, np.int8))


@compiled(**JIT)
def rasterize(screen, texture, cut_out, one_sided, layer, buffers):
    """Draw one mesh into the z-buffer.

    Args:
        screen: x right, y down, depth (larger is nearer). Shape (rows, columns, 3), float32.
        texture: read for its alpha only where `cut_out`.
        cut_out: whether alpha below one half is a hole.
        one_sided: whether faces seen from behind are left out.
        layer: number to write into `buffers.layers`.
        buffers: the z-buffer, changed in place.
    """
    rows, columns, _ = screen.shape
    row_scale = np.float32((texture.shape[0] - 1.0) / (rows - 1))
    column_scale = np.float32((texture.shape[1] - 1.0) / (columns - 1))
    for i in range(rows - 1):
        for j in range(columns - 1):
            for second in range(2):  # the two triangles of a square of the grid
                corners = (i, j, i + 1, j + second, i + 1 - second, j + 1)
                fill_triangle(screen, corners, texture, row_scale, column_scale, cut_out, one_sided, layer, buffers)


@compiled(inline="always", **JIT)
def fill_triangle(screen, corners, texture, row_scale, column_scale, cut_out, one_sided, layer, buffers):
    """Draw one triangle; `corners` are the grid rows and columns of its corners."""
    one, half, slack = np.float32(1), np.float32(0.5), np.float32(-1e-5)
    ia, ja, ib, jb, ic, jc = corners
    ax, ay, az = screen[ia, ja, 0], screen[ia, ja, 1], screen[ia, ja, 2]
    bx, by, bz = screen[ib, jb, 0], screen[ib, jb, 1], screen[ib, jb, 2]
    cx, cy, cz = screen[ic, jc, 0], screen[ic, jc, 1], screen[ic, jc, 2]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0 or (one_sided and area > 0):
        return
    x_first, x_last = samples_between(min(ax, bx, cx), max(ax, bx, cx), buffers.depth.shape[1])
    y_first, y_last = samples_between(min(ay, by, cy), max(ay, by, cy), buffers.depth.shape[0])
    inverse = one / area
    b_step, c_step = (cy - ay) * inverse, -(by - ay) * inverse
    for y in range(y_first, y_last + 1):
        dx, dy = np.float32(x_first) - ax, np.float32(y) - ay
        b = (dx * (cy - ay) - dy * (cx - ax)) * inverse
        c = ((bx - ax) * dy - (by - ay) * dx) * inverse
        for x in range(x_first, x_last + 1):
            a = one - b - c
            if a >= slack and b >= slack and c >= slack:
                z = a * az + b * bz + c * cz
                if z > buffers.depth[y, x]:
                    row = np.float32(ia) + b + c * np.float32(ic - ia)
                    column = np.float32(ja) + b * np.float32(jb - ja) + c
                    solid = True
                    if cut_out:
                        i, j = int(row * row_scale + half), int(column * column_scale + half)
                        solid = texture[i, j, ALPHA_CHANNEL] >= half
                    if solid:
                        buffers.depth[y, x], buffers.layers[y, x] = z, layer
                        buffers.columns[y, x], buffers.rows[y, x] = column, row
            b += b_step
            c += c_step


@compiled(**JIT)
def samples_between(low, high, size):
    """First and last sample of 0 .. size - 1 in an interval."""
    return int(np.ceil(max(low, 0.0))), int(np.floor(min(high, size - 1)))


@compiled(**JIT)
def sunlight(shadow, shadow_map, bias):
    """Share of the key light that reaches each vertex: 3x3 percentage-closer look-up. Shape (rows, columns)."""
    rows, columns, _ = shadow.shape
    light = np.ones((rows, columns), np.float32)
    last = shadow_map.shape[0] - 2
    for i in range(rows):
        for j in range(columns):
            x, y = int(shadow[i, j, 0] + 0.5), int(shadow[i, j, 1] + 0.5)
            if x > 1 and y > 1 and x < last and y < last:
                lit = 0
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        if shadow[i, j, 2] + bias > shadow_map[y + dy, x + dx]:
                            lit += 1
                light[i, j] = SHADOW_FLOOR + (1 - SHADOW_FLOOR) * lit / 9.0
    return light
