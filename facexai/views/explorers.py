"""Explorers: figures that recompute in the reader's browser, with no kernel and nothing loaded from elsewhere.

Each explorer is one ES module in `static/`. The built page holds it together with its data; in a running notebook
`.live()` wraps the same module as an anywidget whose slider is also a Python attribute.
"""

import base64
import json
import math
import uuid
from functools import cache
from html import escape
from importlib import resources
from typing import Any

import numpy as np
import torch

from facexai.errors import InputError
from facexai.explainers import Decomposition
from facexai.pairs import FacePair
from facexai.views.overlays import OPAQUE, POWER, TINTS, grey, pixels
from facexai.views.renderer import CAPTION_STYLE

LARGEST_PAYLOAD = 600_000


class Explorer:
    """What a page and a notebook need of every explorer.

    Args:
        module: name of the file in `static/`.
        payload: what the module draws from; JSON.
        start: value of the slider at first.
        caption: shown below.
        alt: the explorer for readers who do not see it.
    """

    def __init__(self, module: str, payload: dict[str, Any], start: float, caption: str, alt: str) -> None:
        self.module, self.payload, self.start = module, payload, start
        self.caption, self.alt = caption, alt

    def _repr_html_(self) -> str:
        name = f"explorer-{uuid.uuid4().hex[:12]}"
        state = json.dumps({"payload": self.payload, "t": self.start}).replace("<", "\\u003c")
        # One output may be shown twice (a notebook and its copy): each script takes the first place not yet filled.
        place = f"document.querySelector('[data-name=\"{name}\"]:not([data-filled])')"
        return (
            f'<figure class="facexai-figure" role="figure" aria-label="{escape(self.alt, quote=True)}" '
            f'style="margin:1.2rem 0"><style>{_static("explorers.css")}</style>'
            f'<div class="facexai-explorer" data-name="{name}"><noscript>This needs JavaScript.</noscript></div>'
            f'<figcaption style="{CAPTION_STYLE}">{escape(self.caption, quote=False)}</figcaption>'
            f'<script type="module">{_source(self.module)}\n'
            f"const place = {place};\n"
            f'place.dataset.filled = "";\nrender({{ model: stillModel({state}), el: place }});</script></figure>'
        )

    def live(self):
        """The explorer as a widget for a running notebook; its attribute `t` follows the slider and moves it."""
        import anywidget
        import traitlets

        class LiveExplorer(anywidget.AnyWidget):
            _esm = _source(self.module)
            _css = _static("explorers.css")
            payload = traitlets.Dict().tag(sync=True)
            t = traitlets.Float().tag(sync=True)

        return LiveExplorer(payload=self.payload, t=self.start)


