"""A layer: one mesh with one texture, as the rasterizer draws it."""

from typing import NamedTuple

import numpy as np

# Channels of every texture.
RED, GREEN, BLUE, GLOSS, AGE_SPOT, WRINKLE, COVERAGE, LABEL_CHANNEL = range(8)
STRAND_CHANNEL = AGE_SPOT  # a hair texture keeps its strand noise where skin keeps its age spots
ALPHA_CHANNEL = COVERAGE  # shells are cut out where this is below one half

SKIN_MATERIAL, HAIR_MATERIAL, PLAIN_MATERIAL, GLASS_MATERIAL = range(4)


class Layer(NamedTuple):
    """A mesh on a grid of vertices.

    Attributes:
        material: one of the `_MATERIAL` constants.
        points: vertices in head coordinates. Shape (rows, columns, 3), float32 millimetres.
        texture: channels as above. Shape (height, width, 8), float32.
        occlusion: ambient light that reaches each vertex, 0..1. Shape (rows, columns).
        follows: how far each row of vertices follows the expression, 0..1. Shape (rows,).
        casts_shadow: whether it goes into the shadow map.
    """

    material: int
    points: np.ndarray
    texture: np.ndarray
    occlusion: np.ndarray
    follows: np.ndarray
    casts_shadow: bool = True
