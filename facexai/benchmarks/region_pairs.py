"""Rendered pairs that differ in two or three regions of the face, and in nothing else.

The gallery image shows the person of the probe with the eyes, the mouth ... of somebody else, in the same light, pose
and framing. The truth is measured: how far each pixel of the one image is from the same pixel of the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np
import torch

from facexai.benchmarks.judges import embed_images
from facexai.benchmarks.true_pairs import FOLDS, RenderedPairs, TruePairs, as_images, decision_threshold
from facexai.models import FaceRecognizer
from facexai.rendering import sample_identity, sample_nuisance, swap_regions
from facexai.rendering.parallel import Job

# Not hair, which a network trained on two looks a person learns to overlook, so that a difference there is no truth
# about its decisions; not the forehead, which moves the hair above it; not skin, which is everywhere; not ears, which
# mostly do not show.
REGIONS = ("eyes", "brows", "nose", "mouth", "jaw", "cheeks")
AMPLIFICATIONS = (1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class RegionPairs(RenderedPairs):
    """Pairs that differ in two or three regions.

    The other face's regions are amplified until the model takes the pair for two people.

    Args:
        regions: every choice of two or three of these comes up equally often.
        amplifications: the smallest one at which the score falls below the threshold is taken, the last but one where
            none is enough: the last one turns faces into caricatures.
    """

    regions: tuple[str, ...] = REGIONS
    amplifications: tuple[float, ...] = AMPLIFICATIONS

    def chunks(self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True) -> Iterator[TruePairs]:
        """Pairs chunk by chunk; see `TruthSource`."""
        threshold = None
        for numbers, pixels in self.render(self.jobs, limit, size=model.input_size, progress=progress):
            images = as_images(pixels)  # (P, 1 + A, 3, H, W)
            embedding = embed_images(model, images)
            if threshold is None:
                threshold = decision_threshold(model, embedding[:, 0])
            scores = torch.einsum("pd,pad->pa", embedding[:, 0], embedding[:, 1:]).double().cpu().numpy()
            chosen = choose_amplification(scores, threshold)
            pairs = np.arange(len(numbers))
            difference = measured_difference(pixels[:, 0], pixels[pairs, 1 + chosen])  # (P, H, W)
            yield TruePairs(
                probe=images[:, 0],
                gallery=images[pairs, 1 + chosen],
                genuine=np.zeros(len(numbers), bool),
                fold=numbers % FOLDS,
                number=numbers,
                score=scores[pairs, chosen],
                drop=1 - scores[pairs, chosen],
                threshold=np.full(len(numbers), threshold),
                truth=torch.from_numpy(difference)[:, None].repeat(1, 2, 1, 1),
                names=tuple(
                    f"{' + '.join(self.regions_of(number))} x {self.amplifications[index]:g}"
                    for number, index in zip(numbers.tolist(), chosen, strict=True)
                ),
                rendered=True,
                total=self.pairs if limit is None else limit,
            )

    def jobs(self, number: int) -> list[Job]:
        """The face as it is, then with the other one's regions at each amplification."""
        rng = np.random.default_rng([self.seed, number])
        person, other = sample_identity(rng), sample_identity(rng)
        yaw = float(rng.uniform(-self.yaw, self.yaw))
        # Without JPEG, whose blocks would carry a difference beyond its region.
        nuisance = replace(sample_nuisance(rng, self.strength, yaw, occlusion=0), jpeg=0)
        changed = [swap_regions(person, other, self.regions_of(number), amount) for amount in self.amplifications]
        return [(person, nuisance), *((face, nuisance, person) for face in changed)]

    def regions_of(self, number: int) -> tuple[str, ...]:
        """Which regions a pair differs in."""
        choices = shuffled_choices(self.regions, self.seed)
        return choices[number % len(choices)]


def choose_amplification(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Index of the first amplification that changes the decision; the last but one where none does. (P, A) -> (P,)."""
    refused = scores < threshold
    return np.where(refused.any(1), refused.argmax(1), max(scores.shape[1] - 2, 0))


def measured_difference(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Mean absolute difference over the colours. (P, H, W, 3) uint8, twice -> (P, H, W), float32 in 0..1."""
    return np.abs(probe.astype(np.float32) - gallery.astype(np.float32)).mean(axis=-1) / 255


@cache
def shuffled_choices(regions: tuple[str, ...], seed: int) -> list[tuple[str, ...]]:
    """Every choice of two or three regions once, in an order of the seed."""
    choices = [choice for size in (2, 3) for choice in combinations(regions, size)]
    return [choices[index] for index in np.random.default_rng(seed).permutation(len(choices))]
