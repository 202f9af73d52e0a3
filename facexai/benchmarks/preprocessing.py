"""Does a network get its images in the colours and the range that it was trained with?

A wrong order of channels or a wrong range gives no error, only worse embeddings. So the same faces are shown in every
usual way, and for each it is measured how far genuine pairs lie from impostor pairs.

Source: ours. The measure is the d' of signal detection theory (Green and Swets, 1966).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from facexai.benchmarks.judges import embed_images
from facexai.datasets.rendered import RenderedFaces
from facexai.errors import InputError
from facexai.models import FaceRecognizer, Preprocessing
from facexai.pixels import fit_crops

RANGES = {"[-1, 1]": (0.5, 0.5), "[0, 1]": (0.0, 1.0), "[0, 255]": (0.0, 1 / 255)}
FACES = {"images_per_identity": 3, "strength": (0.2, 0.8), "occlusion": 0.0, "frontal": 1.0}


@dataclass(frozen=True)
class WayOfSeeing:
    """What one preprocessing gives.

    Args:
        name: its order of channels and range.
        preprocessing: itself.
        separation: d' of genuine and impostor scores: difference of their means, in standard deviations.
        auc: ROC AUC of the same scores.
        behind: how much lower the separation is than that of the configured one, with its 95 % interval over people;
            negative where it is higher.
    """

    name: str
    preprocessing: Preprocessing
    separation: float
    auc: float
    behind: tuple[float, float, float]


@dataclass(frozen=True)
class PreprocessingReport:
    """Ways of seeing, the configured one first.

    Args:
        model: name of the network.
        ways: all that were tried.
        people: how many.
        rendered: whether their faces are rendered.
    """

    model: str
    ways: tuple[WayOfSeeing, ...]
    people: int
    rendered: bool

    @property
    def configured(self) -> WayOfSeeing:
        """As the model has it."""
        return self.ways[0]

    @property
    def best(self) -> WayOfSeeing:
        """The one that separates best."""
        return max(self.ways, key=lambda way: way.separation)

    @property
    def warning(self) -> str:
        """One line where another way is clearly better than the configured one, or no way tells people apart; or ""."""
        best = self.best
        if best.behind[2] < 0:
            return (
                f"{self.model} separates people better with {best.name} (d' {best.separation:.2f}) than with "
                f"{self.configured.name} as configured (d' {self.configured.separation:.2f}); check its preprocessing"
            )
        if best.auc < 0.6:
            return f"{self.model} hardly separates people in any way (AUC at most {best.auc:.2f}); check its weights"
        return ""

    def __str__(self) -> str:
        """A table, and the warning where there is one."""
        faces = f"{self.people} {'rendered ' if self.rendered else ''}people"
        lines = [f"{self.model} on {faces}", f"{'':26}{'d prime':>8}{'AUC':>7}   behind the configured one"]
        for way in self.ways:
            behind = "" if way is self.configured else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*way.behind)
            lines.append(f"{way.name:26}{way.separation:8.2f}{way.auc:7.3f}   {behind}".rstrip())
        return "\n".join([*lines, *([f"warning: {self.warning}"] if self.warning else [])])


def check_preprocessing(
    model: FaceRecognizer,
    images: np.ndarray | None = None,
    identity: Sequence[int] | np.ndarray | None = None,
    *,
    people: int = 30,
    seed: int = 42,
    progress: bool = True,
) -> PreprocessingReport:
    """Show a network faces in every usual order of channels and range, and see which way it tells people apart best.

    Args:
        model: the network, with its preprocessing as configured.
        images: aligned faces of people with two images or more, (M, 112, 112, 3) or of the model's own size, uint8;
            rendered ones where None.
        identity: who each image shows. Shape (M,).
        people: how many are rendered.
        seed: of the rendered faces and of the bootstrap.
        progress: show a bar while rendering.

    Returns:
        The report; its `warning` is empty where nothing looks wrong. A small difference is no sign: many networks
        hardly mind swapped colours, and one trained on photographs sees rendered faces as strangers. Give photographs
        where you can.

    Raises:
        InputError: images that are not uint8, images without identities, or fewer than four people with two images.
    """
    rendered = images is None
    if images is None:
        faces = RenderedFaces(people, seed=seed + 5000, **FACES)
        images, identity = np.asarray(faces.images(progress=progress)), faces.identity
    if np.asarray(images).dtype != np.uint8:
        raise InputError(f"images must be uint8 in [0, 255]; got {np.asarray(images).dtype}. Pass what the files hold.")
    if identity is None or len(identity) != len(images):
        raise InputError("images need an identity each; give identity, as long as images")
    label = np.unique(np.asarray(identity), return_inverse=True)[1]
    if (np.bincount(label) > 1).sum() < 4:
        raise InputError("check_preprocessing needs at least four people with two images each; give more images")
    batch = torch.from_numpy(fit_crops(np.array(images), model.input_size)).permute(0, 3, 1, 2).float() / 127.5 - 1
    scores = {name: _scores(model, batch, way) for name, way in usual_ways(model.preprocessing).items()}
    return PreprocessingReport(
        model.name, _compared(scores, usual_ways(model.preprocessing), label, seed), int(label.max()) + 1, rendered
    )


def usual_ways(configured: Preprocessing) -> dict[str, Preprocessing]:
    """The configured preprocessing, the same with the other order of channels, and the usual ranges in both orders."""
    named = {
        f"{order} in {name}": Preprocessing(mean, std, order)
        for order in ("RGB", "BGR")
        for name, (mean, std) in RANGES.items()
    }
    other = replace(configured, channel_order="BGR" if configured.channel_order == "RGB" else "RGB")
    ways = {}
    for own, label in ((configured, "own range"), (other, "own range")):
        known = next((name for name, way in named.items() if _close(way, own)), None)
        ways[known or f"{own.channel_order} in {label}"] = own
    return ways | {name: way for name, way in named.items() if not any(_close(way, own) for own in ways.values())}


def _close(first: Preprocessing, second: Preprocessing) -> bool:
    """Whether two ways hardly differ: (x - 127.5) / 128 is [-1, 1]."""
    same_order = first.channel_order == second.channel_order
    return same_order and np.allclose(first.scale_and_shift, second.scale_and_shift, rtol=0.01, atol=0.01)


def _scores(model: FaceRecognizer, images: Tensor, way: Preprocessing) -> np.ndarray:
    """Cosine of each image with each other. (M, M)."""
    configured = model.preprocessing
    model.preprocessing = way
    try:
        embedding = F.normalize(embed_images(model, images))
    finally:
        model.preprocessing = configured
    return (embedding @ embedding.T).double().cpu().numpy()


def _compared(
    scores: dict[str, np.ndarray], ways: dict[str, Preprocessing], label: np.ndarray, seed: int, draws: int = 500
) -> tuple[WayOfSeeing, ...]:
    """Every way beside the first one, people drawn with replacement for the intervals."""
    people = label.max() + 1
    sums = {name: _sums_by_person(matrix, label) for name, matrix in scores.items()}
    rng = np.random.default_rng(seed)
    counts = np.stack([np.ones(people), *rng.multinomial(people, np.full(people, 1 / people), draws)])  # (1 + draws, K)
    separations = {name: np.array([_separation(part, count) for count in counts]) for name, part in sums.items()}
    first = separations[next(iter(separations))]
    compared = []
    upper = np.triu_indices(len(label), 1)
    genuine = (label[:, None] == label)[upper]
    for name, values in separations.items():
        behind = first - values
        low, high = np.nanquantile(behind[1:], (0.025, 0.975))
        auc = float(roc_auc_score(genuine, scores[name][upper]))
        compared.append(
            WayOfSeeing(name, ways[name], float(values[0]), auc, (float(behind[0]), float(low), float(high)))
        )
    return tuple(compared)


def _sums_by_person(scores: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Number, sum and sum of squares of the scores of each two people, an image with itself left out. (3, K, K)."""
    member = np.eye(label.max() + 1)[label]  # (M, K)
    apart = 1 - np.eye(len(label))
    return np.stack([member.T @ (power * apart) @ member for power in (np.ones_like(scores), scores, scores**2)])


def _separation(sums: np.ndarray, count: np.ndarray) -> float:
    """D' of genuine and impostor scores, where person k comes `count[k]` times. (3, K, K), (K,) -> number."""
    genuine = np.einsum("skk,k->s", sums, count)
    impostor = np.einsum("sij,i,j->s", sums, count, count) - np.einsum("skk,k->s", sums, count**2)
    means, variances = [], []
    for number, total, squares in (genuine, impostor):
        if number == 0:
            return float("nan")
        means.append(total / number)
        variances.append(max(squares / number - means[-1] ** 2, 1e-12))
    return float((means[0] - means[1]) / np.sqrt(np.mean(variances)))
