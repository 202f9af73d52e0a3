"""What a frontalizer did to a pair: a figure of its maps, and an explorer with a slider for the yaw."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers import FrontalizationMaps
from facexai.pairs import FacePair
from facexai.views.canvas import Canvas
from facexai.views.explorers import Explorer
from facexai.views.gallery import LARGEST_PAYLOAD, QUALITY, read_sheet
from facexai.views.overlays import OPAQUE, POWER, TINTS, grey, overlay, pixels
from facexai.views.theme import QUIET, WIDTH

# name -> (label, whether it has a sign, a sentence on it); a scale is shared by maps of one kind at all yaws.
KINDS = {
    "before": ("before", True, "What speaks for and against one person, without the frontalizer."),
    "after": ("after", True, "The same, with it; on the scale of the map before."),
    "gain": ("gain", True, "After minus before: where frontalization raised the score, and where it lowered it."),
    "change": ("change", False, "Where the embedding of the turned face was changed, whether or not it helps."),
    "added": ("added", False, "Where it was raised: what the module supplies."),
    "distrust": ("turned down", False, "Where it was made smaller: what the module trusts less."),
}
FULL_COLOUR = 0.995  # quantile of |map| that gets full colour
_GAP = 8


def maps_of(explained: FrontalizationMaps) -> dict[str, Tensor]:
    """The maps of `KINDS`, each (2, H, W) on the turned face (the probe) and on its partner.

    Change, added and turned down are those of the probe's embedding, on the partner where that one has the channels.
    """
    steps, (before, after) = explained.steps[0], explained.embeddings[0].abs()
    return {
        "before": explained.before.signed,
        "after": explained.after.signed,
        "gain": explained.gain,
        "change": explained.of_probe(steps.abs()),
        "added": explained.of_probe(steps.clamp(min=0)),
        "distrust": explained.of_probe((before - after).clamp(min=0)),
    }


def show_frontalization(
    pair: FacePair,
    explained: FrontalizationMaps,
    kinds: Sequence[str] = tuple(KINDS),
    *,
    caption: str = "",
    alt: str = "",
) -> go.Figure:
    """Turned face and partner with the maps of what frontalization did, one column a kind.

    Args:
        pair: the turned face is the probe.
        explained: of this pair.
        kinds: which of `KINDS` to show, in this order.
        caption: put before the sentence on the scales.
        alt: the figure for readers who do not see it.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InputError(f"unknown map '{unknown[0]}'; choose from {', '.join(KINDS)}")
    maps = {name: values.detach().cpu().numpy() for name, values in maps_of(explained).items()}
    limits = full_colours([maps])
    left, columns = 22, 1 + len(kinds)
    side = min((WIDTH - left - _GAP * (columns - 1)) / columns, 160)
    canvas = Canvas(height=26 + 2 * (side + _GAP) + 14, width=left + columns * (side + _GAP) - _GAP)
    for row, (role, image) in enumerate((("turned", pair.probe), ("partner", pair.gallery))):
        y, face = 26 + row * (side + _GAP), pixels(image)
        canvas.words(role, 8, y + side / 2, colour=QUIET, align="center", angle=-90)
        canvas.picture(face, left, y, side)
        for column, kind in enumerate(kinds, start=1):
            canvas.picture(painted(face, maps[kind][row], kind, limits[kind]), left + column * (side + _GAP), y, side)
    for column, kind in enumerate(kinds, start=1):
        x = left + column * (side + _GAP)
        canvas.words(KINDS[kind][0], x + side / 2, 11, size=12, align="center")
        canvas.note(f"to {limits[kind]:.2g}", x + side / 2, 26 + 2 * (side + _GAP) + 4, align="center")
    before, after = explained.before.score, explained.after.score
    scale = "Blue-green raises the score, orange lowers it, violet has no sign; full colour is noted below each column."
    default = f"What frontalization did to this pair, whose score went from {before:.3f} to {after:.3f}."
    words = alt or f"A turned face and its partner with the maps {', '.join(KINDS[kind][0] for kind in kinds)}."
    return canvas.figure(f"{caption or default} {scale}", words)


def painted(face: np.ndarray, values: np.ndarray, kind: str, limit: float) -> np.ndarray:
    """A map of one kind over a face in grey: two tints where it has a sign, one where it has none. uint8 (H, W, 3)."""
    if not KINDS[kind][1]:
        return overlay(face, values, "discriminative", limit=limit)
    raises, lowers = (
        overlay(face, part.clip(min=0), name, limit=limit)
        for part, name in ((values, "similarity"), (-values, "dissimilarity"))
    )
    return np.where((values > 0)[..., None], raises, lowers)


