"""Colour of every sample: skin with eyes and mouth, shells of hair and cloth, clear glass."""

import numpy as np

from facexai.rendering.compiled import compiled
from facexai.rendering.eyes import SLIT_ROW, is_detailed, paint_eye, paint_mouth
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
from facexai.rendering.lighting import OCCLUSION, Skin, ambient_light, light_hair, light_skin
from facexai.rendering.rasterizer import JIT
from facexai.rendering.sampling import (
    average_colour,
    block_centre,
    block_is_uniform,
    nearest_texel,
    normalize,
    repeat_block,
    sample_place,
    sample_vertices,
    texture_scale,
)

SHININESS = 0.15


@compiled(**JIT)
def shade_skin(layer, attributes, texture, places, buffers, rotation, light, eye, face, image, labels):
    """Light all samples of the skin layer; changes `image` and `labels` in place.

    Args:
        layer: its number in `buffers`.
        attributes: normal, occlusion and sun of each vertex. Shape (rows, columns, 5).
        texture: channels as in layers.py. Shape (H, W, 8).
        places: canonical (x, row) of every texel in mm. Shape (H, W, 2).
        buffers: the z-buffer.
        rotation: of the head. Shape (3, 3).
        light: key and ambient light.
        eye: the eyes of the identity.
        face: expression, age and gaze of the image.
        image: linear RGB. Shape (height, width, 3).
        labels: region of each sample. Shape (height, width).
    """
    scale = texture_scale(texture, attributes)
    surface = np.empty(attributes.shape[2], np.float32)
    for y in range(0, image.shape[0] - 1, 2):
        for x in range(0, image.shape[1] - 1, 2):
            whole = block_is_uniform(buffers, layer, y, x)
            if whole:
                place = nearest_texel(places, buffers, scale, y, x)
                whole = not is_detailed(place[0], place[1])
            if whole:
                row, column = block_centre(buffers, y, x)
                colour = average_colour(texture, buffers, scale, y, x)
                texel = nearest_texel(texture, buffers, scale, y, x)
                skin = plain_skin(colour, texel, attributes, row, column, face, surface)
                image[y, x, 0], image[y, x, 1], image[y, x, 2] = light_skin(skin, surface, light)
                labels[y, x] = skin.label
                repeat_block(image, labels, y, x)
                continue
            for py in range(y, y + 2):
                for px in range(x, x + 2):
                    if buffers.layers[py, px] == layer:
                        row, column = buffers.rows[py, px], buffers.columns[py, px]
                        texel = nearest_texel(texture, buffers, scale, py, px)
                        colour = texel[RED], texel[GREEN], texel[BLUE]
                        skin = plain_skin(colour, texel, attributes, row, column, face, surface)
                        place = nearest_texel(places, buffers, scale, py, px)
                        if is_detailed(place[0], place[1]):
                            cx, cy = sample_place(places, row * scale.rows, column * scale.columns)
                            skin = paint_details(skin, cx, cy, rotation, eye, face, surface)
                        image[py, px, 0], image[py, px, 1], image[py, px, 2] = light_skin(skin, surface, light)
                        labels[py, px] = skin.label


@compiled(**JIT)
def plain_skin(colour, texel, attributes, row, column, face, surface):
    """Skin at a grid position without eyes and mouth; fills `surface` with the vertex attributes there."""
    sample_vertices(attributes, row, column, surface)
    normalize(surface, False)
    red, green, blue = grow_old(colour[0], colour[1], colour[2], texel, face)
    shine = SHININESS * texel[GLOSS] * face.gloss
    return Skin(red, green, blue, shine, np.float64(surface[OCCLUSION]), False, int(texel[LABEL_CHANNEL]))


@compiled(**JIT)
def paint_details(skin, x, row, rotation, eye, face, surface):
    """Eyes and inside of the mouth at canonical position (x, row) mm."""
    if abs(row) < 16 and surface[2] > -0.5:
        return paint_eye(skin, x, row, rotation, eye, face, surface)
    if face.mouth_open > 1 and abs(row - SLIT_ROW) < 1.75 and abs(x) < 24.5:
        return paint_mouth(skin, x, row, face)
    return skin


