"""A head: what an identity looks like before any circumstances."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from facexai.rendering.appearance import mean_skin_colour, skin_texture
from facexai.rendering.ears import ear_layers
from facexai.rendering.eyes import Eye, eye_of
from facexai.rendering.hair import covers_ears, hair_layers
from facexai.rendering.head import SKIN
from facexai.rendering.identity import Identity
from facexai.rendering.layers import SKIN_MATERIAL, Layer
from facexai.rendering.rasterizer import vertex_normals
from facexai.rendering.shape import head_shape

_EVEN_ROWS = np.linspace(118, -190, 140)
_SKIN_FOLLOWS = np.ones(SKIN.shape[0], np.float32)


@dataclass(frozen=True)
class Head:
    """Meshes and textures of one identity.

    Attributes:
        vertices: the skin with a neutral expression. Shape (113, 113, 3), float32 millimetres.
        layers: skin and ears.
        hair: shells of the hair; none for bald and shaven heads.
        eye: shape and colour of the eyes.
        gloss: how much the skin shines, about 1.
    """

    vertices: np.ndarray
    layers: list[Layer]
    hair: list[Layer]
    eye: Eye
    gloss: float


@lru_cache(maxsize=16)
def build_head(identity: Identity) -> Head:
    """Shape, texture and hair of an identity; remembered, as many images show one person."""
    vertices = head_shape(identity)
    skin = Layer(SKIN_MATERIAL, vertices, skin_texture(identity), _ambient_occlusion(vertices), _SKIN_FOLLOWS)
    ears = [] if covers_ears(identity) else ear_layers(identity, mean_skin_colour(identity))
    gloss = float(np.exp(0.3 * identity.named("skin").gloss))
    return Head(vertices, [skin, *ears], hair_layers(identity, vertices), eye_of(identity), gloss)


def _ambient_occlusion(vertices: np.ndarray) -> np.ndarray:
    """Hollows get less light: compare each vertex with its blurred surroundings at two scales."""
    # On evenly spaced rows, as the blur would be narrower where rows are dense and leave a bright line there.
    even = _interpolate_rows(vertices, SKIN.row[:, 0], _EVEN_ROWS)
    normals = vertex_normals(even)
    light = np.ones(even.shape[:2], np.float32)
    for sigma, weight in ((2.2, 0.085), (6.0, 0.028)):
        hollow = ((cv2.GaussianBlur(even, (0, 0), sigma) - even) * normals).sum(-1)
        light *= np.clip(1 - weight * np.maximum(hollow, 0), 0.35, 1)
    light[_EVEN_ROWS < -119] *= 0.62
    light = _interpolate_rows(light, _EVEN_ROWS, SKIN.row[:, 0])
    return (light * (1 - 0.15 * SKIN.bump(6, 4, -47, 3))).astype(np.float32)


def _interpolate_rows(values: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Linear interpolation between rows that run downwards."""
    place = np.interp(-wanted, -rows, np.arange(len(rows)))
    above = np.minimum(place.astype(int), len(rows) - 2)
    share = (place - above).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return np.ascontiguousarray(values[above] * (1 - share) + values[above + 1] * share)
