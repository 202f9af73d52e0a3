"""What a judge of maps is, and the pairs that it judges them on.

A judge never makes a map: it is handed maps as tensors, by whoever explains, and gives one number a pair and metric.
Every metric is a mean over pairs, so intervals and paired differences are found for all judges alike (`statistics`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.verification import GRID, VerificationSet, best_threshold, check_scores, embed_all
from facexai.datasets import faces_at
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair

CHUNK = 16  # pairs held in memory at once
BATCH = {"cpu": 32}  # images embedded at once: as many as the caches like
ACCELERATOR_BATCH = 512


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Args:
        name: its key in JSON.
        better: which end is good.
        meaning: one line for people.
        percent: print as per cent; the values themselves are shares in any case.
    """

    name: str
    better: Literal["higher", "lower"] = "higher"
    meaning: str = ""
    percent: bool = True


@dataclass(frozen=True)
class Method:
    """What a judge may know of a method.

    Args:
        explain: signed maps of a pair, for a model of any mode. (pair, model) -> (2, H, W).
        unsigned: its maps are magnitudes >= 0: one map for similarity and for dissimilarity.
    """

    explain: Callable[[FacePair, FaceRecognizer], Tensor]
    unsigned: bool = False


@dataclass(frozen=True)
class JudgedPairs:
    """Some pairs of a set, with their images.

    Args:
        probe, gallery: aligned faces in [-1, 1], float32, on the CPU. Shape (P, 3, H, W).
        genuine: one identity or two. Shape (P,), bool.
        fold: number of the fold. Shape (P,).
        number: which pair of the set each is; seeds what is random about it. Shape (P,).
        score: cosine of the clean images; nan where the judge has no use for it. Shape (P,).
        threshold: on the score, from the other folds; nan likewise. Shape (P,).
        truth: how much each pixel of each image really differs, where that is known. Shape (P, 2, H, W).
        names: of the pairs, for figures.
        rendered: whether the faces are rendered; reports say so.
        total: pairs in all chunks together, for progress bars; 0 where that is not known.
    """

    probe: Tensor
    gallery: Tensor
    genuine: np.ndarray
    fold: np.ndarray
    number: np.ndarray
    score: np.ndarray
    threshold: np.ndarray
    truth: Tensor | None = None
    names: tuple[str, ...] = ()
    rendered: bool = False
    total: int = 0

    def __len__(self) -> int:
        return len(self.genuine)

    @property
    def images(self) -> Tensor:
        """Both images of every pair, probe first. Shape (P, 2, 3, H, W)."""
        return torch.stack([self.probe, self.gallery], dim=1)

    def part(self, rows: slice | np.ndarray) -> Self:
        """Some of these pairs: a slice of them, or those at these indices or places. Shape (Q,) int or (P,) bool."""
        indices = np.arange(len(self))[rows]
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen = {name: of[indices] for name, of in columns.items() if isinstance(of, Tensor | np.ndarray) and len(of)}
        return replace(self, **chosen, names=tuple(self.names[row] for row in indices) if self.names else ())

    def face_pairs(self) -> Iterator[FacePair]:
        """The pairs, one by one, as explainers take them."""
        names = self.names or [f"pair {number}" for number in self.number]
        for probe, gallery, genuine, name in zip(self.probe, self.gallery, self.genuine, names, strict=True):
            yield FacePair(probe, gallery, bool(genuine), name)


