"""Face verification as the field measures it: ten folds, the threshold from the other nine.

Source: Huang et al., "Labeled Faces in the Wild" (2007), View 2; insightface,
`recognition/arcface_torch/eval/verification.py`, for the threshold grid and the flip averaging.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn
from tqdm import tqdm

from facexai.datasets import Images, faces_at
from facexai.datasets.folders import image_bytes, images_digest
from facexai.errors import InputError
from facexai.pixels import Size

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
GRID = np.arange(0, 4, 0.01)  # insightface's thresholds on the squared distance; |a - b|^2 = 2 - 2 cos(a, b)


class Embedder(Protocol):
    """What verification needs of a network: a `FaceRecognizer`, a `PoseInvariantRecognizer`, or a module of your own.

    Attributes:
        name: what it is called in reports.
        training: whether it is in training mode.
    """

    name: str
    training: bool

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        ...

    def embed(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Unit embeddings of aligned faces, mirrored ones added where `flip`. (N, 3, H, W) in [-1, 1] -> (N, D)."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...  # noqa: D102
    def train(self, mode: bool = True) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class VerificationSet:
    """Images and the pairs among them.

    Args:
        name: of the protocol.
        images: aligned faces, (M, H, W, 3) uint8, the paths of as many files, or what reads its own (`BinPack`).
        probe, gallery: indices into `images`. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.
        fold: number of the fold. Shape (P,).
        rendered: whether the faces are rendered; reports say so.
        identity: label of the person in each image, where it is known. Shape (M,).
        source: names of the files that list the pairs, and the sha256 of each.
    """

    name: str
    images: np.ndarray | Sequence[Path] | Images
    probe: np.ndarray
    gallery: np.ndarray
    genuine: np.ndarray
    fold: np.ndarray
    rendered: bool = False
    identity: np.ndarray | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def people(self) -> np.ndarray | None:
        """Who is on the two images of each pair, where it is known. Shape (P, 2)."""
        return None if self.identity is None else np.stack([self.identity[self.probe], self.identity[self.gallery]], 1)

    def limited(self, pairs: int) -> "VerificationSet":
        """About `pairs` of the pairs, spread evenly over folds and over genuine and impostor ones."""
        chosen = self.choice(pairs)
        used, flat = np.unique(np.concatenate([self.probe[chosen], self.gallery[chosen]]), return_inverse=True)
        probe, gallery = np.split(flat, 2)
        if isinstance(self.images, np.ndarray):
            images = self.images[used]
        else:
            images = (
                [self.images[row] for row in used] if isinstance(self.images, Sequence) else Chosen(self.images, used)
            )
        return replace(
            self,
            images=images,
            probe=probe,
            gallery=gallery,
            genuine=self.genuine[chosen],
            fold=self.fold[chosen],
            identity=None if self.identity is None else self.identity[used],
        )

    @cached_property
    def images_sha256(self) -> str:
        """sha256 of the images, in their order."""
        return images_digest(self.images)

    def digests(self) -> dict[str, str]:
        """sha256 of the images, in their order, and of the images with the pairs among them."""
        images = self.images_sha256
        lists = np.stack([self.probe, self.gallery, self.genuine, self.fold]).astype("<i8")
        return {"images_sha256": images, "pairs_sha256": hashlib.sha256(images.encode() + lists.tobytes()).hexdigest()}

    def choice(self, pairs: int) -> np.ndarray:
        """Which pairs `limited` takes: the first ones of each fold and kind. Shape (about `pairs`,)."""
        groups = list(dict.fromkeys(zip(self.fold.tolist(), self.genuine.tolist(), strict=True)))
        share = -(-pairs // len(groups))
        return np.sort(
            np.concatenate([np.flatnonzero((self.fold == f) & (self.genuine == g))[:share] for f, g in groups])
        )


@dataclass(frozen=True)
class Chosen:
    """Some of the images of a set."""

    images: Images
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.images[self.rows[indices]]

    def payloads(self, indices: np.ndarray) -> list[bytes]:
        """What is hashed of each image."""
        return image_bytes(self.images, self.rows[indices])


@dataclass(frozen=True)
class VerificationReport:
    """Result of a verification benchmark.

    Attributes:
        accuracy, accuracy_std: mean and standard deviation over the folds.
        auc: area under the ROC of all pairs.
        eer: error rate where FAR equals FRR.
        tar: FAR -> TAR; None where the impostor pairs are too few to measure that FAR.
        threshold: mean of the folds' thresholds, on the score.
        seconds: wall time of embedding and scoring.
        scores, genuine, fold: pair by pair. Shape (P,).
        correct: whether each pair is decided rightly at the threshold of the other folds. Shape (P,), bool.
    """

    name: str
    rendered: bool
    accuracy: float
    accuracy_std: float
    auc: float
    eer: float
    tar: dict[float, float | None]
    threshold: float
    pairs: int
    folds: int
    seconds: float
    scores: np.ndarray = field(repr=False)
    genuine: np.ndarray = field(repr=False)
    fold: np.ndarray = field(repr=False)
    correct: np.ndarray = field(repr=False)

    @property
    def accuracy_exact(self) -> float:
        """Mean accuracy over the folds where any score of the other folds may be the threshold, not 400 of them."""
        correct, _ = decide(self.scores, self.genuine, self.fold, "exact")
        return float(np.mean([np.mean(correct[self.fold == number]) for number in np.unique(self.fold)]))

    def to_json(self) -> dict[str, Any]:
        """The figures, without the scores, as plain JSON types."""
        return {
            "benchmark": self.name,
            "rendered": self.rendered,
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "accuracy_exact": self.accuracy_exact,
            "auc": self.auc,
            "eer": self.eer,
            "tar": {f"{far:g}": tar for far, tar in self.tar.items()},
            "threshold": self.threshold,
            "pairs": self.pairs,
            "folds": self.folds,
            "seconds": self.seconds,
        }


class Embed(Protocol):
    """`embed_all`, or what gives the same embeddings."""

    def __call__(  # noqa: D102
        self,
        model: Embedder,
        images: np.ndarray | Sequence[Path] | Images,
        /,
        *,
        flip: bool,
        batch_size: int,
        progress: bool,
        normalize: bool = True,
    ) -> np.ndarray: ...


def verify(
    model: Embedder,
    data: VerificationSet,
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: bool = True,
    embed: Embed | None = None,
) -> VerificationReport:
    """Embed every image once, score every pair, measure.

    Args:
        model: the network; runs in eval mode on its own device, its mode is restored.
        data: the benchmark.
        flip: sum the head's output over each image and its mirror image.
        batch_size: images embedded at once; memory only.
        progress: show a bar.
        embed: in place of `embed_all`: `embeddings_once` keeps embeddings in the cache.
    """
    start = time.perf_counter()
    embedding = (embed or embed_all)(model, data.images, flip=flip, batch_size=batch_size, progress=progress)
    scores, distance = compare_embeddings(embedding, data.probe, data.gallery)
    return measure(
        scores,
        data.genuine,
        data.fold,
        name=data.name,
        rendered=data.rendered,
        seconds=time.perf_counter() - start,
        distance=distance,
    )


def compare_embeddings(
    embedding: np.ndarray, probe: np.ndarray, gallery: np.ndarray, *, chunk: int = 4096
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and squared distance of pairs, in the arithmetic of insightface: float64, brought to unit length first.

    Args:
        embedding: of any length. Shape (M, D).
        probe: rows of one side of the pairs. Shape (P,).
        gallery: rows of the other. Shape (P,).
        chunk: pairs at once; memory only.

    Returns:
        Scores and distances. Shapes (P,), float64.
    """
    scores, distance = np.empty(len(probe)), np.empty(len(probe))
    for start in range(0, len(probe), chunk):
        here = slice(start, start + chunk)
        first, second = (_unit(embedding[side[here]].astype(np.float64)) for side in (probe, gallery))
        scores[here] = np.einsum("pd,pd->p", first, second)
        distance[here] = np.sum(np.square(first - second), 1)
    return scores, distance


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.einsum("pd,pd->p", rows, rows))
    return rows / np.where(norm == 0, 1, norm)[:, None]


