"""Two ears: polar patches with a helix rim and a concha."""

import cv2
import numpy as np

from facexai.rendering.head import LABEL, bell, smoothstep
from facexai.rendering.identity import Identity
from facexai.rendering.layers import ALPHA_CHANNEL, GLOSS, LABEL_CHANNEL, PLAIN_MATERIAL, Layer

_RADIUS, _TURN = np.meshgrid(np.maximum(np.linspace(0, 1, 9), 0.02), np.linspace(0, 2 * np.pi, 19))
_LOWER = smoothstep(-np.sin(_TURN), 0.55, 0.9)  # the lobe has no rim


def ear_layers(identity: Identity, colour: np.ndarray) -> list[Layer]:
    """Both ears. `colour` is that of plain skin, linear RGB, shape (3,)."""
    texture = _ear_texture(colour)
    occlusion = np.ones(_RADIUS.shape, np.float32)
    follows = np.zeros(_RADIUS.shape[0], np.float32)
    return [
        Layer(PLAIN_MATERIAL, points, texture, occlusion, follows, casts_shadow=False)
        for points in _ear_points(identity)
    ]


def _ear_points(identity: Identity) -> list[np.ndarray]:
    ears = identity.named("ears")
    size, flare = 1 + 0.09 * ears.size, np.deg2rad(24 + 8 * ears.flare)
    backwards = _RADIUS * np.cos(_TURN) * 17 * size * (1 + 0.22 * np.sin(_TURN))
    upwards = _RADIUS * np.sin(_TURN) * 31 * size * (1 + 0.12 * ears.lobe * _LOWER)
    relief = _relief()
    outwards = 68 + (backwards + 17) * np.sin(flare) + relief * np.cos(flare)
    depth = -2 - (backwards - 0.22 * upwards + 14) * np.cos(flare) + 0.5 * relief * np.sin(flare)
    height = upwards - 10 + 3 * ears.height
    both = []
    for side in (-1, 1):
        points = np.stack([side * outwards, height, depth], -1).astype(np.float32)
        both.append(np.ascontiguousarray(points[:, ::side]))
    return both


def _relief() -> np.ndarray:
    """Height over the ear's plane: helix rim, antihelix, hollow of the concha."""
    rim = 6.5 * smoothstep(_RADIUS, 0.55, 0.88) * (1 - 0.8 * smoothstep(_RADIUS, 0.9, 1.0))
    antihelix = 3.0 * bell(_RADIUS, 0.5, 0.12) * (np.cos(_TURN - 2.6) > 0.2)
    return (rim - 3 * np.exp(-((_RADIUS / 0.4) ** 2)) + antihelix) * (1 - 0.7 * _LOWER)


def _ear_texture(colour: np.ndarray) -> np.ndarray:
    texture = np.zeros((36, 36, 8), np.float32)
    texture[..., :3] = _EAR_SHADE[..., None] * colour * np.array([1.08, 0.9, 0.88])
    texture[..., GLOSS] = 0.3
    texture[..., ALPHA_CHANNEL] = 1
    texture[..., LABEL_CHANNEL] = LABEL["ears"]
    return texture


def _ear_shade() -> np.ndarray:
    shade = 0.62 + 0.38 * smoothstep(_RADIUS, 0.35, 0.85) - 0.2 * np.exp(-(((_RADIUS - 0.66) / 0.09) ** 2))
    return cv2.resize(shade.astype(np.float32), (36, 36))


_EAR_SHADE = _ear_shade()