class Judge(Protocol):
    """Judges maps pair by pair. A judge is a dataclass that inherits from this one; its fields are its options.

    Attributes:
        name: of the judge, as the command line has it.
        metrics: what it measures; the first one ranks.
    """

    name: str
    metrics: tuple[Metric, ...]

    def chunks(
        self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True
    ) -> Iterator[JudgedPairs]:
        """The pairs, `CHUNK` at a time, so that memory does not grow with their number.

        Args:
            model: whose scores and thresholds the pairs carry.
            limit: about so many pairs; all where None.
            progress: show a bar while the clean images are embedded.
        """
        ...

    def measure(self, model: FaceRecognizer, pairs: JudgedPairs, maps: Tensor, method: Method) -> dict[str, np.ndarray]:
        """What is recorded of each pair.

        Args:
            model: the explained network, in eval mode.
            pairs: some of `chunks`.
            maps: signed maps of these pairs, probe first, on any device. Shape (P, 2, H, W).
            method: that made the maps; to make more of them, and to know whether they have a sign.

        Returns:
            Arrays whose first index is the pair. Those named as a metric, of shape (P,), hold its values, nan where the
            pair does not count; others are for `finish` and `details`.
        """
        ...

    def finish(self, records: Mapping[str, np.ndarray], pairs: "PairFacts") -> dict[str, np.ndarray]:
        """Values of every metric, given all that was recorded of a method. Each of shape (P,), nan where none."""
        return {metric.name: records[metric.name] for metric in self.metrics}

    def details(self, records: Mapping[str, np.ndarray], pairs: "PairFacts") -> dict[str, Any]:
        """What else belongs into the JSON of a method: curves and the like."""
        return {}


@dataclass(frozen=True)
class PairFacts:
    """What remains of the pairs once their images are gone. Every array has shape (P,)."""

    genuine: np.ndarray
    fold: np.ndarray
    score: np.ndarray
    threshold: np.ndarray

    def part(self, rows: np.ndarray) -> Self:
        """Some of these pairs. Shape (P,), bool."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def of(cls, pairs: JudgedPairs) -> Self:
        """What is kept of some pairs."""
        return cls(pairs.genuine, pairs.fold, pairs.score, pairs.threshold)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All parts as one."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def verification_chunks(
    model: FaceRecognizer, data: VerificationSet, limit: int | None = None, *, progress: bool = True
) -> Iterator[JudgedPairs]:
    """Pairs of a verification set with their clean scores and the thresholds of the other folds, chunk by chunk.

    Scores are those of single images (no flip). The thresholds come from all pairs of the set, also where only `limit`
    of them are judged.
    """
    embedding = embed_all(model, data.images, flip=False, progress=progress)
    score = np.einsum("pd,pd->p", embedding[data.probe], embedding[data.gallery]).astype(np.float64)
    threshold = fold_thresholds(score, data.genuine, data.fold)
    chosen = np.arange(len(score)) if limit is None else data.choice(limit)
    for start in range(0, len(chosen), CHUNK):
        rows = chosen[start : start + CHUNK]
        yield JudgedPairs(
            probe=load_images(data, data.probe[rows], model),
            gallery=load_images(data, data.gallery[rows], model),
            genuine=data.genuine[rows],
            fold=data.fold[rows],
            number=rows,
            score=score[rows],
            threshold=threshold[rows],
            rendered=data.rendered,
            total=len(chosen),
        )


def fold_thresholds(scores: np.ndarray, genuine: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Threshold of the highest accuracy on the other folds, for each pair. Shape (P,)."""
    check_scores(scores, genuine, fold)
    thresholds = np.empty(len(scores))
    for number in np.unique(fold):
        test = fold == number
        thresholds[test] = best_threshold(scores[~test], genuine[~test], 1 - GRID / 2)
    return thresholds


def load_images(data: VerificationSet, rows: np.ndarray, model: FaceRecognizer) -> Tensor:
    """Images of a set as the network takes them, on the CPU. Shape (len(rows), 3, H, W)."""
    faces = faces_at(data.images, rows, model.input_size)
    return torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.inference_mode()
def embed_images(model: FaceRecognizer, images: Tensor) -> Tensor:
    """Embeddings of images on any device, batch by batch, in eval mode. (..., 3, H, W) -> (..., D), float32."""
    weight, training = next(model.parameters(), torch.zeros(())), model.training
    batches = images.flatten(0, -4).split(BATCH.get(weight.device.type, ACCELERATOR_BATCH))
    model.eval()
    try:
        embedding = torch.cat([model.embed(batch.to(weight)) for batch in batches])
    finally:
        model.train(training)
    return embedding.float().unflatten(0, images.shape[:-3])