@torch.inference_mode()
def embed_all(
    model: Embedder,
    images: np.ndarray | Sequence[Path] | Images,
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: bool = True,
    normalize: bool = True,
) -> np.ndarray:
    """Embeddings of many images; the next batch is read while one is embedded.

    Args:
        model: in eval mode for the time of the call.
        images: (M, H, W, 3) uint8, paths, or what reads its own.
        flip: add the mirror images.
        batch_size: images at once.
        progress: show a bar with the rate and the time left.
        normalize: to unit length; else the norm, which tells of the image's quality, stays.

    Returns:
        Shape (M, D), float32.
    """
    training, device = model.training, next(model.parameters(), torch.zeros(())).device
    model.train(False)
    embedding, done = np.empty((0, 0), np.float32), 0
    try:
        with tqdm(total=len(images), desc="embedding", unit="image", disable=None if progress else True) as bar:
            for faces in read_ahead(images, batch_size, model.input_size):
                rows = _embed(model, faces, flip, device, normalize)
                if done == 0:
                    embedding = np.empty((len(images), rows.shape[1]), np.float32)
                embedding[done : done + len(rows)] = rows
                done += len(rows)
                bar.update(len(rows))
    finally:
        model.train(training)
    return embedding


def read_ahead(images: np.ndarray | Sequence[Path] | Images, batch_size: int, size: Size) -> Iterator[np.ndarray]:
    """Batches of faces in their order, (n, H, W, 3) uint8; one is read while the one before it is used."""
    batches = [np.arange(start, min(start + batch_size, len(images))) for start in range(0, len(images), batch_size)]
    with ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(faces_at, images, rows, size) for rows in batches[:1]]
        for number in range(len(batches)):
            ready = waiting.pop().result()
            waiting += [reader.submit(faces_at, images, rows, size) for rows in batches[number + 1 : number + 2]]
            yield ready


