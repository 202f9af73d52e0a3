"""From light to a photograph: exposure, tone curve, blur, sensor noise, JPEG."""

import cv2
import numpy as np

from facexai.rendering.compiled import compiled
from facexai.rendering.noise import GRAIN
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.rasterizer import JIT

_TONES = 4096
_GAMMA = np.power(np.arange(_TONES) / (_TONES - 1), 1 / 2.2).astype(np.float32)


def develop(light: np.ndarray, nuisance: Nuisance) -> np.ndarray:
    """Photograph of a picture in linear light.

    Args:
        light: linear RGB at twice the size of the image. Shape (2 H, 2 W, 3), float32.
        nuisance: reads tint, exposure, blur, noise, grain and jpeg.

    Returns:
        RGB. Shape (H, W, 3), uint8.
    """
    gain = np.asarray(nuisance.tint, np.float32) * np.float32(nuisance.exposure)
    picture = expose(light, gain, _GAMMA)
    if nuisance.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), nuisance.blur * picture.shape[0] / 112)
    start = (nuisance.grain * 7919) % (GRAIN.size // 2)
    image = quantize(picture, np.float32(max(nuisance.noise, 0)), GRAIN, start)
    if nuisance.jpeg > 0:
        _, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(nuisance.jpeg)])
        image = np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1])
    return image


@compiled(**JIT)
def expose(light, gain, gamma):
    """Average 2x2 samples, apply the gain, compress highlights (a filmic shoulder) and apply gamma."""
    height, width = light.shape[0] // 2, light.shape[1] // 2
    picture = np.empty((height, width, 3), np.float32)
    last = np.float32(gamma.size - 1)
    for y in range(height):
        for x in range(width):
            for k in range(3):
                total = light[2 * y, 2 * x, k] + light[2 * y, 2 * x + 1, k]
                total += light[2 * y + 1, 2 * x, k] + light[2 * y + 1, 2 * x + 1, k]
                value = max(np.float32(0.25) * total * gain[k], np.float32(0))
                value = value * (1 + value * 0.12) / (1 + value * 0.55)
                picture[y, x, k] = gamma[int(min(value * last, last))]
    return picture


@compiled(**JIT)
def quantize(picture, noise, grain, start):
    """Add sensor noise from the bank, and round to bytes."""
    height, width, _ = picture.shape
    image = np.empty((height, width, 3), np.uint8)
    place = start
    for y in range(height):
        for x in range(width):
            for k in range(3):
                value = picture[y, x, k] + noise * grain[place % grain.size]
                image[y, x, k] = int(min(max(value, 0.0), 1.0) * 255 + 0.5)
                place += 1
    return image
