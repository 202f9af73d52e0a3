"""What a turned head hides: how much of each region, on each side of the face, can still be seen."""

import numpy as np

from facexai.rendering.head import LABEL
from facexai.rendering.identity import Identity
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.scene import SAMPLES, Rendering, render

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


def hidden_shares(identity: Identity, nuisance: Nuisance, frontal: Nuisance | None = None) -> np.ndarray:
    """How much of each of `FACE_REGIONS` a picture hides, by visible area: 1 - area here / area seen from the front.

    Args:
        identity: who.
        nuisance: the circumstances of the picture.
        frontal: those of the frontal one; None for a neutral face in a studio.

    Returns:
        0 nothing is hidden, 1 all of it; negative where the turn shows more. nan for a region too small to judge (a
        beard covers the jaw). Areas are in square millimetres of the picture plane, since the alignment enlarges a
        turned head. Shape (14,).
    """
    areas, counts = zip(*(_areas(identity, one) for one in (nuisance, frontal or Nuisance())), strict=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts[1] >= _SMALLEST, 1 - areas[0] / areas[1], np.nan)


def _areas(identity: Identity, nuisance: Nuisance) -> tuple[np.ndarray, np.ndarray]:
    """Areas in square millimetres, and how many pixels that are, of each region."""
    rendering = render(identity, nuisance)
    counts = face_regions(rendering, nuisance).sum((1, 2))
    return counts / abs(np.linalg.det(rendering.alignment[:, :2])), counts