@compiled(**JIT)
def grow_old(red, green, blue, texel, face):
    """Wrinkles and spots darken the skin; brows, beard and shaven scalp turn grey."""
    if face.age > 0:
        dark = 1 - 0.40 * face.age * min(texel[WRINKLE], 1.2) - 0.20 * face.age * texel[AGE_SPOT]
        red, green, blue = red * dark, green * dark, blue * dark
    if texel[COVERAGE] > 0.02 and face.grey > 0:
        weight = texel[COVERAGE] * face.grey
        red, green, blue = red + (0.42 - red) * weight, green + (0.42 - green) * weight, blue + (0.41 - blue) * weight
    return red, green, blue


@compiled(**JIT)
def shade_shell(layer, hairy, attributes, texture, buffers, light, grey, image, labels):
    """Light all samples of a hair, ear or occluder layer; changes `image` and `labels` in place.

    Args:
        layer: its number in `buffers`.
        hairy: whether it is hair.
        attributes: normal, occlusion, sun and for hair the tangent of each vertex. Shape (rows, columns, 5 or 8).
        texture: channels as in layers.py. Shape (H, W, 8).
        buffers: the z-buffer.
        light: key and ambient light.
        grey: share of grey hair.
        image: linear RGB. Shape (height, width, 3).
        labels: region of each sample. Shape (height, width).
    """
    scale = texture_scale(texture, attributes)
    surface = np.empty(attributes.shape[2], np.float32)
    for y in range(0, image.shape[0] - 1, 2):
        for x in range(0, image.shape[1] - 1, 2):
            whole = block_is_uniform(buffers, layer, y, x)
            for k in range(1 if whole else 4):
                py, px = y + k // 2, x + k % 2
                if buffers.layers[py, px] != layer:
                    continue
                texel = nearest_texel(texture, buffers, scale, py, px)
                red, green, blue = texel[RED], texel[GREEN], texel[BLUE]
                if whole:
                    red, green, blue = average_colour(texture, buffers, scale, y, x)
                sample_vertices(attributes, buffers.rows[py, px], buffers.columns[py, px], surface)
                normalize(surface, True)
                if hairy:
                    lit = shade_hair(red, green, blue, texel, grey, surface, light)
                else:
                    shine, occlusion = SHININESS * texel[GLOSS], np.float64(surface[OCCLUSION])
                    lit = light_skin(Skin(red, green, blue, shine, occlusion, False, 0), surface, light)
                image[py, px, 0], image[py, px, 1], image[py, px, 2] = lit
                labels[py, px] = int(texel[LABEL_CHANNEL])
            if whole:
                repeat_block(image, labels, y, x)


@compiled(**JIT)
def shade_hair(red, green, blue, texel, grey, surface, light):
    """Grey hair keeps its strands and loses its colour."""
    strand, sleek = texel[STRAND_CHANNEL], texel[STRAND_CHANNEL + 1]
    lightness = 0.30 * (0.75 + 0.25 * strand)
    red += (lightness - red) * grey
    green += (lightness - green) * grey
    blue += (lightness - blue) * grey
    return light_hair(red, green, blue, strand, sleek, surface, light)


@compiled(**JIT)
def glaze(layer, attributes, buffers, light, image):
    """Lay clear glass over the picture: it takes a little light away and reflects the key light and the sky."""
    height, width = buffers.layers.shape
    surface = np.empty(attributes.shape[2], np.float32)
    for y in range(height):
        for x in range(width):
            if buffers.layers[y, x] != layer:
                continue
            sample_vertices(attributes, buffers.rows[y, x], buffers.columns[y, x], surface)
            normalize(surface, True)
            nx, ny, nz = surface[0], surface[1], surface[2]
            edge = 1 - nz
            # The mirrored view direction looks up the ambient light; a bright window hangs where the key light is.
            sky = ambient_light(light.harmonics, 2 * nx * nz, 2 * ny * nz, 2 * nz * nz - 1)
            half = max(nx * light.half_x + ny * light.half_y + nz * light.half_z, 0.0)
            window = min(max((half - 0.955) / 0.03, 0.0), 1.0) * light.strength * 0.28
            mirror = (0.05 + 0.5 * edge * edge * edge) * sky * 0.6 + window
            for k in range(3):
                image[y, x, k] = image[y, x, k] * 0.90 + mirror
