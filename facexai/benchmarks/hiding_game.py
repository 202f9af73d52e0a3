"""The hiding game: blur the least salient pixels; does the network still decide as well?

Take the pixels of both images in ascending order of |H|. Blur the first 5, 10, ... 95 % of them and verify the pairs
again. The better a map shows what the network needs, the longer the decisions stay right; the score of a map is the
area under that curve. A map can do well here without any regard to the network, where it keeps the detail that the blur
would destroy: judge no map by this game alone.

Source: DDFV paper, IV.B and IV.C.3 (blur); Castanon and Byrne, "Visualizing and quantifying discriminative features for
face recognition" (2018), for the game with a constant in place of the pixels.

Deviations:
    Printed are neither the percentages nor the blur, neither which images are blurred nor the threshold. Here: both
    images, each by its own map; a Gaussian of 4 pixels at 112; 0 to 95 % in steps of 5; the threshold of the clean
    scores of the other folds. It stays where it is while the scores of all genuine pairs fall, so that the area speaks
    of genuine pairs above all; `roc_auc` and `refit` do without a fixed threshold.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from facexai.benchmarks.judges import (
    Judge,
    JudgedPairs,
    Method,
    Metric,
    PairFacts,
    fold_thresholds,
    verification_chunks,
)
from facexai.benchmarks.pixels import (
    Fill,
    Which,
    area,
    check_choice,
    check_fractions,
    check_sigma,
    filling,
    first_pixels,
    pixel_ranks,
    scores_without,
)
from facexai.benchmarks.statistics import roc_contributions
from facexai.benchmarks.verification import VerificationSet
from facexai.models import FaceRecognizer

Order = Literal["magnitude", "signed"]


@dataclass(frozen=True, eq=False)
class HidingGame(Judge):
    """The hiding game over the pairs of a verification set.

    Args:
        data: the pairs.
        which: the images in which pixels are hidden.
        fill: what hides them: see `pixels.filling`.
        sigma: of the blur, in pixels.
        order: `"magnitude"`: |H|, what matters in either direction stays longest; `"signed"`: H itself.
        fractions: of the pixels, hidden one after another.
        seed: of the order among pixels of one value.
    """

    data: VerificationSet = field(repr=False)
    which: Which = "both"
    fill: Fill = "blur"
    sigma: float = 4.0
    order: Order = "magnitude"
    fractions: tuple[float, ...] = tuple(step / 20 for step in range(20))
    seed: int = 42

    name = "hiding-game"
    metrics = (
        Metric("auc", meaning="right decisions, mean over the hidden fractions, at the threshold of clean images"),
        Metric("roc_auc", meaning="area under the ROC, mean over the hidden fractions"),
        Metric("refit", meaning="as auc, with the threshold found anew at each fraction, on the other folds"),
    )

    def __post_init__(self) -> None:
        for name, choices in {"which": Which, "fill": Fill, "order": Order}.items():
            check_choice(name, getattr(self, name), get_args(choices))
        check_sigma(self.sigma)
        check_fractions(self.fractions)

    def chunks(
        self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True
    ) -> Iterator[JudgedPairs]:
        """Pairs of the set; see `Judge`."""
        return verification_chunks(model, self.data, limit, progress=progress)

    def measure(self, model: FaceRecognizer, pairs: JudgedPairs, maps: Tensor, method: Method) -> dict[str, np.ndarray]:
        """Score of each pair at each fraction, (P, L) as `scores`."""
        device = next(model.parameters()).device
        images, maps = pairs.images.to(device), maps.to(device)  # (P, 2, 3, H, W), (P, 2, H, W)
        importance = maps.abs() if self.order == "magnitude" else maps
        ranks = pixel_ranks(importance, pairs.number, self.seed)
        hidden = first_pixels(ranks, self.fractions[1:])  # the least salient; at fraction 0 the scores are known
        scores = scores_without(model, images, hidden, filling(images, self.fill, self.sigma), self.which)
        return {"scores": np.column_stack([pairs.score, scores])}

    def finish(self, records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, np.ndarray]:
        """Area under each pair's curve of right decisions, and the two metrics that need all pairs."""
        columns = records["scores"].T  # one fraction each
        refitted = np.stack([fold_thresholds(scores, pairs.genuine, pairs.fold) for scores in columns], axis=1)
        ordered = np.stack([roc_contributions(scores, pairs.genuine) for scores in columns], axis=1)
        return {
            "auc": area(self._right(records, pairs, pairs.threshold[:, None]), self.fractions),
            "roc_auc": area(ordered, self.fractions),
            "refit": area(self._right(records, pairs, refitted), self.fractions),
        }

    def details(self, records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, Any]:
        """The curves: share of right decisions at each fraction, of all, of genuine and of impostor pairs."""
        right = self._right(records, pairs, pairs.threshold[:, None])
        return {
            "curve": {
                "fraction": list(self.fractions),
                "accuracy": right.mean(0).tolist(),
                "genuine": right[pairs.genuine].mean(0).tolist(),
                "impostor": right[~pairs.genuine].mean(0).tolist(),
            }
        }

    @staticmethod
    def _right(records: Mapping[str, np.ndarray], pairs: PairFacts, thresholds: np.ndarray) -> np.ndarray:
        """Which decisions are right. (P, L), bool."""
        return (records["scores"] > thresholds) == pairs.genuine[:, None]
