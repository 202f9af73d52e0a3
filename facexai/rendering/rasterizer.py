"""Vertices to pixels: transformation, normals, z-buffer and shadow map. All kernels are compiled by numba."""

import numpy as np
from numba import njit

from facexai.rendering.layers import ALPHA_CHANNEL

JIT = {"cache": True, "fastmath": True, "error_model": "numpy", "nogil": True}
NOTHING = -1  # value of the layer buffer where no layer is
FAR = np.float32(-1e9)
SHADOW_FLOOR = 0.18  # light that is left in full shadow


@njit(**JIT)
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


@njit(**JIT)
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


@njit(**JIT)
def rasterize(screen, texture, cut_out, one_sided, layer, depth, columns_at, rows_at, layers):
    """Draw one mesh into the z-buffer.

    Args:
        screen: x right, y down, depth (larger is nearer). Shape (rows, columns, 3), float32.
        texture: read for its alpha only where `cut_out`.
        cut_out: whether alpha below one half is a hole.
        one_sided: whether faces seen from behind are left out.
        layer: number to write into `layers`.
        depth: nearest depth so far, changed in place as the next three. Shape (height, width).
        columns_at: grid column there.
        rows_at: grid row there.
        layers: number of the nearest layer.
    """
    rows, columns, _ = screen.shape
    height, width = depth.shape
    row_scale = np.float32((texture.shape[0] - 1.0) / (rows - 1))
    column_scale = np.float32((texture.shape[1] - 1.0) / (columns - 1))
    one, half, slack = np.float32(1), np.float32(0.5), np.float32(-1e-5)
    for i in range(rows - 1):
        for j in range(columns - 1):
            for second in range(2):
                ib, jb = i + 1, j + second
                ic, jc = i + 1 - second, j + 1
                ax, ay = screen[i, j, 0], screen[i, j, 1]
                bx, by = screen[ib, jb, 0], screen[ib, jb, 1]
                cx, cy = screen[ic, jc, 0], screen[ic, jc, 1]
                area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
                if area == 0 or (one_sided and area > 0):
                    continue
                x_first, x_last = (
                    int(np.ceil(max(min(ax, bx, cx), 0.0))),
                    int(np.floor(min(max(ax, bx, cx), width - 1))),
                )
                if x_last < x_first:
                    continue
                y_first, y_last = (
                    int(np.ceil(max(min(ay, by, cy), 0.0))),
                    int(np.floor(min(max(ay, by, cy), height - 1))),
                )
                if y_last < y_first:
                    continue
                inverse = one / area
                az, bz, cz = screen[i, j, 2], screen[ib, jb, 2], screen[ic, jc, 2]
                b_step, c_step = (cy - ay) * inverse, -(by - ay) * inverse
                for y in range(y_first, y_last + 1):
                    dx, dy = np.float32(x_first) - ax, np.float32(y) - ay
                    b = (dx * (cy - ay) - dy * (cx - ax)) * inverse
                    c = ((bx - ax) * dy - (by - ay) * dx) * inverse
                    for x in range(x_first, x_last + 1):
                        a = one - b - c
                        if a >= slack and b >= slack and c >= slack:
                            z = a * az + b * bz + c * cz
                            if z > depth[y, x]:
                                row = np.float32(i) + b + c * np.float32(ic - i)
                                column = np.float32(j) + b * np.float32(jb - j) + c
                                solid = True
                                if cut_out:
                                    alpha = texture[
                                        int(row * row_scale + half), int(column * column_scale + half), ALPHA_CHANNEL
                                    ]
                                    solid = alpha >= half
                                if solid:
                                    depth[y, x], layers[y, x] = z, layer
                                    columns_at[y, x], rows_at[y, x] = column, row
                        b += b_step
                        c += c_step


@njit(**JIT)
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
