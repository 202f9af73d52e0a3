"""Figures made of faces: a sheet, a pair with its score, the maps of a pair, single channels.

Each function returns a figure and changes nothing else. Caption and alternative text lie in `figure.layout.meta`;
the renderer of the book prints the first and gives the second to screen readers.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from facexai.errors import InputError
from facexai.pairs import FacePair, Saliency
from facexai.views.canvas import Canvas
from facexai.views.overlays import TINTS, colour_bar, method_name, overlay, pixels, scale_of, tint
from facexai.views.theme import GENUINE, IMPOSTOR, INK, QUIET, RULE, WIDTH
from facexai.views.verdict import Verdict

_GAP = 8


def show_faces(
    images: Sequence[Tensor | np.ndarray],
    columns: int = 6,
    captions: Sequence[str] | None = None,
    *,
    caption: str = "",
    alt: str = "",
    width: float = WIDTH,
) -> go.Figure:
    """A sheet of faces, row by row.

    Args:
        images: uint8 arrays of shape (H, W, 3), or tensors in [-1, 1] of shape (3, H, W).
        columns: faces in a row.
        captions: a short text under each face.
        caption: what the sheet shows.
        alt: the same for readers who do not see it.
        width: of the whole sheet, in pixels.
    """
    if captions is not None and len(captions) != len(images):
        raise InputError(f"captions must be one for each image; got {len(captions)} for {len(images)} images.")
    columns = max(1, min(columns, len(images)))
    side = min((width - _GAP * (columns - 1)) / columns, 180)
    faces = [pixels(image) for image in images]
    tall = side * max((face.shape[0] / face.shape[1] for face in faces), default=1)
    step = tall + (26 if captions else _GAP)
    canvas = Canvas(height=ceil(len(faces) / columns) * step, width=columns * (side + _GAP) - _GAP)
    for k, face in enumerate(faces):
        x, y = (k % columns) * (side + _GAP), (k // columns) * step
        canvas.picture(face, x, y, side)
        if captions:
            canvas.words(captions[k], x + side / 2, y + tall + 12, size=12, colour=QUIET, align="center")
    return canvas.figure(caption or f"{len(faces)} faces.", alt or caption or f"A sheet of {len(faces)} faces.")


def show_pair(
    pair: FacePair, score: float, threshold: float | None = None, *, caption: str = "", alt: str = ""
) -> go.Figure:
    """Two faces with the score between them on a line that is cut by the threshold.

    Args:
        pair: the faces.
        score: cosine similarity.
        threshold: decision threshold; without it nothing is decided.
        caption: what the figure shows; by default the decision in words.
        alt: the same for readers who do not see it.
    """
    verdict = Verdict(score, threshold)
    side = 210
    canvas = Canvas(height=side + 28)
    for role, image, x in (("probe", pair.probe, 0), ("gallery", pair.gallery, WIDTH - side)):
        canvas.picture(pixels(image), x, 0, side)
        canvas.words(role, x + side / 2, side + 14, colour=QUIET, align="center")
    middle = WIDTH / 2
    canvas.words(f"{score:.2f}".replace("-", "\N{MINUS SIGN}"), middle, 42, size=44, align="center")
    canvas.words("cosine score", middle, 76, size=12, colour=QUIET, align="center")
    _score_line(canvas, verdict, left=middle - 115, right=middle + 115, y=124)
    colour = {True: GENUINE, False: IMPOSTOR, None: QUIET}[verdict.accepted]
    canvas.words(verdict.headline, middle, 176, size=16, colour=colour, align="center", bold=True)
    if pair.genuine is not None:
        truth = "in truth: one person" if pair.genuine else "in truth: two people"
        canvas.words(truth, middle, 198, size=12, colour=QUIET, align="center")
    return canvas.figure(caption or verdict.sentence, alt or f"Probe and gallery face. {verdict.sentence}")


def show_saliency(
    pair: FacePair,
    saliency: Saliency,
    maps: Sequence[str] = ("similarity", "dissimilarity", "discriminative"),
    *,
    caption: str = "",
    alt: str = "",
) -> go.Figure:
    """Both faces with the maps of their comparison laid over them, all on one scale.

    Args:
        pair: the faces.
        saliency: the signed maps of the pair.
        maps: which of `similarity`, `dissimilarity`, `discriminative` to show, in this order.
        caption: put before the sentence on the scale.
        alt: the figure for readers who do not see it.
    """
    limit = scale_of(saliency)
    left, columns = 22, 1 + len(maps)
    side = min((WIDTH - left - _GAP * (columns - 1)) / columns, 220)
    head, bottom = 42, 42 + 2 * (side + _GAP)
    canvas = Canvas(height=bottom + 30, width=left + columns * (side + _GAP) - _GAP)
    for row, (role, image) in enumerate((("probe", pair.probe), ("gallery", pair.gallery))):
        y, face = head + row * (side + _GAP), pixels(image)
        canvas.words(role, 8, y + side / 2, colour=QUIET, align="center", angle=-90)
        canvas.picture(face, left, y, side)
        for column, name in enumerate(maps, start=1):
            values = getattr(saliency, tint(name).name)[row].detach().cpu().numpy()
            canvas.picture(overlay(face, values, name, limit=limit), left + column * (side + _GAP), y, side)
    for column, name in enumerate(maps, start=1):
        _map_column(canvas, name, left + column * (side + _GAP), side, bottom, limit)
    scale = f"Method {method_name(saliency)}; colours are linear and share one scale, 0 to {limit:.3g}."
    shown = ", ".join(maps)
    default = f"What the two faces have in common and where they differ for the model (score {saliency.score:.3f})."
    words = alt or f"Probe and gallery face, each with its maps: {shown}. Score {saliency.score:.3f}."
    return canvas.figure(f"{caption or default} {scale}", words)


def show_channels(
    image: Tensor | np.ndarray,
    residuals: np.ndarray,
    weights: Sequence[float],
    channels: Sequence[int] | None = None,
    *,
    columns: int = 6,
    caption: str = "",
    alt: str = "",
) -> go.Figure:
    """Where single channels look, and how much each adds to the score.

    Args:
        image: the face, tensor (3, H, W) in [-1, 1] or uint8 (H, W, 3).
        residuals: one map for each channel, 0 to 1. Shape (K, H, W).
        weights: of these channels, signed. Length K.
        channels: their numbers in the network; 0, 1, .. by default.
        columns: faces in a row.
        caption: what the figure shows.
        alt: the same for readers who do not see it.
    """
    numbers = range(len(residuals)) if channels is None else channels
    if not len(residuals) == len(weights) == len(numbers):
        raise InputError(
            "residuals, weights and channels must be equally many; "
            f"got {len(residuals)}, {len(weights)}, {len(numbers)}."
        )
    face = pixels(image)
    sheet = [
        overlay(face, np.asarray(residual), "similarity" if weight >= 0 else "dissimilarity", limit=1.0)
        for residual, weight in zip(residuals, weights, strict=True)
    ]
    labels = [f"{number}: {signed_number(weight)}" for number, weight in zip(numbers, weights, strict=True)]
    caption = caption or (
        "Single channels: the part of the face that changes when a channel's strongest position is set to zero, "
        "with the channel's number and weight. Blue-green raises the score, orange lowers it; maps run from 0 to 1."
    )
    return show_faces(sheet, columns, labels, caption=caption, alt=alt or f"{len(sheet)} channel maps over a face.")


def signed_number(value: float, digits: int = 4) -> str:
    """A number with its sign in front, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _map_column(canvas: Canvas, name: str, x: float, side: float, bottom: float, limit: float) -> None:
    """Heading above and colour bar below one column of maps."""
    canvas.words(name, x + side / 2, 11, align="center", bold=True, colour=TINTS[name].css)
    canvas.note(TINTS[name].meaning, x + side / 2, 29, align="center")
    canvas.picture(colour_bar(name), x, bottom, side, 9)
    canvas.note("0", x, bottom + 20)
    canvas.note(f"{limit:.3g}", x + side, bottom + 20, align="right")


def _score_line(canvas: Canvas, verdict: Verdict, left: float, right: float, y: float) -> None:
    """The line of scores from low to 1, the threshold as a gap in colour, the score as a pointer."""
    ends = [verdict.score] + ([] if verdict.threshold is None else [verdict.threshold])
    low = np.floor(min(-0.2, *ends) * 5) / 5

    def place(value: float) -> float:
        return left + (right - left) * (min(value, 1.0) - low) / (1 - low)

    canvas.bar(left, y, right, y + 8, RULE)
    if verdict.threshold is not None:
        cut = place(verdict.threshold)
        canvas.bar(left, y, cut, y + 8, "#f5c9ae")
        canvas.bar(cut, y, right, y + 8, "#a5d3d9")
        canvas.bar(cut - 1, y - 4, cut + 1, y + 12, INK)
        canvas.note(f"threshold {verdict.threshold:.2f}", cut, y + 24, align="center")
    x = place(verdict.score)
    canvas.polygon([(x - 7, y - 14), (x + 7, y - 14), (x, y - 1)], INK)
