"""Where skin folds with age: one map over the texture, the same for everybody."""

import numpy as np

from facexai.rendering.head import TEXTURE, bell, smoothstep
from facexai.rendering.noise import WAVES


def _forehead_lines() -> np.ndarray:
    grid, lines = TEXTURE, np.zeros(TEXTURE.shape)
    for index, row in enumerate((40, 50, 60)):
        wavy = grid.row - row - 2.5 * np.sin(grid.x / 17 + index) - 1.2 * WAVES
        lines += 0.6 * bell(wavy, 0, 1.1) * np.exp(-((grid.across / 42) ** 4))
    return lines


def _crows_feet() -> np.ndarray:
    grid, lines = TEXTURE, np.zeros(TEXTURE.shape)
    ends = smoothstep(grid.across, 46, 50) * (1 - smoothstep(grid.across, 56, 64))
    for slope in (-3, 1, 5):
        lines += 0.7 * bell(grid.row - slope - (grid.across - 48) * slope * 0.09, 0, 0.9) * ends
    return lines


def _folds() -> np.ndarray:
    """Frown lines, nose to mouth, below the eyes, below the mouth corners."""
    grid = TEXTURE
    frown = 0.6 * bell(grid.across - 5 - 0.1 * (grid.row - 18), 0, 1.2) * bell(grid.row, 19, 6)
    nose_to_mouth = bell(grid.across - (20 + 0.42 * (-40 - grid.row)), 0, 1.7)
    nose_to_mouth *= smoothstep(-grid.row, 40, 50) * (1 - smoothstep(-grid.row, 72, 86))
    below_eye = 0.8 * bell(grid.row + 13 - 0.012 * (grid.across - 30) ** 2, 0, 1.3)
    below_eye *= np.exp(-0.5 * ((grid.across - 28) / 9) ** 4)
    corner = 0.6 * bell(grid.across - 27 - 0.15 * (-74 - grid.row), 0, 1.5)
    corner *= smoothstep(-grid.row, 74, 79) * (1 - smoothstep(-grid.row, 90, 102))
    return frown + nose_to_mouth + below_eye + corner


WRINKLES = (_forehead_lines() + _crows_feet() + _folds()) * TEXTURE.front
