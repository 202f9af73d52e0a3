"""Maps beside a known truth: where the faces really differ is outlined on every map."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from facexai.pairs import FacePair, Saliency
from facexai.views.canvas import Canvas
from facexai.views.overlays import TINTS, overlay, pixels, resize
from facexai.views.theme import INK, QUIET, WIDTH

LINE, RIM = (255, 255, 255), (31, 41, 51)  # the line round a truth, and what sets it off from light skin
_GAP = 8


def show_truth(
    pairs: Sequence[FacePair],
    truths: Sequence[Tensor],
    maps: Mapping[str, Sequence[Saliency]],
    which: str = "dissimilarity",
    *,
    side: int = 0,
    numbers: Mapping[str, Sequence[str]] | None = None,
    caption: str = "",
    alt: str = "",
) -> go.Figure:
    """Maps of several methods beside the truth: one row a pair, the true region outlined on every map.

    Args:
        pairs: with names.
        truths: of each pair, where the image `side` differs. Shape (H, W), bool. Specks are not outlined.
        maps: for each method the saliency of every pair.
        which: `"similarity"`, `"dissimilarity"` or `"discriminative"`; each map has a scale of its own.
            A map without a sign is shown as it is, in violet.
        side: 0: maps of the probe, 1: of the gallery image.
        numbers: for each method a short text under the map of every pair.
        caption: what the figure shows.
        alt: the same for readers who do not see it.
    """
    columns = 2 + len(maps)
    width = min((WIDTH - _GAP * (columns - 1)) / columns, 150)
    head, under = 24, 20 if numbers else 0
    step = width + under + _GAP
    canvas = Canvas(height=head + len(pairs) * step, width=columns * (width + _GAP) - _GAP)
    for column, title in enumerate(("probe", "gallery", *maps)):
        colour = INK if column > 1 else QUIET
        canvas.words(title, column * (width + _GAP) + width / 2, 11, size=12, align="center", colour=colour)
    for row, (pair, truth) in enumerate(zip(pairs, truths, strict=True)):
        y, outlined = head + row * step, without_specks(np.asarray(truth))
        images = [pixels(pair.probe), pixels(pair.gallery)]
        for column, image in enumerate(images):
            shown = outline(resize(image, 2), outlined) if column == side else image
            canvas.picture(shown, column * (width + _GAP), y, width)
        for column, (name, saliencies) in enumerate(maps.items(), start=2):
            tint = "discriminative" if float(saliencies[row].signed.min()) >= 0 else which
            values = np.asarray(getattr(saliencies[row], tint)[side])
            limit = float(np.quantile(values, 0.995)) or float(values.max()) or 1.0
            painted = overlay(images[side], values, tint, limit=limit, enlarge=2)
            canvas.picture(outline(painted, outlined), column * (width + _GAP), y, width)
            if numbers:
                x = column * (width + _GAP) + width / 2
                canvas.note(numbers[name][row], x, y + width + 10, align="center")
    words = f"{which.capitalize()} maps ({TINTS[which].meaning}) of {', '.join(maps)}, the true difference outlined."
    return canvas.figure(caption or words, alt or words)


def without_specks(region: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """The region with a smooth border: where most of the pixels about belong to it. Shape (H, W), bool."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(region.astype(float), sigma) > 0.5


def outline(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The image with a line round a region, white with a dark rim.

    Args:
        image: uint8 RGB, larger than the region by a whole number. Shape (H * k, W * k, 3).
        region: shape (H, W), bool.
    """
    enlarge = image.shape[0] // region.shape[0]
    large = np.kron(region, np.ones((enlarge, enlarge), dtype=bool)).astype(bool)
    rim, line = border(large, 2), border(large, 1)
    drawn = image.copy()
    drawn[rim] = RIM
    drawn[line] = LINE
    return drawn


def border(region: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a region within `width` of its outside, and as many beyond."""
    from scipy.ndimage import distance_transform_cdt

    inside, outside = (np.asarray(distance_transform_cdt(part)) for part in (region, ~region))
    return (np.maximum(inside, outside) <= width) & region.any() & ~region.all()
