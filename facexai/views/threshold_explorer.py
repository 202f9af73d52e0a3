"""ThresholdExplorer: the signed map of Algorithm 1, recomputed as the reader moves T."""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers import Decomposition
from facexai.pairs import FacePair
from facexai.views.explorers import Explorer, encode, grid_points, quantise, slider_range
from facexai.views.overlays import OPAQUE, POWER, TINTS, grey, pixels

LARGEST_PAYLOAD = 600_000


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
        residuals: Tensor | np.ndarray,
        weights: Tensor | np.ndarray,
        *,
        score: float,
        threshold: float | None = None,
        start: float = 0.0,
        keep: int = 32,
        caption: str = "",
        alt: str = "",
    ) -> None:
        self._residuals, self._weights = _checked(pair, residuals, weights)
        # (2, H, W) each: S(T) = weighted - T * plain.
        self._weighted = np.einsum("fc,fchw->fhw", self._weights, self._residuals)
        self._plain = self._residuals.sum(axis=1, dtype=np.float64)
        count = self._weights.shape[1]
        marks = [["T = 0", 0.0]]
        if threshold is not None:
            marks.append([f"T = \N{GREEK SMALL LETTER TAU}/C = {threshold:.3f}/{count}", threshold / count])
        caption = caption or (
            "Drag T, or use the arrow keys. A channel whose weight lies above T counts as similarity (blue-green), "
            f"one below as dissimilarity (orange); the map is recomputed in this page from {count} channels."
        )
        alt = alt or f"Both faces with the signed map of {count} channels, and a slider for the threshold T."
        payload = self._payload(pair, keep, marks, start) | {"score": score}
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
        if decomposition.balance:
            raise InputError("the explorer adds channels as they are; decompose the pair with balance=False.")
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

    def _payload(self, pair: FacePair, keep: int, marks: list[list[Any]], start: float) -> dict[str, Any]:
        """All that static/threshold.js draws from."""
        reach = np.abs(self._weights) * self._residuals.mean(axis=(2, 3))  # (2, C)
        channels = np.argsort(-reach.max(axis=0), kind="stable")[:keep]
        span = slider_range([*self._weights.ravel(), *(value for _, value in marks), start])
        return {
            "height": self._plain.shape[1],
            "width": self._plain.shape[2],
            "count": self._weights.shape[1],
            "marks": marks,
            "range": span,
            "expected": [[value, self.sum_at(value)] for value in grid_points(span)],
            "tints": {
                "power": POWER,
                "opaque": OPAQUE,
                "similarity": TINTS["similarity"].colour,
                "dissimilarity": TINTS["dissimilarity"].colour,
            },
            **self._pack(pair, channels),
        }

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

    def _pack_face(self, face: int, image: Tensor, channels: np.ndarray) -> dict[str, Any]:
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
            "grey": encode(np.rint(grey(pixels(image))).astype(np.uint8)),
            "weights": encode(self._weights[face].astype(np.float32)),
            "weighted": quantise(weighted),
            "plain": quantise(plain),
            "boxes": boxes,
            "windows": encode(np.concatenate(windows) if windows else np.zeros(0, np.uint8)),
        }


def _checked(pair: FacePair, residuals: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
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
    if not np.isfinite(weights).all():
        raise InputError("weights must be finite; they hold NaN or infinite values. Check the model.")
    if not (residuals.min() >= 0 and residuals.max() <= 1.0001):
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
