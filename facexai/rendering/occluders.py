"""Things in front of a face: mask, sunglasses, clear glasses, scarf, hat, cap. Shells like hair, cut to a pattern."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from facexai.rendering.head import LABEL, SHELL, TEXTURE, bell, smoothstep
from facexai.rendering.layers import ALPHA_CHANNEL, GLASS_MATERIAL, GLOSS, LABEL_CHANNEL, PLAIN_MATERIAL, Layer
from facexai.rendering.noise import FINE
from facexai.rendering.rasterizer import vertex_normals

OCCLUDERS = ("mask", "sunglasses", "glasses", "scarf", "hat", "cap")
VARIANTS = 4
COVERS_HAIR = ("hat", "cap")

_TURNED = np.abs(SHELL.azimuth)
_TEXEL_TURNED = np.abs(TEXTURE.azimuth)
_SMOOTH_HEAD = cv2.GaussianBlur(SHELL.points, (0, 0), 1)
_SMOOTH_NORMALS = vertex_normals(_SMOOTH_HEAD)


def occluder_layers(kind: str, vertices: np.ndarray, colour: tuple[float, float, float], variant: int) -> list[Layer]:
    """Layers of one occluder on a head.

    Args:
        kind: one of `OCCLUDERS`.
        vertices: skin with its expression, every second vertex. Shape (57, 57, 3).
        colour: linear RGB of the cloth or the frame.
        variant: which of the `VARIANTS` cuts and patterns.
    """
    points = _SHAPES[kind](vertices, variant).astype(np.float32)
    layers = [_layer(PLAIN_MATERIAL, points, _texture(kind, variant % VARIANTS), colour)]
    if kind == "glasses":
        layers.append(_layer(GLASS_MATERIAL, points, _texture("lenses", variant % VARIANTS), (1, 1, 1)))
    return layers


def _layer(material: int, points: np.ndarray, texture: np.ndarray, colour: tuple[float, float, float]) -> Layer:
    painted = texture.copy()
    painted[..., :3] *= np.asarray(colour, np.float32)
    occlusion, follows = np.ones(SHELL.shape, np.float32), np.zeros(SHELL.shape[0], np.float32)
    return Layer(material, points, painted, occlusion, follows, casts_shadow=material != GLASS_MATERIAL)


def _keep_outside(points: np.ndarray, vertices: np.ndarray, distance: float) -> np.ndarray:
    """On the face, nothing lies deeper than `distance` mm in front of the skin."""
    nearest = np.where(SHELL.front > 0.3, vertices[..., 2] + distance, -999)
    points[..., 2] = np.maximum(points[..., 2], nearest)
    return points


def _mask_shape(vertices: np.ndarray, variant: int) -> np.ndarray:
    soft = cv2.GaussianBlur(vertices, (0, 0), 1.8)
    normals = vertex_normals(soft)
    distance = 3.5 + 2.2 * SHELL.bump(0, 60, -70, 30) + 9 * SHELL.bump(0, 9, -58, 9)
    smooth = vertices.copy()
    smooth[..., 2] = cv2.GaussianBlur(cv2.dilate(vertices[..., 2], np.ones((5, 5))), (0, 0), 1.5)
    points = _keep_outside(soft + normals * distance[..., None], smooth, 2.5)
    below_chin = smoothstep(-SHELL.row, 112, 126)[..., None]
    return points * (1 - below_chin) + (soft + 4 * normals) * below_chin


def _glasses_shape(vertices: np.ndarray, variant: int) -> np.ndarray:
    distance = np.where(_TURNED < 0.85, 9.5, 5.0)[..., None]
    return _keep_outside(_SMOOTH_HEAD + _SMOOTH_NORMALS * distance, vertices, 0.6)


def _scarf_shape(vertices: np.ndarray, variant: int) -> np.ndarray:
    soft = cv2.GaussianBlur(vertices, (0, 0), 1.8)
    jaw = vertices[np.argmin(np.abs(SHELL.row[:, 0] + 80))][None]
    tube = np.stack([np.broadcast_to(jaw[..., axis], SHELL.shape) for axis in range(3)], -1).copy()
    tube[..., 1] = np.maximum(SHELL.row, -165)
    below = smoothstep(-SHELL.row, 74, 92)[..., None]
    folds = 2.2 * np.sin(SHELL.row / 4.2 + 3 * np.sin(1.3 * SHELL.azimuth + variant) + variant)
    distance = (8 + 7 * smoothstep(-SHELL.row, 60, 95) + folds)[..., None]
    outwards = np.stack([np.sin(SHELL.azimuth), np.zeros(SHELL.shape), np.cos(SHELL.azimuth)], -1)
    return soft * (1 - below) + tube * below + outwards * distance


def _hat_shape(vertices: np.ndarray, variant: int) -> np.ndarray:
    rim = 3.5 * (np.abs(SHELL.row - 57) < 7)
    return vertices + vertex_normals(vertices) * (13 + 9 * smoothstep(SHELL.row, 50, 100) + rim)[..., None]


def _cap_shape(vertices: np.ndarray, variant: int) -> np.ndarray:
    points = vertices + vertex_normals(vertices) * (10 + 6 * smoothstep(SHELL.row, 60, 100))[..., None]
    peak = bell(SHELL.row, 58, 3.2) * np.clip(np.cos(1.25 * SHELL.azimuth), 0, 1) ** 0.6 * (_TURNED < 1.25)
    points[..., 2] += 58 * peak
    points[..., 1] -= 9 * peak * (1 - (SHELL.x / 80) ** 2)
    return points


_SHAPES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "mask": _mask_shape,
    "sunglasses": _glasses_shape,
    "glasses": _glasses_shape,
    "scarf": _scarf_shape,
    "hat": _hat_shape,
    "cap": _cap_shape,
}


@cache
def _texture(kind: str, variant: int) -> np.ndarray:
    """Uncoloured texture: brightness, gloss and alpha. Shape (352, 352, 8), or half of it."""
    alpha, brightness, gloss = _PATTERNS[kind](variant)
    texture = np.zeros((*TEXTURE.shape, 8), np.float32)
    texture[..., :3] = np.broadcast_to(brightness, TEXTURE.shape)[..., None]
    texture[..., GLOSS] = gloss
    texture[..., ALPHA_CHANNEL] = alpha
    texture[..., LABEL_CHANNEL] = LABEL["occluder"]
    step = 1 if kind in ("glasses", "lenses", "sunglasses") else 2  # thin rims need the full resolution
    return np.ascontiguousarray(texture[::step, ::step])


Pattern = tuple[np.ndarray, np.ndarray | float, float]


def _mask_pattern(variant: int) -> Pattern:
    row, beyond = TEXTURE.row, _TEXEL_TURNED - 1.28
    top = np.interp(TEXTURE.across, [0, 12, 45, 70], [-21, -22, -33, -40])
    cloth = (row < top) & (row > -124) & (beyond < 0)
    upper_band, lower_band = np.abs(row + 36 - 12 * beyond) < 1.5, np.abs(row + 88 - 30 * beyond) < 1.5
    bands = (beyond >= 0) & (_TEXEL_TURNED < 1.65) & (upper_band | lower_band)
    pleats = 1 - 0.13 * bell((row + 60) % 17, 8, 1.6) + 0.03 * FINE
    return cloth | bands, pleats * np.where(row > top - 4, 1.06, 1), 0.25


def _lens(variant: int, margin: float) -> np.ndarray:
    """Round, oval, square or wide lenses, `margin` mm larger than the glass. Shape (352, 352), bool."""
    power, width, height = ((2.0, 23, 20), (2.6, 26, 18), (4.0, 25, 17), (3.2, 26, 20))[variant]
    across, up = np.abs(TEXTURE.across - 33) / (width + margin), np.abs(TEXTURE.row + 2) / (height + margin)
    return (across**power + up**power < 1) & (TEXTURE.front > 0.2)


def _frame(variant: int, margin: float) -> np.ndarray:
    bridge = (TEXTURE.across < 11) & (np.abs(TEXTURE.row - 4) < 1.6 + 0.5 * margin) & (TEXTURE.front > 0.3)
    arms = (TEXTURE.across > 55) & (np.abs(TEXTURE.row - 6) < 1.6 + 0.5 * margin) & (_TEXEL_TURNED < 1.6)
    return _lens(variant, margin) & ~_lens(variant, 0) | bridge | arms


def _sunglasses_pattern(variant: int) -> Pattern:
    lens, frame = _lens(variant, 0), _frame(variant, 2.4)
    return lens | frame, np.where(lens, 0.6 + 0.5 * smoothstep(TEXTURE.row, -22, 16), 1.6), 2.5


def _glasses_pattern(variant: int) -> Pattern:
    return _frame(variant, 1.9 + 0.6 * variant), 1.0, 1.2


def _lenses_pattern(variant: int) -> Pattern:
    return _lens(variant, 0), 1.0, 1.0


def _scarf_pattern(variant: int) -> Pattern:
    row, azimuth = TEXTURE.row, TEXTURE.azimuth
    top = -84 + 9 * variant + 12 * np.cos(azimuth) + 4 * np.sin(3 * azimuth + variant)
    folds = 0.2 * np.sin(row / 4.2 + 3 * np.sin(1.3 * azimuth + variant) + variant)
    return row < top, 1 + 0.10 * FINE + 0.14 * np.sin(TEXTURE.x / 2.5) * (variant % 2) + folds, 0.0


def _hat_pattern(variant: int) -> Pattern:
    above = TEXTURE.row > 49 - 2 * variant - 26 * smoothstep(_TEXEL_TURNED, 0.7, 1.9)
    return above, 1 + 0.15 * np.sin(60 * TEXTURE.azimuth) * (variant % 2) + 0.05 * FINE, 0.05


def _cap_pattern(variant: int) -> Pattern:
    return TEXTURE.row > 54 - 26 * smoothstep(_TEXEL_TURNED, 0.7, 1.9), 1 + 0.04 * FINE, 0.05


_PATTERNS: dict[str, Callable[[int], Pattern]] = {
    "mask": _mask_pattern,
    "sunglasses": _sunglasses_pattern,
    "glasses": _glasses_pattern,
    "lenses": _lenses_pattern,
    "scarf": _scarf_pattern,
    "hat": _hat_pattern,
    "cap": _cap_pattern,
}
