"""Is the map one of the comparison and of this network, or would any face and any weights have given it?

Partner randomisation: with somebody else's face as the other image, the map must change. Layer randomisation: with
layers that forgot what they had learnt, it must change too. Stability: under noise that nobody sees, it must not. And
where a method shares the score out over the pixels, they sum to it.

Source: Adebayo et al., "Sanity Checks for Saliency Maps" (2018), for layers; partner randomisation is ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.correlation import pearson, relative_change, spearman
from facexai.benchmarks.judges import (
    Judge,
    JudgedPairs,
    Method,
    Metric,
    PairFacts,
    load_images,
    verification_chunks,
)
from facexai.benchmarks.randomization import Cascade
from facexai.benchmarks.strangers import stranger_rows
from facexai.benchmarks.verification import VerificationSet
from facexai.errors import InputError
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair


@dataclass(frozen=True)
class SanityPairs(JudgedPairs):
    """Some pairs, and what to replace in them.

    Args:
        stranger: a third person for each pair. Shape (P, 3, H, W).
        cascade: makes the random networks; one for all pairs of the set.
    """

    stranger: Tensor = field(default_factory=lambda: torch.empty(0))
    cascade: Cascade | None = None


@dataclass(frozen=True, eq=False)
class Sanity(Judge):
    """Sanity checks over the pairs of a verification set; `steps + 2` more maps a genuine pair, one less an impostor.

    Args:
        data: the pairs.
        steps: of layer randomisation.
        noise: standard deviation of the noise, of images in [-1, 1].
        seed: of strangers, weights and noise.
    """

    data: VerificationSet = field(repr=False)
    steps: int = 5
    noise: float = 0.02
    seed: int = 42

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1; got {self.steps}")

    name = "sanity"
    metrics = (
        Metric("partner", "lower", "genuine pairs: correlation with the map against a stranger", percent=False),
        Metric("partner_ranks", "lower", "the same, of ranks", percent=False),
        Metric("layers", "lower", "rank correlation with maps of random networks, mean over steps", percent=False),
        Metric("layers_final", "lower", "the same, with all layers random", percent=False),
        Metric("stability", meaning="correlation with the map under slight noise", percent=False),
        Metric("noise_change", "lower", "size of the change under that noise, over the size of the map", percent=False),
        Metric(
            "sum_error", "lower", "pixels do not sum to the score, nor to the margin: 0 they do, 1 far", percent=False
        ),
    )

    def chunks(
        self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True
    ) -> Iterator[JudgedPairs]:
        """Pairs of the set, each with a stranger; see `Judge`."""
        cascade = None
        for pairs in verification_chunks(model, self.data, limit, progress=progress):
            cascade = cascade or Cascade(pairs.images.flatten(0, 1), self.steps, self.seed)
            rows = stranger_rows(self.data, pairs.number, self.seed)
            stranger = load_images(self.data, self.data.gallery[rows], model)
            yield SanityPairs(**vars(pairs), stranger=stranger, cascade=cascade)

    def measure(self, model: FaceRecognizer, pairs: JudgedPairs, maps: Tensor, method: Method) -> dict[str, np.ndarray]:
        """Every metric, and the correlation at each step of layer randomisation, (P, steps) as `steps`."""
        assert isinstance(pairs, SanityPairs) and pairs.cascade is not None
        networks = pairs.cascade.networks(model)
        steps = np.stack([over_images(spearman, maps, explained(method, network, pairs)) for network in networks], 1)
        noisy = explained(method, model, with_noise(pairs, self.noise, self.seed))
        return {
            **against_strangers(method, model, pairs, maps),
            "steps": steps,
            "layers": torch.from_numpy(steps).nanmean(1).numpy(),
            "layers_final": steps[:, -1],
            "stability": over_images(pearson, maps, noisy),
            "noise_change": over_images(relative_change, maps, noisy),
            "sum_error": np.full(len(pairs), np.nan)
            if method.unsigned
            else sum_error(maps, pairs.score, model.threshold),
        }

    def details(self, records: Mapping[str, np.ndarray], pairs: PairFacts) -> dict[str, Any]:
        """Mean correlation with the maps of each random network, from the one that forgot its head to the blank one."""
        return {"steps": torch.from_numpy(records["steps"]).nanmean(0).nan_to_num().tolist()}


def explained(method: Method, model: FaceRecognizer, pairs: JudgedPairs) -> Tensor:
    """Maps of these pairs. Shape (P, 2, H, W)."""
    return torch.stack([method.explain(pair, model) for pair in pairs.face_pairs()])


def over_images(measure, maps: Tensor, others: Tensor) -> np.ndarray:
    """Mean over the two images of each pair of what is measured of their maps. (P, 2, H, W), twice -> (P,)."""
    values = measure(maps.flatten(0, 1), others.to(maps).flatten(0, 1))
    return values.view(-1, 2).nanmean(1).cpu().numpy()


def against_strangers(method: Method, model: FaceRecognizer, pairs: SanityPairs, maps: Tensor) -> dict[str, np.ndarray]:
    """Correlation of the probe's map with its map against the stranger, for genuine pairs. Each (P,)."""
    values = {name: np.full(len(pairs), np.nan) for name in ("partner", "partner_ranks")}
    for row in np.flatnonzero(pairs.genuine):
        stranger = FacePair(pairs.probe[row], pairs.stranger[row], genuine=False)
        own, other = maps[row, :1], method.explain(stranger, model)[:1].to(maps)
        values["partner"][row] = pearson(own, other).item()
        values["partner_ranks"][row] = spearman(own, other).item()
    return values


def with_noise(pairs: SanityPairs, deviation: float, seed: int) -> JudgedPairs:
    """The pairs with Gaussian noise on both images, drawn for each pair by its number."""
    shape = tuple(pairs.images.shape[1:])
    drawn = [np.random.default_rng([seed, number]).standard_normal(shape) for number in pairs.number.tolist()]
    noisy = (pairs.images + deviation * torch.from_numpy(np.stack(drawn)).float()).clamp(-1, 1)
    probe, gallery = noisy.unbind(1)
    return JudgedPairs(probe, gallery, pairs.genuine, pairs.fold, pairs.number, pairs.score, pairs.threshold)


def sum_error(maps: Tensor, score: np.ndarray, threshold: float | None) -> np.ndarray:
    """|sum - s| / (|sum| + |s|) for the score s, or for the margin s = score - threshold where that is nearer.

    Args:
        maps: signed. Shape (P, 2, H, W).
        score: of the pairs. Shape (P,).
        threshold: of the model; None where it has none.

    Returns:
        Mean over the two images, 0..1. Shape (P,).
    """
    total = maps.double().sum((-2, -1)).cpu().numpy()  # (P, 2)
    goals = [score] if threshold is None else [score, score - threshold]
    errors = [np.abs(total - goal[:, None]) / (np.abs(total) + np.abs(goal[:, None])) for goal in goals]
    return np.stack([error.mean(1) for error in errors]).min(0)
