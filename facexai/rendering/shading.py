"""Light on surfaces: second-order ambient light, one key light with soft shadow, skin, hair, cloth and glass."""

from typing import NamedTuple

import numpy as np
from numba import njit

from facexai.rendering.eyes import EYE_CENTRE, MISSED, SLIT_ROW, eyeball, inside_mouth, lid_shade
from facexai.rendering.head import LABEL
from facexai.rendering.layers import (
    AGE_SPOT,
    BLUE,
    COVERAGE,
    GLOSS,
    GREEN,
    LABEL_CHANNEL,
    RED,
    STRAND_CHANNEL,
    WRINKLE,
)
from facexai.rendering.rasterizer import JIT

MOUTH_LABEL = LABEL["mouth"]
OCCLUSION, SUN = 3, 4  # places in a vertex attribute after the normal; a tangent follows


class Light(NamedTuple):
    """Key light: direction towards it, half vector with the view, and strength."""

    x: float
    y: float
    z: float
    half_x: float
    half_y: float
    half_z: float
    strength: float


def key_light(direction: tuple[float, float, float], strength: float) -> Light:
    """Light from `direction` (towards the light, camera coordinates; any length)."""
    x, y, z = np.asarray(direction, float) / np.linalg.norm(direction)
    length = float(np.sqrt(x * x + y * y + (z + 1) ** 2)) + 1e-9
    return Light(*(float(value) for value in (x, y, z, x / length, y / length, (z + 1) / length, strength)))


@njit(inline="always")
def square(x):
    """X times x."""
    return x * x


@njit(**JIT)
def ambient_light(harmonics, x, y, z):
    """Ambient light from direction (x, y, z): nine coefficients, constant, linear, quadratic."""
    light = harmonics[0] + harmonics[1] * x + harmonics[2] * y + harmonics[3] * z
    light += harmonics[4] * x * y + harmonics[5] * y * z + harmonics[6] * (3 * z * z - 1)
    light += harmonics[7] * x * z + harmonics[8] * (x * x - y * y)
    return max(light, 0.03)


@njit(**JIT)
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


