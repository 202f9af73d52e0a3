"""Reading vertices and texels below the samples of an image."""

from typing import NamedTuple

import numpy as np

from facexai.rendering.compiled import compiled
from facexai.rendering.layers import BLUE, GREEN, RED
from facexai.rendering.rasterizer import JIT


class Scale(NamedTuple):
    """Texels per vertex of a layer."""

    rows: float
    columns: float


@compiled(**JIT)
def texture_scale(texture, attributes):
    """Texels per vertex, down and across."""
    return Scale(
        (texture.shape[0] - 1.0) / (attributes.shape[0] - 1), (texture.shape[1] - 1.0) / (attributes.shape[1] - 1)
    )


@compiled(**JIT)
def sample_vertices(attributes, row, column, out):
    """Bilinear interpolation of the vertex attributes at grid coordinates."""
    rows, columns, count = attributes.shape
    i, j = min(int(row), rows - 2), min(int(column), columns - 2)
    down, right = row - i, column - j
    a, b, c, d = (1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right
    for k in range(count):
        out[k] = (
            a * attributes[i, j, k]
            + b * attributes[i, j + 1, k]
            + c * attributes[i + 1, j, k]
            + d * attributes[i + 1, j + 1, k]
        )


@compiled(**JIT)
def sample_place(places, row, column):
    """Bilinear canonical position (x, row) in mm at texture coordinates."""
    i, j = min(int(row), places.shape[0] - 2), min(int(column), places.shape[1] - 2)
    down, right = row - i, column - j
    a, b, c, d = (1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right
    x = a * places[i, j, 0] + b * places[i, j + 1, 0] + c * places[i + 1, j, 0] + d * places[i + 1, j + 1, 0]
    y = a * places[i, j, 1] + b * places[i, j + 1, 1] + c * places[i + 1, j, 1] + d * places[i + 1, j + 1, 1]
    return x, y


@compiled(**JIT)
def nearest_texel(texture, buffers, scale, y, x):
    """The texel at one sample of the image; also works for the places of the texels."""
    return texture[int(buffers.rows[y, x] * scale.rows + 0.5), int(buffers.columns[y, x] * scale.columns + 0.5)]


@compiled(**JIT)
def block_is_uniform(buffers, layer, y, x):
    """Whether a 2x2 block lies wholly inside one layer, so that it can be lit once (adaptive supersampling)."""
    layers, columns_at = buffers.layers, buffers.columns
    return (
        layers[y, x] == layer
        and layers[y, x + 1] == layer
        and layers[y + 1, x] == layer
        and layers[y + 1, x + 1] == layer
        and abs(columns_at[y, x] - columns_at[y + 1, x + 1]) < 2
    )


@compiled(**JIT)
def block_centre(buffers, y, x):
    """Mean grid row and column of a 2x2 block."""
    rows, columns = buffers.rows, buffers.columns
    row = 0.25 * (rows[y, x] + rows[y, x + 1] + rows[y + 1, x] + rows[y + 1, x + 1])
    return row, 0.25 * (columns[y, x] + columns[y, x + 1] + columns[y + 1, x] + columns[y + 1, x + 1])


@compiled(**JIT)
def average_colour(texture, buffers, scale, y, x):
    """Mean colour of the four texels below a 2x2 block."""
    red, green, blue = 0.0, 0.0, 0.0
    for dy in range(2):
        for dx in range(2):
            texel = nearest_texel(texture, buffers, scale, y + dy, x + dx)
            red += 0.25 * texel[RED]
            green += 0.25 * texel[GREEN]
            blue += 0.25 * texel[BLUE]
    return red, green, blue


@compiled(**JIT)
def repeat_block(image, labels, y, x):
    """Copy the first pixel of a 2x2 block over the other three."""
    for dy in range(2):
        for dx in range(2):
            labels[y + dy, x + dx] = labels[y, x]
            for k in range(3):
                image[y + dy, x + dx, k] = image[y, x, k]


@compiled(**JIT)
def normalize(normal, two_sided):
    """Scale a normal to unit length in place; a two-sided one is turned towards the camera."""
    scale = 1 / (np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + 1e-6)
    if two_sided and normal[2] < 0:
        scale = -scale
    normal[0] *= scale
    normal[1] *= scale
    normal[2] *= scale
