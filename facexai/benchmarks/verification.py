"""Face verification as the field measures it: ten folds, the threshold from the other nine.

Source: Huang et al., "Labeled Faces in the Wild" (2007), View 2; insightface,
`recognition/arcface_torch/eval/verification.py`, for the threshold grid and the flip averaging.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn
from tqdm import tqdm

from facexai.datasets import load_faces
from facexai.errors import InputError
from facexai.images import fit_crops

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
        images: aligned faces, (M, H, W, 3) uint8, or the paths of as many files.
        probe, gallery: indices into `images`. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.
        fold: number of the fold. Shape (P,).
        rendered: whether the faces are rendered; reports say so.
        identity: label of the person in each image, where it is known. Shape (M,).
    """

    name: str
    images: np.ndarray | Sequence[Path]
    probe: np.ndarray
    gallery: np.ndarray
    genuine: np.ndarray
    fold: np.ndarray
    rendered: bool = False
    identity: np.ndarray | None = None

    def limited(self, pairs: int) -> "VerificationSet":
        """About `pairs` of the pairs, spread evenly over folds and over genuine and impostor ones."""
        chosen = self.choice(pairs)
        used, flat = np.unique(np.concatenate([self.probe[chosen], self.gallery[chosen]]), return_inverse=True)
        images = self.images[used] if isinstance(self.images, np.ndarray) else [self.images[index] for index in used]
        probe, gallery = np.split(flat, 2)
        identity = None if self.identity is None else self.identity[used]
        return VerificationSet(
            self.name, images, probe, gallery, self.genuine[chosen], self.fold[chosen], self.rendered, identity
        )

    def choice(self, pairs: int) -> np.ndarray:
        """Which pairs `limited` takes: the first ones of each fold and kind. Shape (about `pairs`,)."""
        groups = list(dict.fromkeys(zip(self.fold.tolist(), self.genuine.tolist(), strict=True)))
        share = -(-pairs // len(groups))
        return np.sort(
            np.concatenate([np.flatnonzero((self.fold == f) & (self.genuine == g))[:share] for f, g in groups])
        )


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

    def to_json(self) -> dict[str, Any]:
        """The figures, without the scores, as plain JSON types."""
        return {
            "benchmark": self.name,
            "rendered": self.rendered,
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "auc": self.auc,
            "eer": self.eer,
            "tar": {f"{far:g}": tar for far, tar in self.tar.items()},
            "threshold": self.threshold,
            "pairs": self.pairs,
            "folds": self.folds,
            "seconds": self.seconds,
        }


def verify(
    model: Embedder, data: VerificationSet, *, flip: bool = True, batch_size: int = 64, progress: bool = True
) -> VerificationReport:
    """Embed every image once, score every pair, measure.

    Args:
        model: the network; runs in eval mode on its own device, its mode is restored.
        data: the benchmark.
        flip: sum the head's output over each image and its mirror image.
        batch_size: images embedded at once; memory only.
        progress: show a bar.
    """
    start = time.perf_counter()
    embedding = embed_all(model, data.images, flip=flip, batch_size=batch_size, progress=progress)
    scores = np.einsum("pd,pd->p", embedding[data.probe], embedding[data.gallery])
    return measure(
        scores, data.genuine, data.fold, name=data.name, rendered=data.rendered, seconds=time.perf_counter() - start
    )


@torch.inference_mode()
def embed_all(
    model: Embedder,
    images: np.ndarray | Sequence[Path],
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: bool = True,
) -> np.ndarray:
    """Embeddings of many images, batch by batch. Images (M, H, W, 3) uint8 or paths -> (M, D) float32."""
    training, device = model.training, next(model.parameters(), torch.zeros(())).device
    model.train(False)
    try:
        starts = tqdm(
            range(0, len(images), batch_size), desc="embedding", unit="batch", disable=None if progress else True
        )
        return np.concatenate([_embed(model, images[i : i + batch_size], flip, device) for i in starts])
    finally:
        model.train(training)


def measure(
    scores: np.ndarray,
    genuine: np.ndarray,
    fold: np.ndarray,
    *,
    name: str = "",
    rendered: bool = False,
    seconds: float = 0.0,
    thresholds: Literal["grid", "exact"] = "grid",
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

    Raises:
        InputError: arrays of different length, scores that are not finite, one class only, fewer than two folds.
    """
    scores, genuine, fold = np.asarray(scores, np.float64), np.asarray(genuine, bool), np.asarray(fold)
    check_scores(scores, genuine, fold)
    folds = np.unique(fold)
    accuracies, chosen = zip(*(_fold_accuracy(scores, genuine, fold == f, thresholds) for f in folds), strict=True)
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
    )


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


def fold_threshold(scores: np.ndarray, genuine: np.ndarray, thresholds: Literal["grid", "exact"] = "grid") -> float:
    """The threshold that pairs of other folds give; see `measure`."""
    candidates = 1 - GRID / 2 if thresholds == "grid" else np.append(np.unique(scores)[::-1], -np.inf)
    return best_threshold(scores, genuine, candidates)


def _fold_accuracy(
    scores: np.ndarray, genuine: np.ndarray, test: np.ndarray, thresholds: Literal["grid", "exact"]
) -> tuple[float, float]:
    """Accuracy on one fold with the threshold of the others, and that threshold."""
    threshold = fold_threshold(scores[~test], genuine[~test], thresholds)
    return float(np.mean((scores[test] > threshold) == genuine[test])), threshold


def _embed(model: Embedder, images: Any, flip: bool, device: torch.device) -> np.ndarray:
    faces = np.array(images) if isinstance(images, np.ndarray) else load_faces(images, model.input_size)
    batch = torch.from_numpy(fit_crops(faces, model.input_size)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return model.embed(batch, flip=flip).float().cpu().numpy()


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
