"""Blurred backgrounds of random shapes, in linear RGB."""

import cv2
import numpy as np

from facexai.rendering.noise import FINE, LOCKS

_SIDE = 75  # drawn small at one fixed size, so that every image size shows the same picture


def background(seed: int, size: int) -> np.ndarray:
    """Background number `seed`. Shape (size, size, 3), float32, linear RGB."""
    generator = np.random.default_rng(seed)
    picture = _wall(generator)
    for _ in range(int(generator.integers(0, 11))):
        _draw_shape(picture, generator)
    start = int(generator.integers(FINE.shape[0] - _SIDE))
    pattern = FINE if generator.random() < 0.4 else LOCKS
    picture *= (1 + generator.uniform(0, 0.35) * pattern[start : start + _SIDE, start : start + _SIDE])[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), float(generator.uniform(0.3, 2.5)))
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)


def _wall(generator: np.random.Generator) -> np.ndarray:
    brightness = generator.uniform(0.02, 0.55)
    hue = np.clip(1 + 0.24 * generator.standard_normal(3), 0.35, 1.7)
    slope = 1 + generator.uniform(-0.6, 0.6) * np.linspace(-1, 1, _SIDE)
    return (brightness * slope[:, None, None] * hue * np.ones((_SIDE, _SIDE, 3))).astype(np.float32)


def _draw_shape(picture: np.ndarray, generator: np.random.Generator) -> None:
    shade = generator.uniform(0.02, 0.7) * (1 + 0.28 * generator.standard_normal(3))
    colour = [float(value) for value in np.clip(shade, 0.01, 0.9)]
    x, y, u, v = (int(value) for value in generator.integers(-_SIDE // 4, _SIDE + _SIDE // 4, 4))
    kind = generator.integers(4)
    if kind == 0:
        cv2.rectangle(picture, (x, y), (u, v), colour, -1)
    elif kind == 1:
        cv2.circle(picture, (x, y), int(generator.integers(3, _SIDE // 3)), colour, -1)
    elif kind == 2:
        cv2.line(picture, (x, y), (u, v), colour, int(generator.integers(1, _SIDE // 8)))
    else:
        axes = (abs(u) // 2 + 3, abs(v) // 3 + 3)
        cv2.ellipse(picture, (x, y), axes, float(generator.uniform(0, 180)), 0, 360, colour, -1)