@njit(**JIT)
def sample_place(places, row, column):
    """Bilinear canonical position (x, row) in mm at texture coordinates."""
    i, j = min(int(row), places.shape[0] - 2), min(int(column), places.shape[1] - 2)
    down, right = row - i, column - j
    a, b, c, d = (1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right
    x = a * places[i, j, 0] + b * places[i, j + 1, 0] + c * places[i + 1, j, 0] + d * places[i + 1, j + 1, 0]
    y = a * places[i, j, 1] + b * places[i, j + 1, 1] + c * places[i + 1, j, 1] + d * places[i + 1, j + 1, 1]
    return x, y


@njit(**JIT)
def block_is_uniform(layers, columns_at, layer, y, x):
    """Whether a 2x2 block lies wholly inside one layer, so that it can be lit once (adaptive supersampling)."""
    return (
        layers[y, x] == layer
        and layers[y, x + 1] == layer
        and layers[y + 1, x] == layer
        and layers[y + 1, x + 1] == layer
        and abs(columns_at[y, x] - columns_at[y + 1, x + 1]) < 2
    )


@njit(**JIT)
def is_detailed(x, row):
    """Eyes and lip line, where every sample is lit."""
    return (12 < abs(x) < 52 and abs(row) < 16) or (abs(row - SLIT_ROW) < 5 and abs(x) < 28)


@njit(**JIT)
def light_skin(red, green, blue, shine, sharp, normal, light, harmonics, occlusion):
    """Reflected light of skin, eyes and cloth: wrapped diffuse light per channel (blood scatters red) and two lobes."""
    nx, ny, nz, sun = normal[0], normal[1], normal[2], normal[SUN]
    ambient = ambient_light(harmonics, nx, ny, nz) * occlusion
    facing = nx * light.x + ny * light.y + nz * light.z
    half = max(nx * light.half_x + ny * light.half_y + nz * light.half_z, 0.0)
    edge = 1 - max(nz, 0.0)
    highlight = 0.0
    p4 = square(square(half))
    p16 = square(square(p4))
    if sharp:
        p32 = p16 * p16
        highlight = square(square(p32)) * p32 * 1.2 * light.strength
    elif facing > 0 and half > 0.6:
        p64 = square(square(p16))
        fresnel = 0.4 + 0.6 * edge * edge * edge
        highlight = shine * (p16 * p4 * 0.8 + 0.55 * p64) * fresnel * 2 * light.strength * sun
    soft = 0.12 + 0.88 * sun
    red *= ambient + light.strength * max((facing + 0.30) / 1.30, 0.0) * soft
    green *= ambient + light.strength * max((facing + 0.14) / 1.14, 0.0) * sun
    blue *= ambient + light.strength * max((facing + 0.09) / 1.09, 0.0) * sun
    return red + highlight, green + highlight, blue + highlight


@njit(**JIT)
def light_hair(red, green, blue, strand, sleek, surface, light, harmonics):
    """Reflected light of hair: wrapped diffuse light and two highlights across the strands (Kajiya-Kay)."""
    nx, ny, nz, sun = surface[0], surface[1], surface[2], surface[SUN]
    tx, ty, tz = surface[5], surface[6], surface[7]
    scale = 1 / (np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6)
    along = (tx * light.half_x + ty * light.half_y + tz * light.half_z) * scale + 0.10 * strand
    across = max(1 - along * along, 0.0)
    facing = nx * light.x + ny * light.y + nz * light.z
    diffuse = max((facing + 0.35) / 1.35, 0.0) * light.strength * (0.35 + 0.65 * sun)
    p8 = square(square(square(across)))
    shine = sleek * (square(square(p8)) * p8 * 0.09 + p8 * across * across * 0.03)
    shine *= light.strength * max(facing + 0.3, 0.0) * sun
    total = ambient_light(harmonics, nx, ny, nz) * surface[OCCLUSION] + diffuse
    return red * total + shine * (0.5 + red), green * total + shine * (0.5 + green), blue * total + shine * (0.5 + blue)


@njit(**JIT)
def normalize(normal, two_sided):
    """Scale a normal to unit length in place; a two-sided one is turned towards the camera."""
    scale = 1 / (np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + 1e-6)
    if two_sided and normal[2] < 0:
        scale = -scale
    normal[0] *= scale
    normal[1] *= scale
    normal[2] *= scale


@njit(**JIT)
def shade_skin(
    layer,
    attributes,
    texture,
    places,
    columns_at,
    rows_at,
    layers,
    rotation,
    light,
    harmonics,
    eye,
    face,
    image,
    labels,
):
    """Light all pixels of the skin layer; changes `image` and `labels` in place."""
    height, width = columns_at.shape
    row_scale = (texture.shape[0] - 1.0) / (attributes.shape[0] - 1)
    column_scale = (texture.shape[1] - 1.0) / (attributes.shape[1] - 1)
    surface = np.empty(attributes.shape[2], np.float32)
    for y in range(0, height - 1, 2):
        for x in range(0, width - 1, 2):
            whole = block_is_uniform(layers, columns_at, layer, y, x)
            if whole:
                i, j = int(rows_at[y, x] * row_scale + 0.5), int(columns_at[y, x] * column_scale + 0.5)
                whole = not is_detailed(places[i, j, 0], places[i, j, 1])
            for k in range(1 if whole else 4):
                py, px = y + k // 2, x + k % 2
                if layers[py, px] != layer:
                    continue
                row, column = rows_at[py, px], columns_at[py, px]
                i, j = int(row * row_scale + 0.5), int(column * column_scale + 0.5)
                red, green, blue = texture[i, j, RED], texture[i, j, GREEN], texture[i, j, BLUE]
                if whole:
                    row = 0.25 * (row + rows_at[y, x + 1] + rows_at[y + 1, x] + rows_at[y + 1, x + 1])
                    column = 0.25 * (column + columns_at[y, x + 1] + columns_at[y + 1, x] + columns_at[y + 1, x + 1])
                    red, green, blue = average_colour(texture, rows_at, columns_at, row_scale, column_scale, y, x)
                sample_vertices(attributes, row, column, surface)
                normalize(surface, False)
                label = int(texture[i, j, LABEL_CHANNEL])
                shine = 0.15 * texture[i, j, GLOSS] * face.gloss
                occlusion, sharp = surface[OCCLUSION], False
                red, green, blue = grow_old(red, green, blue, texture[i, j], face)
                if not whole and is_detailed(places[i, j, 0], places[i, j, 1]):
                    cx, cy = sample_place(places, row * row_scale, column * column_scale)
                    if abs(cy) < 16 and surface[2] > -0.5:
                        along = (abs(cx) - EYE_CENTRE) / eye.half_width
                        if abs(along) < 1.13:
                            level = cy - eye.tilt * along
                            er, eg, eb = eyeball(cx, cy, along, level, eye, face)
                            if er == MISSED:
                                shade = lid_shade(along, level, eye, face)
                                red, green, blue = red * shade, green * shade * 0.98, blue * shade
                            else:
                                red, green, blue, sharp, occlusion = (
                                    er,
                                    eg,
                                    eb,
                                    surface[2] > 0.45 and abs(along) < 0.72,
                                    max(occlusion, 0.8),
                                )
                                occlusion *= min(1.0, 0.45 + surface[2])
                                ball_normal(cx, cy, rotation, surface)
                    elif face.mouth_open > 1 and abs(cy - SLIT_ROW) < 1.75 and abs(cx) < 24.5:
                        mr, mg, mb = inside_mouth(abs(cx), cy, face)
                        label = MOUTH_LABEL
                        if mr != MISSED:
                            red, green, blue, shine = mr, mg, mb, 0.05
                            occlusion = min(occlusion, 0.8)
                red, green, blue = light_skin(red, green, blue, shine, sharp, surface, light, harmonics, occlusion)
                image[py, px, 0], image[py, px, 1], image[py, px, 2] = red, green, blue
                labels[py, px] = label
            if whole:
                repeat_block(image, labels, y, x)


@njit(**JIT)
def average_colour(texture, rows_at, columns_at, row_scale, column_scale, y, x):
    """Mean colour of the four texels below a 2x2 block."""
    red, green, blue = 0.0, 0.0, 0.0
    for dy in range(2):
        for dx in range(2):
            texel = texture[
                int(rows_at[y + dy, x + dx] * row_scale + 0.5), int(columns_at[y + dy, x + dx] * column_scale + 0.5)
            ]
            red += 0.25 * texel[RED]
            green += 0.25 * texel[GREEN]
            blue += 0.25 * texel[BLUE]
    return red, green, blue


@njit(**JIT)
def repeat_block(image, labels, y, x):
    """Copy the first pixel of a 2x2 block over the other three."""
    for dy in range(2):
        for dx in range(2):
            labels[y + dy, x + dx] = labels[y, x]
            for k in range(3):
                image[y + dy, x + dx, k] = image[y, x, k]


@njit(**JIT)
def grow_old(red, green, blue, texel, face):
    """Wrinkles and spots darken the skin; brows, beard and shaven scalp turn grey."""
    if face.age > 0:
        dark = 1 - 0.40 * face.age * min(texel[WRINKLE], 1.2) - 0.20 * face.age * texel[AGE_SPOT]
        red, green, blue = red * dark, green * dark, blue * dark
    if texel[COVERAGE] > 0.02 and face.grey > 0:
        weight = texel[COVERAGE] * face.grey
        red, green, blue = red + (0.42 - red) * weight, green + (0.42 - green) * weight, blue + (0.41 - blue) * weight
    return red, green, blue


@njit(**JIT)
def ball_normal(x, row, rotation, surface):
    """Normal of a sphere of 13 mm behind the lids, in camera coordinates: it makes the catch-light."""
    side = 1.0 if x > 0 else -1.0
    ox, oy = (x - side * EYE_CENTRE) / 13.0, row / 13.0
    oz = np.sqrt(max(1 - ox * ox - oy * oy, 0.05))
    for k in range(3):
        surface[k] = rotation[k, 0] * ox + rotation[k, 1] * oy + rotation[k, 2] * oz


@njit(**JIT)
def shade_shell(layer, hairy, attributes, texture, columns_at, rows_at, layers, light, harmonics, grey, image, labels):
    """Light all pixels of a hair, ear or occluder layer; changes `image` and `labels` in place."""
    height, width = columns_at.shape
    row_scale = (texture.shape[0] - 1.0) / (attributes.shape[0] - 1)
    column_scale = (texture.shape[1] - 1.0) / (attributes.shape[1] - 1)
    surface = np.empty(attributes.shape[2], np.float32)
    for y in range(0, height - 1, 2):
        for x in range(0, width - 1, 2):
            whole = block_is_uniform(layers, columns_at, layer, y, x)
            for k in range(1 if whole else 4):
                py, px = y + k // 2, x + k % 2
                if layers[py, px] != layer:
                    continue
                row, column = rows_at[py, px], columns_at[py, px]
                texel = texture[int(row * row_scale + 0.5), int(column * column_scale + 0.5)]
                red, green, blue = texel[RED], texel[GREEN], texel[BLUE]
                if whole:
                    red, green, blue = average_colour(texture, rows_at, columns_at, row_scale, column_scale, y, x)
                sample_vertices(attributes, row, column, surface)
                normalize(surface, True)
                if hairy:
                    lightness = 0.30 * (0.75 + 0.25 * texel[STRAND_CHANNEL])
                    red += (lightness - red) * grey
                    green += (lightness - green) * grey
                    blue += (lightness - blue) * grey
                    strand, sleek = texel[STRAND_CHANNEL], texel[STRAND_CHANNEL + 1]
                    red, green, blue = light_hair(red, green, blue, strand, sleek, surface, light, harmonics)
                else:
                    shine = 0.15 * texel[GLOSS]
                    red, green, blue = light_skin(
                        red, green, blue, shine, False, surface, light, harmonics, surface[OCCLUSION]
                    )
                image[py, px, 0], image[py, px, 1], image[py, px, 2] = red, green, blue
                labels[py, px] = int(texel[LABEL_CHANNEL])
            if whole:
                repeat_block(image, labels, y, x)


@njit(**JIT)
def glaze(layer, attributes, columns_at, rows_at, layers, light, harmonics, image):
    """Lay clear glass over the picture: it takes a little light away and reflects the key light and the sky."""
    height, width = columns_at.shape
    surface = np.empty(attributes.shape[2], np.float32)
    for y in range(height):
        for x in range(width):
            if layers[y, x] != layer:
                continue
            sample_vertices(attributes, rows_at[y, x], columns_at[y, x], surface)
            normalize(surface, True)
            nx, ny, nz = surface[0], surface[1], surface[2]
            edge = 1 - nz
            # The mirrored view direction looks up the ambient light; a bright window hangs where the key light is.
            sky = ambient_light(harmonics, 2 * nx * nz, 2 * ny * nz, 2 * nz * nz - 1)
            half = max(nx * light.half_x + ny * light.half_y + nz * light.half_z, 0.0)
            window = min(max((half - 0.955) / 0.03, 0.0), 1.0) * light.strength * 0.28
            mirror = (0.05 + 0.5 * edge * edge * edge) * sky * 0.6 + window
            for k in range(3):
                image[y, x, k] = image[y, x, k] * 0.90 + mirror
