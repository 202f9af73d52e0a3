"""Genuine rendered pairs with a mask, sunglasses, a scarf or a hat on one image.

The truth lies on that image: the occluder. Nothing is known about the other image, where the same place may still be
similar evidence or missing. What the occluder changed is seen against the same pair without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from facexai.benchmarks.judges import embed_images
from facexai.benchmarks.true_pairs import FOLDS, RenderedPairs, TruePairs, as_images, decision_threshold, pair_scores
from facexai.models import FaceRecognizer
from facexai.rendering import LABELS, sample_identity, sample_nuisance
from facexai.rendering.nuisance import sample_occluder
from facexai.rendering.parallel import Job

KINDS = ("mask", "sunglasses", "scarf", "hat")


@dataclass(frozen=True)
class OccluderPairs(RenderedPairs):
    """Genuine pairs in two circumstances, with an occluder on the probe or on the gallery image by turns.

    Args:
        kinds: each comes up equally often.
    """

    seed: int = 1101
    kinds: tuple[str, ...] = KINDS

    def chunks(self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True) -> Iterator[TruePairs]:
        """Pairs chunk by chunk; see `TruthSource`."""
        threshold = None
        for numbers, pixels in self.render(self.jobs, limit, size=model.input_size, labels=True, progress=progress):
            bare, occluded, other = as_images(pixels).unbind(1)  # (P, 3, H, W) each
            side = self.side(numbers)
            images, before = in_order(occluded, other, side), in_order(bare, other, side)
            if threshold is None:
                threshold = decision_threshold(model, embed_images(model, bare))
            truth = torch.full((len(numbers), 2, *bare.shape[-2:]), torch.nan)
            truth[np.arange(len(numbers)), side] = occluder_mask(pixels[:, 1])
            score = pair_scores(model, images)
            yield TruePairs(
                probe=images[:, 0],
                gallery=images[:, 1],
                genuine=np.ones(len(numbers), bool),
                fold=numbers % FOLDS,
                number=numbers,
                score=score,
                threshold=np.full(len(numbers), threshold),
                truth=truth,
                names=tuple(
                    f"{self.kind_of(number)} on the {('probe', 'gallery')[face]}"
                    for number, face in zip(numbers.tolist(), side, strict=True)
                ),
                rendered=True,
                total=self.pairs if limit is None else limit,
                before=before,
                drop=pair_scores(model, before) - score,
            )

    def jobs(self, number: int) -> list[Job]:
        """The face without the occluder, the same photo with it, and another photo."""
        rng = np.random.default_rng([self.seed, number])
        person = sample_identity(rng)
        bare, other = (
            sample_nuisance(rng, self.strength, float(rng.uniform(-self.yaw, self.yaw)), occlusion=0) for _ in range(2)
        )
        occluded = replace(bare, **sample_occluder(rng, self.kind_of(number)))
        return [(person, bare), (person, occluded), (person, other)]

    def kind_of(self, number: int) -> str:
        """Which occluder a pair has."""
        return self.kinds[number % len(self.kinds)]

    def side(self, numbers: np.ndarray) -> np.ndarray:
        """0 where the probe is occluded, 1 where the gallery image is: each kind on both equally often. Shape (P,)."""
        return numbers // len(self.kinds) % 2


def in_order(occluded: torch.Tensor, other: torch.Tensor, side: np.ndarray) -> torch.Tensor:
    """Pairs, probe first, whose occluded image is the one at `side`. (P, 3, H, W), twice -> (P, 2, 3, H, W)."""
    swapped = torch.from_numpy(side == 1).view(-1, 1, 1, 1, 1)
    return torch.where(swapped, torch.stack([other, occluded], 1), torch.stack([occluded, other], 1))


def occluder_mask(pixels: np.ndarray) -> torch.Tensor:
    """Where the region map has an occluder, 0 or 1. (P, H, W, 4) uint8 -> (P, H, W)."""
    return torch.from_numpy(pixels[..., 3] == LABELS.index("occluder")).float()
