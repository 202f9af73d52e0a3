"""Insertion and deletion for verification: how soon does the decision change as the most salient pixels go or come?

Deletion takes the pixels of the probe away, the most salient first; insertion starts from nothing and brings them back
in the same order. The gallery image stays whole. A good map makes decisions wrong soon in deletion and right soon in
insertion. The similarity map is judged on genuine pairs: without what is alike they are refused. The dissimilarity map
is judged on impostor pairs: without what differs they are accepted, or at least their score rises.

Source: Petsiuk, Das, Saenko, "RISE" (2018), for insertion and deletion; Lu, Xu, Ebrahimi, "Towards Visual Saliency
Explanations of Face Verification" (2024), for verification at the threshold of clean scores.

Deviations:
    Pixels give way to mid-grey (there: black). Impostor pairs are refused as a rule, whatever is taken away, and
    accuracy says little of them; so the score itself is judged as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.judges import Judge, JudgedPairs, Method, Metric, PairFacts, verification_chunks
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
from facexai.benchmarks.verification import VerificationSet
from facexai.models import FaceRecognizer


@dataclass(frozen=True, eq=False)
class InsertionDeletion(Judge):
    """Insertion and deletion over the pairs of a verification set.

    Args:
        data: the pairs.
        which: the images in which pixels come and go.
        fill: what stands in their place: see `pixels.filling`.
        sigma: of the blur where `fill="blur"`, in pixels.
        fractions: of the pixels, deleted or inserted, from 0 to 1.
        seed: of the order among pixels of one value.
    """

    data: VerificationSet = field(repr=False)
    which: Which = "probe"
    fill: Fill = "constant"
    sigma: float = 4.0
    fractions: tuple[float, ...] = tuple(step / 10 for step in range(11))
    seed: int = 42

    name = "insertion-deletion"
    metrics = (
        Metric("gain", meaning="genuine pairs: insertion - deletion, by the similarity map"),
        Metric("insertion", meaning="genuine pairs accepted, mean over the inserted fractions"),
        Metric("deletion", "lower", meaning="genuine pairs accepted, mean over the deleted fractions"),
        Metric("score_gain", meaning="genuine pairs: score in insertion - score in deletion", percent=False),
        Metric("impostor_gain", meaning="impostor pairs refused: insertion - deletion, by the dissimilarity map"),
        Metric("impostor_score_gain", meaning="impostor pairs: score in deletion - score in insertion", percent=False),
    )

    def __post_init__(self) -> None:
        for name, choices in {"which": Which, "fill": Fill}.items():
            check_choice(name, getattr(self, name), get_args(choices))
        check_sigma(self.sigma)
        check_fractions(self.fractions, last=1)

    def chunks(
        self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True
    ) -> Iterator[JudgedPairs]:
        """Pairs of the set; see `Judge`."""
        return verification_chunks(model, self.data, limit, progress=progress)

    def measure(self, model: FaceRecognizer, pairs: JudgedPairs, maps: Tensor, method: Method) -> dict[str, np.ndarray]:
        """Score of each pair at each fraction, (P, L), as `deleted` and `inserted`."""
        device = next(model.parameters()).device
        images, maps = pairs.images.to(device), maps.to(device)  # (P, 2, 3, H, W), (P, 2, H, W)
        importance = judged_maps(maps, pairs.genuine, method.unsigned)
        first = first_pixels(pixel_ranks(-importance, pairs.number, self.seed), self.fractions)  # the most salient
        replacement = filling(images, self.fill, self.sigma)
        gone = torch.cat([first[1:], ~first[1:-1]])  # deletions, then insertions
        scores = scores_without(model, images, gone, replacement, self.which)
        deletions = len(self.fractions) - 1
        deleted = np.column_stack([pairs.score, scores[:, :deletions]])
        inserted = np.column_stack([deleted[:, -1], scores[:, deletions:], pairs.score])  # from nothing to the image
        return {"deleted": deleted, "inserted": inserted}

    def finish(self, records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, np.ndarray]:
        """Areas under each pair's curves; those of the other kind are nan."""
        right = self._right(records, pairs)
        insertion, deletion = (area(right[name], self.fractions) for name in ("inserted", "deleted"))
        rise = area(records["inserted"] - records["deleted"], self.fractions)
        genuine, impostor = pairs.genuine, ~pairs.genuine
        return {
            "gain": np.where(genuine, insertion - deletion, np.nan),
            "insertion": np.where(genuine, insertion, np.nan),
            "deletion": np.where(genuine, deletion, np.nan),
            "score_gain": np.where(genuine, rise, np.nan),
            "impostor_gain": np.where(impostor, insertion - deletion, np.nan),
            "impostor_score_gain": np.where(impostor, -rise, np.nan),
        }

    def details(self, records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, Any]:
        """The curves: share of right decisions at each fraction."""
        right = self._right(records, pairs)
        kinds = {"genuine": pairs.genuine, "impostor": ~pairs.genuine}
        curves = {
            f"{kind}_{name}": right[name][rows].mean(0).tolist()
            for kind, rows in kinds.items()
            if rows.any()
            for name in ("inserted", "deleted")
        }
        return {"curve": {"fraction": list(self.fractions), **curves}}

    @staticmethod
    def _right(records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, np.ndarray]:
        """Which decisions are right at the threshold of the clean images. Each (P, L), bool."""
        return {name: (scores > pairs.threshold[:, None]) == pairs.genuine[:, None] for name, scores in records.items()}


def judged_maps(maps: Tensor, genuine: np.ndarray, unsigned: bool) -> Tensor:
    """The similarity maps of genuine pairs and the dissimilarity maps of impostor pairs; |H| where there is no sign."""
    if unsigned:
        return maps.abs()
    sign = torch.from_numpy(np.where(genuine, 1, -1)).to(maps)
    return (maps * sign.view(-1, 1, 1, 1)).clamp(min=0)
