"""ScoreExplorer: error rates of a verification system as the reader moves its threshold."""

from collections.abc import Sequence

import numpy as np

from facexai.errors import InputError
from facexai.views.explorers import Explorer, encode, grid_points, slider_range
from facexai.views.overlays import TINTS


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
        genuine: Sequence[float] | np.ndarray,
        impostor: Sequence[float] | np.ndarray,
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
        if not (np.isfinite(self.genuine).all() and np.isfinite(self.impostor).all()):
            raise InputError("scores must be finite; they hold NaN or infinite values. Drop those pairs first.")
        equal, best = self._equal_error(), self._best_accuracy()
        start = equal if threshold is None else float(threshold)
        marks = [["equal errors", equal], ["best accuracy", best], ["FAR 1 %", self._at_far(0.01)]]
        if threshold is not None:
            marks.insert(0, [f"calibrated, {threshold:.3f}", start])
        payload = {
            "genuine": encode(self.genuine),
            "impostor": encode(self.impostor),
            "bins": bins,
            "marks": marks,
            "range": slider_range([self.genuine[0], self.genuine[-1], self.impostor[0], self.impostor[-1], start]),
            "tints": {"genuine": TINTS["similarity"].colour, "impostor": TINTS["dissimilarity"].colour},
        }
        payload["expected"] = [
            [t, self.at(t)["refused"] + self.at(t)["admitted"]] for t in grid_points(payload["range"])
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