def measure(
    scores: np.ndarray,
    genuine: np.ndarray,
    fold: np.ndarray,
    *,
    name: str = "",
    rendered: bool = False,
    seconds: float = 0.0,
    thresholds: Literal["grid", "exact"] = "grid",
    distance: np.ndarray | None = None,
) -> VerificationReport:
    """The field's figures for scored pairs.

    Args:
        scores: cosine similarities. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.
        fold: number of the fold. Shape (P,).
        name: of the benchmark, for the report.
        rendered: whether the faces are rendered, for the report.
        seconds: what embedding took, for the report.
        thresholds: `"grid"` searches insightface's 400 thresholds, `"exact"` every score of the other folds.
        distance: squared distances of the unit embeddings, for the grid; 2 - 2 `scores` where not given, which is the
            same but for rounding. Shape (P,).

    Raises:
        InputError: arrays of different length, scores that are not finite, one class only, fewer than two folds.
    """
    scores, genuine, fold = np.asarray(scores, np.float64), np.asarray(genuine, bool), np.asarray(fold)
    check_scores(scores, genuine, fold)
    correct, chosen = decide(scores, genuine, fold, thresholds, distance)
    accuracies = [np.mean(correct[fold == number]) for number in np.unique(fold)]
    return VerificationReport(
        name=name,
        rendered=rendered,
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        auc=float(roc_auc_score(genuine, scores)),
        eer=equal_error_rate(scores, genuine),
        tar=tar_at_far(scores, genuine),
        threshold=float(np.mean(chosen)),
        pairs=len(scores),
        folds=len(chosen),
        seconds=seconds,
        scores=scores,
        genuine=genuine,
        fold=fold,
        correct=correct,
    )


