"""What a turned head hides: how much of each region, on each side of the face, can still be seen."""

import numpy as np

from facexai.rendering.head import LABEL
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.scene import SAMPLES, Rendering

PARTS = ("forehead", "brows", "eyes", "nose", "cheeks", "mouth", "jaw")
SIDES = ("right", "left")  # the person's; the right one is the image's left
FACE_REGIONS = tuple(f"{side} {part}" for side in SIDES for part in PARTS)
_SMALLEST = 12  # pixels; a smaller region says nothing


def head_points(rendering: Rendering, nuisance: Nuisance) -> np.ndarray:
    """What each pixel shows, in the coordinates of the head: x to the person's left, y up, z out of the face.

    Args:
        rendering: made under `nuisance`.
        nuisance: pose and distance are used.

    Returns:
        Millimetres, nan where there is no surface. Shape (H, W, 3).
    """
    rows, columns = rendering.depth.shape
    shift = (SAMPLES // 2 - (SAMPLES - 1) / 2) / SAMPLES  # the sample that the maps show lies beside the pixel's middle
    x, y = np.meshgrid(np.arange(columns) + shift, np.arange(rows) + shift)
    linear, offset = rendering.alignment[:, :2], rendering.alignment[:, 2]
    flat = (np.stack([x, y], -1) - offset) @ np.linalg.inv(linear).T  # projected millimetres, (H, W, 2)
    nearness = np.where(rendering.depth > -nuisance.distance, rendering.depth, np.nan).astype(np.float64)
    scale = 1 - nearness / nuisance.distance  # undoes the perspective
    camera = np.stack([flat[..., 0] * scale, -flat[..., 1] * scale, nearness], -1)
    return camera @ nuisance.pose.matrix()  # R^T, written for rows


def face_regions(rendering: Rendering, nuisance: Nuisance) -> np.ndarray:
    """Which pixels show which of `FACE_REGIONS`. Shape (14, H, W), bool."""
    across = head_points(rendering, nuisance)[..., 0]
    with np.errstate(invalid="ignore"):
        halves = across < 0, across >= 0
    return np.stack([half & (rendering.regions == LABEL[part]) for half in halves for part in PARTS])


def hidden_shares(
    rendering: Rendering, nuisance: Nuisance, frontal: Rendering, frontal_nuisance: Nuisance
) -> np.ndarray:
    """How much of each of `FACE_REGIONS` a picture hides, by visible area: 1 - area here / area seen from the front.

    Args:
        rendering: the picture, made under `nuisance`.
        nuisance: its circumstances.
        frontal: a frontal picture of the same person, made under `frontal_nuisance`.
        frontal_nuisance: its circumstances.

    Returns:
        0 nothing is hidden, 1 all of it; negative where the turn shows more. nan for a region too small to judge (a
        beard covers the jaw). Areas are in square millimetres of the picture plane, since the alignment enlarges a
        turned head. Shape (14,).
    """
    here, _ = _areas(rendering, nuisance)
    there, pixels = _areas(frontal, frontal_nuisance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pixels >= _SMALLEST, 1 - here / there, np.nan)


def _areas(rendering: Rendering, nuisance: Nuisance) -> tuple[np.ndarray, np.ndarray]:
    """Areas in square millimetres, and how many pixels that are, of each region."""
    pixels = face_regions(rendering, nuisance).sum((1, 2))
    return pixels / abs(np.linalg.det(rendering.alignment[:, :2])), pixels