class ThresholdExplorer(Explorer):
    """Move the threshold T of Algorithm 1 and see the signed map S(T) = sum_i r_i (w_i - T) on both faces.

    The residuals r_i of the channels that matter most travel one by one, with 8 bits a pixel. All others travel as two
    sums, of w_i r_i and of r_i, with 16 bits; these sums also hold what rounding took from the single channels. So the
    map of all channels is exact up to 16-bit rounding (`error_bound`); only that of one channel alone is coarser.

    Args:
        pair: the two faces.
        residuals: channel residuals of probe and gallery, in [0, 1]. Shape (2, C, H, W).
        weights: of the channels, before T is taken off. Shape (2, C), or (C,) for both faces.
        score: cosine similarity of the pair.
        threshold: the model's decision threshold tau, if it has one: marks T = tau / C.
        start: T at first.
        keep: how many channels travel one by one; fewer where they would make the page too heavy.
        caption: shown below.
        alt: the explorer for readers who do not see it.

    Raises:
        InputError: shapes that do not fit, or maps so large that the page would exceed 600 kB for this explorer.
    """

    def __init__(
        self,
        pair: FacePair,
        residuals,
        weights,
        *,
        score: float,
        threshold: float | None = None,
        start: float = 0.0,
        keep: int = 32,
        caption: str = "",
        alt: str = "",
    ) -> None:
        self._residuals, self._weights = _checked(pair, residuals, weights)
        count = self._weights.shape[1]
        # (2, H, W) each: S(T) = weighted - T * plain.
        self._weighted = np.einsum("fc,fchw->fhw", self._weights, self._residuals)
        self._plain = self._residuals.sum(axis=1, dtype=np.float64)
        reach = np.abs(self._weights) * self._residuals.mean(axis=(2, 3))
        channels = np.argsort(-reach.max(axis=0), kind="stable")[:keep]
        marks = [["T = 0", 0.0]]
        if threshold is not None:
            marks.append([f"T = \N{GREEK SMALL LETTER TAU}/C = {threshold:.3f}/{count}", threshold / count])
        payload = {
            "height": self._plain.shape[1],
            "width": self._plain.shape[2],
            "count": count,
            "score": score,
            "marks": marks,
            "range": _range([*self._weights.ravel(), *(value for _, value in marks), start]),
            "tints": {
                "power": POWER,
                "opaque": OPAQUE,
                "similarity": TINTS["similarity"].colour,
                "dissimilarity": TINTS["dissimilarity"].colour,
            },
            **self._pack(pair, channels),
        }
        caption = caption or (
            "Drag T, or use the arrow keys. A channel whose weight lies above T counts as similarity (blue-green), "
            f"one below as dissimilarity (orange); the map is recomputed in this page from {count} channels."
        )
        alt = alt or f"Both faces with the signed map of {count} channels, and a slider for the threshold T."
        payload["expected"] = [[value, self.sum_at(value)] for value in _grid_points(payload["range"])]
        super().__init__("threshold.js", payload, start, caption, alt)

    @classmethod
    def of(
        cls, decomposition: Decomposition, pair: FacePair, *, threshold: float | None = None, **options: Any
    ) -> "ThresholdExplorer":
        """The explorer of a pair that `facexai.explainers.decompose` took apart.

        Args:
            decomposition: with the residuals of both images; channels that it does not count stay out of the map.
            pair: the same faces.
            threshold: the model's decision threshold tau.
            options: further arguments of the class.
        """
        if len(decomposition.residuals) < 2:
            raise InputError("the explorer shows both faces; decompose the pair with which='both'.")
        stacks = zip(decomposition.residuals, decomposition.counted, strict=True)
        residuals = torch.stack([maps.stack() * counted[:, None, None] for maps, counted in stacks])
        options = {"score": decomposition.score, "start": decomposition.threshold, "threshold": threshold, **options}
        return cls(pair, residuals.cpu(), decomposition.weights.cpu(), **options)

    def maps_at(self, threshold: float) -> np.ndarray:
        """S(T) of both faces from the unrounded residuals. Shape (2, H, W)."""
        return self._weighted - threshold * self._plain

    def sum_at(self, threshold: float) -> float:
        """Sum of S(T) over all pixels of both faces; the page's `data-sum` equals it up to `error_bound`."""
        return float(self.maps_at(threshold).sum())

    def error_bound(self, threshold: float) -> float:
        """Largest possible difference between the page's sum and `sum_at`, from 16-bit rounding."""
        numpy = self.payload["numpy"]
        return numpy["errorWeighted"] + abs(threshold) * numpy["errorPlain"]

    def _pack(self, pair: FacePair, channels: np.ndarray) -> dict[str, Any]:
        """Faces and numbers as text, with as many single channels as fit."""
        while True:
            faces = [self._pack_face(face, image, channels) for face, image in enumerate((pair.probe, pair.gallery))]
            if len(json.dumps(faces)) <= LARGEST_PAYLOAD - 20_000:
                break
            if len(channels) == 0:
                size = "x".join(str(side) for side in self._plain.shape[1:])
                raise InputError(f"an explorer holds at most 600 kB; maps of {size} need more. Average them first.")
            channels = channels[: len(channels) * 3 // 4]
        area = self._plain[0].size
        return {
            "channels": channels.tolist(),
            "faces": [{"role": role, **face} for role, face in zip(("probe", "gallery"), faces, strict=True)],
            # What numpy gets without rounding, and how far the page may be from it: for tests, and for the curious.
            "numpy": {
                "sumWeighted": float(self._weighted.sum()),
                "sumPlain": float(self._plain.sum()),
                "errorWeighted": area * sum(face["weighted"]["scale"] / 2 for face in faces) + 1e-6,
                "errorPlain": area * sum(face["plain"]["scale"] / 2 for face in faces) + 1e-6,
            },
        }

    def _pack_face(self, face: int, image, channels: np.ndarray) -> dict[str, Any]:
        weighted, plain = self._weighted[face].copy(), self._plain[face].copy()
        boxes, windows = [], []
        for channel in channels:
            codes = np.rint(self._residuals[face, channel] * 255).astype(np.uint8)
            top, left, height, width = box = _support(codes)
            boxes.append(box)
            windows.append(codes[top : top + height, left : left + width].ravel())
            weighted -= self._weights[face, channel] * (codes / 255)
            plain -= codes / 255
        return {
            "grey": _base64(np.rint(grey(pixels(image))).astype(np.uint8)),
            "weights": _base64(self._weights[face].astype(np.float32)),
            "weighted": quantise(weighted),
            "plain": quantise(plain),
            "boxes": boxes,
            "windows": _base64(np.concatenate(windows) if windows else np.zeros(0, np.uint8)),
        }


class ScoreExplorer(Explorer):
    """Move the decision threshold over the scores of genuine and impostor pairs and see every error rate follow.

    Args:
        genuine: scores of pairs of one person. Shape (G,).
        impostor: scores of pairs of two people. Shape (I,).
        threshold: at first; by default the one of equal errors.
        bins: of the histograms.
        caption: shown below.
        alt: the explorer for readers who do not see it.

    Convention: a pair is accepted when `score >= threshold`; scores are float32 here as in the page.
    """

    def __init__(
        self,
        genuine,
        impostor,
        *,
        threshold: float | None = None,
        bins: int = 80,
        caption: str = "",
        alt: str = "",
    ) -> None:
        self.genuine, self.impostor = (np.sort(np.asarray(part, dtype=np.float32)) for part in (genuine, impostor))
        if self.genuine.size == 0 or self.impostor.size == 0:
            raise InputError(
                "ScoreExplorer needs scores of both kinds; "
                f"got {self.genuine.size} genuine and {self.impostor.size} impostor scores."
            )
        equal, best = self._equal_error(), self._best_accuracy()
        start = equal if threshold is None else float(threshold)
        marks = [["equal errors", equal], ["best accuracy", best], ["FAR 1 %", self._at_far(0.01)]]
        if threshold is not None:
            marks.insert(0, [f"calibrated, {threshold:.3f}", start])
        payload = {
            "genuine": _base64(self.genuine),
            "impostor": _base64(self.impostor),
            "bins": bins,
            "marks": marks,
            "range": _range([self.genuine[0], self.genuine[-1], self.impostor[0], self.impostor[-1], start]),
            "tints": {"genuine": TINTS["similarity"].colour, "impostor": TINTS["dissimilarity"].colour},
        }
        payload["expected"] = [
            [t, self.at(t)["refused"] + self.at(t)["admitted"]] for t in _grid_points(payload["range"])
        ]
        count = f"{self.genuine.size} genuine and {self.impostor.size} impostor pairs"
        caption = caption or f"Drag the threshold, or use the arrow keys: {count}, counted anew in this page."
        super().__init__("scores.js", payload, start, caption, alt or f"Score histograms of {count}, with a slider.")

    def at(self, threshold: float) -> dict[str, float]:
        """Counts and rates at a threshold, as the page shows them: `far`, `frr`, `accuracy` and the four counts."""
        refused = int(np.searchsorted(self.genuine.astype(np.float64), threshold, side="left"))
        rejected = int(np.searchsorted(self.impostor.astype(np.float64), threshold, side="left"))
        accepted, admitted = self.genuine.size - refused, self.impostor.size - rejected
        return {
            "accepted": accepted,
            "refused": refused,
            "admitted": admitted,
            "rejected": rejected,
            "far": admitted / self.impostor.size,
            "frr": refused / self.genuine.size,
            "accuracy": (accepted + rejected) / (self.genuine.size + self.impostor.size),
        }

    def _candidates(self) -> np.ndarray:
        return np.unique(np.concatenate([self.genuine, self.impostor])).astype(np.float64)

    def _rates(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """FAR and FRR at many thresholds."""
        far = 1 - np.searchsorted(self.impostor.astype(np.float64), candidates, side="left") / self.impostor.size
        frr = np.searchsorted(self.genuine.astype(np.float64), candidates, side="left") / self.genuine.size
        return far, frr

    def _equal_error(self) -> float:
        far, frr = self._rates(candidates := self._candidates())
        return float(candidates[np.abs(far - frr).argmin()])

    def _best_accuracy(self) -> float:
        far, frr = self._rates(candidates := self._candidates())
        return float(candidates[(far * self.impostor.size + frr * self.genuine.size).argmin()])

    def _at_far(self, limit: float) -> float:
        """The smallest threshold whose FAR is at most the limit."""
        far, _ = self._rates(candidates := np.append(self._candidates(), np.nextafter(self.impostor[-1], 9.0)))
        return float(np.sort(candidates[far <= limit])[0])


def quantise(values: np.ndarray) -> dict[str, Any]:
    """An array as 16-bit codes: value = offset + scale * code, within scale / 2."""
    low, high = float(values.min()), float(values.max())
    scale = (high - low) / 65535 or 1.0
    codes = np.rint((values - low) / scale).astype("<u2")
    return {"codes": _base64(codes), "scale": scale, "offset": low}


def dequantise(packed: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """The array that `quantise` packed, as the page unpacks it."""
    codes = np.frombuffer(base64.b64decode(packed["codes"]), dtype="<u2").reshape(shape)
    return packed["offset"] + packed["scale"] * codes


def _checked(pair: FacePair, residuals, weights) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (2, C, H, W) and weights (2, C) as arrays, weights rounded to float32 as they travel."""
    residuals, weights = np.asarray(residuals), np.asarray(weights, dtype=np.float32).astype(np.float64)
    if weights.ndim == 1:
        weights = np.stack([weights, weights])
    size = tuple(pair.probe.shape[1:])
    if residuals.ndim != 4 or residuals.shape != (2, weights.shape[-1], *size) or weights.shape[0] != 2:
        raise InputError(
            f"residuals must be (2, C, {size[0]}, {size[1]}) with weights (2, C) or (C,); "
            f"got {residuals.shape} and {weights.shape}."
        )
    if residuals.min() < 0 or residuals.max() > 1.0001:
        raise InputError(
            f"residuals must lie in [0, 1]; got [{residuals.min():.3g}, {residuals.max():.3g}]. "
            "Divide each by its maximum."
        )
    return residuals.clip(0, 1), weights


def _support(codes: np.ndarray) -> list[int]:
    """The smallest window that holds all entries that are not zero: top, left, height, width."""
    rows, columns = np.flatnonzero(codes.any(axis=1)), np.flatnonzero(codes.any(axis=0))
    if rows.size == 0:
        return [0, 0, 0, 0]
    return [int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1]


def _range(values: list[float]) -> dict[str, float]:
    """Ends and step of a slider over these values: round numbers, about 200 steps, ends on the grid."""
    low, high = min(values), max(values)
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9) / 100))
    digits = max(0, -round(math.log10(step)))
    bottom, top = math.floor(low / step), math.ceil(high / step)
    return {
        "low": round(bottom * step, digits),
        "high": round(max(top, bottom + 1) * step, digits),
        "step": round(step, digits),
        "digits": digits,
    }


def _grid_points(span: dict[str, float]) -> list[float]:
    """Both ends and three places between them where the slider can stand."""
    steps = round((span["high"] - span["low"]) / span["step"])
    return [round(span["low"] + span["step"] * (k * steps // 4), int(span["digits"])) for k in range(5)]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _source(module: str) -> str:
    return _static("parts.js") + "\n" + _static(module)


@cache
def _static(name: str) -> str:
    return resources.files("facexai.views").joinpath("static", name).read_text(encoding="utf-8")
