"""Banks of smooth noise in texture space, drawn once from fixed seeds: every process has the same ones."""

import cv2
import numpy as np

from facexai.rendering.head import TEXTURE_COLUMNS, TEXTURE_ROWS

_SEED = 20170


def smooth_noise(index: int, shape: tuple[int, int], sigma: tuple[float, float]) -> np.ndarray:
    """Gaussian noise of unit variance, smoothed by `sigma` = (across, along) texels. Shape `shape`, float32."""
    white = np.random.default_rng([_SEED, index]).standard_normal(shape).astype(np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), sigma[0], sigmaY=sigma[1])
    return smooth / smooth.std()


def _slanted_strokes() -> np.ndarray:
    """Short strokes that lean outwards, mirrored on the midline: the hairs of the brows."""
    strokes = smooth_noise(7, _SIZE, (0.7, 3.5))
    turn = cv2.getRotationMatrix2D((TEXTURE_COLUMNS / 2, TEXTURE_ROWS / 2), 62, 1)
    strokes = cv2.warpAffine(strokes, turn, (TEXTURE_COLUMNS, TEXTURE_ROWS), borderMode=cv2.BORDER_REFLECT)
    half = TEXTURE_COLUMNS // 2
    strokes[:, :half] = strokes[:, : half - 1 : -1]
    return strokes


def _curls() -> np.ndarray:
    """Ridges between blobs: close curls seen from outside."""
    ridges = np.abs(smooth_noise(8, _SIZE, (2.2, 2.2))) + 0.6 * np.abs(smooth_noise(9, _SIZE, (4, 4)))
    return ((ridges - ridges.mean()) / ridges.std()).astype(np.float32)


_SIZE = (TEXTURE_ROWS, TEXTURE_COLUMNS)
FINE = smooth_noise(0, _SIZE, (0.8, 0.8))
MEDIUM = smooth_noise(1, _SIZE, (2.5, 2.5))
STRANDS = smooth_noise(2, _SIZE, (0.9, 14))
LOCKS = smooth_noise(3, _SIZE, (2.6, 30))
WAVES = smooth_noise(4, _SIZE, (22, 22))
CLOUDS = smooth_noise(5, _SIZE, (9, 9))
BROW_HAIRS = _slanted_strokes()
CURLS = _curls()
BLOTCHES = np.stack([smooth_noise(20 + k, (TEXTURE_ROWS // 8, TEXTURE_COLUMNS // 8), (2.75, 2.75)) for k in range(16)])
GRAIN = np.random.default_rng([_SEED, 99]).standard_normal(1 << 20, dtype=np.float32)
