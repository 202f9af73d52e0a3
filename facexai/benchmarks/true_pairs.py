"""Pairs about which it is known, pixel by pixel, where the two faces really differ.

They are rendered where the judge's caller brings no faces: a part of the pairs at a time, kept in the cache folder, so
that only those which are asked for are ever made, and memory does not grow with their number.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.judges import CHUNK, JudgedPairs, embed_images
from facexai.datasets.rendered import rendered_once
from facexai.models import FaceRecognizer
from facexai.pixels import CROP_SIZE, Size, fit_crops
from facexai.rendering.parallel import Job

FOLDS = 10


@dataclass(frozen=True)
class TruePairs(JudgedPairs):
    """Some pairs with their truth: `truth` is nan on an image of which nothing is known.

    Args:
        before: the same pairs without what was done to them; None where that is a pair of two equal images. Shape
            (P, 2, 3, H, W).
        drop: how much lower the score is for it. Shape (P,).
    """

    before: Tensor | None = None
    drop: np.ndarray = field(default_factory=lambda: np.empty(0))


class TruthSource(Protocol):
    """Gives pairs with a known truth; the frozen dataclasses that implement it differ in how they are made."""

    def chunks(self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True) -> Iterator[TruePairs]:
        """The pairs, at most `CHUNK` at a time; `limit` of them, or a number of the source's own."""
        ...


@dataclass(frozen=True)
class RenderedPairs:
    """How pairs are rendered, whatever is done to them.

    Args:
        pairs: how many there are where no limit is given.
        strength: nuisance strength k of the images.
        yaw: largest |yaw| in degrees.
        seed: of the people, drawn as (seed, number of the pair). Seeds below 1100 belong to training sets and to the
            verification protocols.
        part: pairs rendered and kept in one file.
    """

    pairs: int = 500
    strength: float = 0.5
    yaw: float = 20.0
    seed: int = 1100
    part: int = 3 * CHUNK

    def render(
        self,
        jobs: Callable[[int], Sequence[Job]],
        limit: int | None,
        *,
        size: Size = CROP_SIZE,
        labels: bool = False,
        progress: bool = True,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of pairs, and J images for each.

        Args:
            jobs: what to render for a pair, given its number: J jobs of `render_many`.
            limit: number of pairs; `pairs` where None.
            size: (H, W) of the network that is to see them.
            labels: with the region map as fourth channel.
            progress: show a bar while rendering.

        Yields:
            Numbers (P,), and images (P, J, H, W, 3 or 4), uint8.
        """
        count = self.pairs if limit is None else limit
        recipe = {**asdict(self), "pairs": 0, "kind": type(self).__name__}  # what the images depend on
        for first in range(0, count, self.part):
            numbers = np.arange(first, first + self.part)
            images = rendered_once(
                {**recipe, "first": first},
                lambda numbers=numbers: [job for number in numbers for job in jobs(int(number))],
                labels=labels,
                progress=progress,
            )
            images = images.reshape(self.part, -1, *images.shape[1:])
            wanted = min(self.part, count - first)
            for start in range(0, wanted, CHUNK):
                rows = slice(start, min(start + CHUNK, wanted))
                yield numbers[rows], fit_crops(np.asarray(images[rows]), size)


def as_images(pixels: np.ndarray) -> Tensor:
    """Pixels (..., H, W, 3 or more) uint8 to images (..., 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels[..., :3], -1, -3))).float() / 127.5 - 1


def pair_scores(model: FaceRecognizer, images: Tensor) -> np.ndarray:
    """Scores of pairs. (P, 2, 3, H, W) -> (P,), float64."""
    probe, gallery = embed_images(model, images).unbind(1)
    return (probe * gallery).sum(-1).double().cpu().numpy()


def decision_threshold(model: FaceRecognizer, strangers: Tensor) -> float:
    """The model's calibrated threshold; without one, the score that 1 in 100 of these pairs of strangers exceeds.

    Args:
        model: the network.
        strangers: embeddings of different people. Shape (P, D).
    """
    if model.threshold is not None:
        return model.threshold
    scores = strangers @ strangers.T
    above_diagonal = scores[tuple(torch.triu_indices(len(scores), len(scores), offset=1))]
    return float(above_diagonal.double().quantile(0.99)) if len(above_diagonal) else 0.0