def full_colours(maps: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    """The value of full colour of each kind over several pairs; before and after share theirs."""
    limits = {}
    for kind in KINDS:
        together = ("before", "after") if kind in ("before", "after") else (kind,)
        values = np.abs([[one[name] for name in together] for one in maps])
        limits[kind] = float(np.quantile(values, FULL_COLOUR)) or float(values.max()) or 1.0
    return limits


class FrontalizationExplorer(Explorer):
    """Turn a face and see both scores and what the frontalizer did, on that face and on its frontal partner.

    Args:
        pairs: one person at ascending yaws, as the probe, against one frontal face.
        explained: of each pair.
        yaws: true ones, in degrees, evenly spaced.
        threshold: the decision threshold of the scores, if there is one.
        start: the yaw at first; by default the last.
        kind: the map at first, of `KINDS`.
        caption: shown below.
        alt: the explorer for readers who do not see it.

    Raises:
        InputError: pairs, explanations and yaws that are not equally many, uneven yaws, or so many that the page would
            be heavy.
    """

    def __init__(
        self,
        pairs: Sequence[FacePair],
        explained: Sequence[FrontalizationMaps],
        yaws: Sequence[float],
        *,
        threshold: float | None = None,
        start: float | None = None,
        kind: str = "gain",
        caption: str = "",
        alt: str = "",
    ) -> None:
        steps = np.diff(yaws)
        if not (len(pairs) == len(explained) == len(yaws) >= 2 and np.allclose(steps, steps[0]) and steps[0] > 0):
            raise InputError(
                "the explorer needs one explanation and one yaw for each of two pairs or more, at equal steps; got "
                f"{len(pairs)} pairs, {len(explained)} explanations, yaws {[float(yaw) for yaw in yaws]}"
            )
        if kind not in KINDS:
            raise InputError(f"unknown map '{kind}'; choose from {', '.join(KINDS)}")
        start = yaws[-1] if start is None else start
        if start not in yaws:
            raise InputError(f"the explorer must start at one of its yaws; got {start:g}")
        maps = [{name: one.detach().cpu().numpy() for name, one in maps_of(each).items()} for each in explained]
        limits = full_colours(maps)
        sheet = pack_sheet(pairs, maps, limits)
        if len(sheet) > LARGEST_PAYLOAD:
            raise InputError(f"an explorer holds at most {LARGEST_PAYLOAD // 1000} kB of pictures; show fewer yaws")
        height, width = pairs[0].probe.shape[1:]
        payload: dict[str, Any] = {
            "height": height,
            "width": width,
            "sheet": sheet,
            "yaws": [float(yaw) for yaw in yaws],
            "before": [each.before.score for each in explained],
            "after": [each.after.score for each in explained],
            "seen": [float(each.angles[0, 0]) for each in explained],
            "frontalized": [bool(each.frontalized[0]) for each in explained],
            "threshold": threshold,
            "start": list(KINDS).index(kind),
            "kinds": [
                {"name": name, "label": label, "signed": sign, "note": note, "limit": limits[name]}
                for name, (label, sign, note) in KINDS.items()
            ],
            "tints": {"power": POWER, "opaque": OPAQUE, **{name: tint.colour for name, tint in TINTS.items()}},
        }
        self.payload = payload
        payload["expected"] = [[float(yaw), self.sum_at(yaw, kind)] for yaw in yaws]
        caption = caption or (
            f"One rendered person at {len(yaws)} yaws against a frontal face. Drag the yaw, or use the arrow keys; the "
            "menu has the maps. A kind of map keeps its scale at all yaws."
        )
        alt = alt or "A turned face and a frontal one with a map of what frontalization did, and a slider for the yaw."
        super().__init__("frontalization.js", payload, float(start), caption, alt)

    def sum_at(self, yaw: float, kind: str) -> float:
        """Sum of the map over both faces as the page shows it, in units of full colour."""
        height, width = self.payload["height"], self.payload["width"]
        row, column = self.payload["yaws"].index(float(yaw)), 2 + 2 * list(KINDS).index(kind)
        sheet = read_sheet(self.payload["sheet"])
        codes = sheet[row * height : (row + 1) * height, column * width : (column + 2) * width].astype(float)
        return float(((codes - 128) / 127).clip(min=-1).sum())


def pack_sheet(pairs: Sequence[FacePair], maps: Sequence[dict[str, np.ndarray]], limits: dict[str, float]) -> str:
    """One row of tiles a pair: turned and frontal face in grey, then both maps of each kind, 128 for zero."""
    rows = []
    for pair, kinds in zip(pairs, maps, strict=True):
        faces = [np.rint(grey(pixels(image))) for image in (pair.probe, pair.gallery)]
        tiles = [
            np.rint(128 + 127 * (kinds[name][side] / limits[name]).clip(-1, 1)) for name in KINDS for side in (0, 1)
        ]
        rows.append(np.concatenate([*faces, *tiles], axis=1))
    buffer = io.BytesIO()
    sheet = Image.fromarray(np.concatenate(rows).astype(np.uint8)).convert("RGB")
    sheet.save(buffer, format="WEBP", quality=QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