def decide(
    scores: np.ndarray,
    genuine: np.ndarray,
    fold: np.ndarray,
    thresholds: Literal["grid", "exact"] = "grid",
    distance: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs are decided rightly at the threshold of the other folds (P,), and each fold's threshold (F,).

    On the grid a pair is accepted where its distance is below the threshold, as in insightface; the thresholds are
    given on the score either way.
    """
    nearness = scores if thresholds == "exact" else -(2 - 2 * scores if distance is None else distance)
    correct, chosen = np.empty(len(scores), bool), []
    for number in np.unique(fold):
        test = fold == number
        candidates = -GRID if thresholds == "grid" else np.append(np.unique(scores[~test])[::-1], -np.inf)
        threshold = best_threshold(nearness[~test], genuine[~test], candidates)
        correct[test] = (nearness[test] > threshold) == genuine[test]
        chosen.append(1 + threshold / 2 if thresholds == "grid" else threshold)
    return correct, np.array(chosen)


def roc(scores: np.ndarray, genuine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FAR, TAR and the threshold of each point of the ROC; a pair is accepted where its score reaches the threshold."""
    far, tar, thresholds = roc_curve(genuine, scores, drop_intermediate=False)
    return far, tar, thresholds


def tar_at_far(scores: np.ndarray, genuine: np.ndarray, fars: Sequence[float] = FARS) -> dict[float, float | None]:
    """Largest share of genuine pairs accepted while no more than `far` of the impostor pairs are.

    No interpolation. None where there are fewer than 1 / far impostor pairs: the set cannot resolve that rate.
    """
    impostors = int(np.sum(~np.asarray(genuine, bool)))
    false, true, _ = roc(scores, genuine)
    return {far: float(true[false <= far + 1e-12].max()) if far * impostors >= 1 else None for far in fars}


def equal_error_rate(scores: np.ndarray, genuine: np.ndarray) -> float:
    """Where the ROC crosses FAR = FRR, on the straight line between the two points round it."""
    far, tar, _ = roc(scores, genuine)
    gap = far - (1 - tar)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    rise = gap[after] - gap[before]
    weight = 0.0 if rise == 0 else -gap[before] / rise
    return float(far[before] + weight * (far[after] - far[before]))


def best_threshold(scores: np.ndarray, genuine: np.ndarray, candidates: np.ndarray) -> float:
    """First candidate of the highest accuracy; a pair is accepted where its score is above the candidate."""
    ordered_genuine, ordered_impostor = np.sort(scores[genuine]), np.sort(scores[~genuine])
    accepted = len(ordered_genuine) - np.searchsorted(ordered_genuine, candidates, side="right")
    refused = np.searchsorted(ordered_impostor, candidates, side="right")
    return float(candidates[np.argmax(accepted + refused)])


def _embed(model: Embedder, faces: np.ndarray, flip: bool, device: torch.device, normalize: bool) -> np.ndarray:
    batch = torch.from_numpy(faces).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    embed = model.embed if normalize else model.unnormalized  # type: ignore[attr-defined]
    return embed(batch, flip=flip).float().cpu().numpy()


def check_scores(scores: np.ndarray, genuine: np.ndarray, fold: np.ndarray) -> None:
    """Raise `InputError` unless thresholds can be found: finite scores of both kinds, in two folds or more."""
    if not len(scores) == len(genuine) == len(fold):
        raise InputError(
            f"scores, genuine and fold must be of one length; got {len(scores)}, {len(genuine)} and {len(fold)}"
        )
    if not np.isfinite(scores).all():
        raise InputError(f"scores must be finite; {int((~np.isfinite(scores)).sum())} of {len(scores)} are not")
    if len(scores) == 0 or genuine.all() or not genuine.any():
        raise InputError("verification needs genuine and impostor pairs; got pairs of one kind only")
    if len(np.unique(fold)) < 2:
        raise InputError("verification needs at least two folds; a threshold is found on the other folds")
