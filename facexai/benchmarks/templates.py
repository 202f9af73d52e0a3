"""Verification of templates, IJB style: several images of a person are one vector, and false accepts are rare.

Source: Whitelam et al. (IJB-B, 2017), Maze et al. (IJB-C, 2018), 1:1; insightface,
`recognition/arcface_torch/eval_ijbc.py`, after Xie and Zisserman, for how images are put together and rates are read.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from facexai.benchmarks.verification import Embed, Embedder, check_scores, embed_all, equal_error_rate, tar_at_far
from facexai.datasets.ijb import LooseCrops, TemplateSet, read_ijb
from facexai.datasets.rendered import loose_framing, rendered_once, two_looks
from facexai.errors import InputError
from facexai.rendering import Identity, Nuisance, sample_nuisance
from facexai.rendering.scene import landmarks_in_crop

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
CHUNK = 100_000  # pairs


@dataclass(frozen=True)
class TemplateReport:
    """Result of a benchmark of templates.

    Attributes:
        auc, eer: as in `VerificationReport`.
        tar: FAR -> TAR at the point of the ROC whose FAR lies nearest, which is how the field reads it.
        tar_strict: FAR -> largest TAR at which no more than that rate of impostors is accepted.
        scores, genuine: pair by pair. Shape (P,).

    Both are None where the impostor pairs are too few to measure a rate.
    """

    name: str
    rendered: bool
    auc: float
    eer: float
    tar: dict[float, float | None]
    tar_strict: dict[float, float | None]
    pairs: int
    templates: int
    images: int
    seconds: float
    scores: np.ndarray = field(repr=False)
    genuine: np.ndarray = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        rates = {key: {f"{far:g}": rate for far, rate in getattr(self, key).items()} for key in ("tar", "tar_strict")}
        names = "rendered", "auc", "eer", "pairs", "templates", "images", "seconds"
        return {"benchmark": self.name, **{name: getattr(self, name) for name in names}, **rates}


def verify_templates(
    model: Embedder,
    data: TemplateSet,
    *,
    flip: bool = True,
    detector_score: bool = True,
    batch_size: int = 64,
    progress: bool = True,
    embed: Embed = embed_all,
) -> TemplateReport:
    """Embed every image, put templates together, score every pair, measure.

    Args:
        model: the network; runs in eval mode on its own device, its mode is restored.
        data: the benchmark.
        flip: sum the head's output over each image and its mirror image.
        detector_score: weigh each image by the score of the detector.
        batch_size: images embedded at once; memory only.
        progress: show a bar.
        embed: in place of `embed_all`: `embeddings_once` keeps embeddings in the cache.
    """
    start = time.perf_counter()
    embedding = embed(model, data.images, flip=flip, batch_size=batch_size, progress=progress, normalize=False)
    if detector_score:
        embedding = embedding * data.quality[:, None].astype(np.float32)
    templates = fuse_templates(embedding, data.template, data.media)
    scores = np.empty(len(data.probe))
    for first in range(0, len(scores), CHUNK):
        here = slice(first, first + CHUNK)
        scores[here] = np.einsum("pd,pd->p", templates[data.probe[here]], templates[data.gallery[here]])
    check_scores(scores, data.genuine, np.arange(len(scores)))
    return TemplateReport(
        data.name,
        data.rendered,
        float(roc_auc_score(data.genuine, scores)),
        equal_error_rate(scores, data.genuine),
        tar_at_nearest_far(scores, data.genuine),
        tar_at_far(scores, data.genuine, FARS),
        len(scores),
        len(templates),
        len(data.images),
        time.perf_counter() - start,
        scores,
        data.genuine,
    )


def fuse_templates(embedding: np.ndarray, template: np.ndarray, media: np.ndarray) -> np.ndarray:
    """One unit vector a template: the mean over the images of each medium, summed over its media.

    Args:
        embedding: with its norm, and weighed where it should be. Shape (M, D).
        template: number of the template of each image, 0, 1, ... Shape (M,).
        media: number of the photo or video of each image. Shape (M,).

    Returns:
        Shape (T, D), float64.
    """
    groups, label, counts = np.unique(np.stack([template, media]), axis=1, return_inverse=True, return_counts=True)
    order = np.argsort(label.reshape(-1), kind="stable")
    sums = np.add.reduceat(embedding[order].astype(np.float64), np.cumsum(counts) - counts, axis=0)
    means = sums / counts[:, None]  # (media, D)
    begins = np.flatnonzero(np.diff(groups[0], prepend=-1))
    fused = np.add.reduceat(means, begins, axis=0)
    norm = np.linalg.norm(fused, axis=1, keepdims=True)
    return fused / np.where(norm == 0, 1, norm)


def tar_at_nearest_far(scores: np.ndarray, genuine: np.ndarray) -> dict[float, float | None]:
    """TAR where the FAR lies nearest to each of `FARS`; of points with one FAR the highest, as insightface reads it."""
    impostors = int((~genuine).sum())
    false, true, _ = roc_curve(genuine, scores)
    false, true = false[::-1], true[::-1]  # argmin takes the first of equals
    return {far: float(true[np.argmin(np.abs(false - far))]) if far * impostors >= 1 else None for far in FARS}


@dataclass(frozen=True)
class IJB:
    """IJB-B or IJB-C, 1:1, where the user has it.

    Args:
        name: `"ijbb"` or `"ijbc"`.
        root: the folder that holds `meta` and `loose_crop`.
    """

    name: str
    root: Path | None = None

    def load(self, *, progress: bool = True) -> TemplateSet:
        """Read the lists; the images are read while they are embedded."""
        if self.root is None:
            raise InputError(f"facexai brings no photos: give the folder of {self.name} with --root DIR")
        return read_ijb(self.root, self.name)


@dataclass(frozen=True)
class RenderedTemplates:
    """Rendered twin of IJB: templates of photos and of videos, in loose crops with landmarks, all against all.

    Args:
        name: of the protocol.
        identities: people.
        photos: photos of each template.
        frames: images of the one video of each template.
        seed: of the people. Seeds below 1000 are left to training sets.

    Each person has two templates to be asked and two to be compared with, these in another hair. In place of a
    detector's score stands the cosine of half the yaw.
    """

    name: str = "synthetic-ijb"
    identities: int = 100
    photos: int = 2
    frames: int = 3
    seed: int = 1008

    def load(self, *, progress: bool = True) -> TemplateSet:
        """Render on first use, then from the cache."""
        jobs = list(self._jobs())
        recipe = {"kind": "templates", "photos": self.photos, "frames": self.frames, "seed": self.seed}
        pixels = rendered_once({**recipe, "identities": self.identities}, lambda: jobs, progress=progress)
        landmarks = np.array([landmarks_in_crop(*job) for job in jobs])
        quality = np.array([np.cos(np.radians(nuisance.yaw / 2)) for _, nuisance, _ in jobs])
        size, count = self.photos + self.frames, 4 * self.identities
        medium = np.minimum(np.arange(size), self.photos)  # the frames are one
        media = (np.arange(count)[:, None] * (self.photos + 1) + medium).reshape(-1)
        probe, gallery = (x.reshape(-1) for x in np.meshgrid(*self._sides(), indexing="ij"))
        return TemplateSet(
            self.name,
            LooseCrops(pixels, landmarks),
            quality,
            np.repeat(np.arange(count), size),
            media,
            probe,
            gallery,
            probe // 4 == gallery // 4,
            rendered=True,
        )

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(4 * self.identities)
        return numbers[numbers % 4 < 2], numbers[numbers % 4 >= 2]

    def _jobs(self) -> Iterator[tuple[Identity, Nuisance, np.ndarray]]:
        """Template by template: photos, then the frames of a video, which share all but the pose."""
        for person in range(self.identities):
            rng = np.random.default_rng([self.seed, person])
            looks = two_looks(rng)
            for template in range(4):
                look = looks[template // 2]
                for _ in range(self.photos):
                    nuisance = sample_nuisance(rng)
                    yield look, nuisance, loose_framing(nuisance, rng)
                scene = sample_nuisance(rng)
                for _ in range(self.frames):
                    frame = replace(scene, yaw=float(np.clip(scene.yaw + 10 * rng.standard_normal(), -90, 90)))
                    yield look, frame, loose_framing(frame, rng)
