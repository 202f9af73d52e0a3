"""Genuine pairs with a square of a stranger's face on the probe, at the same place as on the stranger.

Made of rendered faces, or of anybody's: the recipe needs no more than aligned images. The truth is the square.

Source: Huber, Luu, Terhörst, Damer, "Efficient Explainable Face Verification based on Similarity Score Argument
Backpropagation" (xSSAB, 2024), Patch-LFW; `marcohuber/xSSAB`, `patches/patch.py`.
Deviations: one square a pair, theirs are 27, which leave half of the image foreign; inside the face, theirs lie
anywhere in the crop; only genuine pairs, theirs are of both kinds. `count=27, box=None` is their recipe for those.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.judges import CHUNK, load_images
from facexai.benchmarks.strangers import stranger_rows
from facexai.benchmarks.true_pairs import FOLDS, RenderedPairs, TruePairs, as_images, pair_scores
from facexai.benchmarks.verification import VerificationSet
from facexai.errors import InputError
from facexai.models import FaceRecognizer
from facexai.pixels import CROP_SIZE
from facexai.rendering import sample_identity, sample_nuisance
from facexai.rendering.parallel import Job

FACE = (28, 20, 108, 92)  # top, left, bottom, right of the face in an aligned crop of 112 pixels


@dataclass(frozen=True)
class PatchPairs:
    """Genuine pairs with patches of a stranger on the probe.

    Args:
        data: where the pairs come from; rendered ones where None. A stranger is the probe of a pair of another fold:
            in the field's protocols no person is in two folds.
        size: side of a patch in pixels.
        count: patches on each probe, all of one stranger.
        partner: the gallery image: `"mate"`, another photo, or `"self"`: the probe itself without the patches, so that
            nothing else lowers the score.
        box: where they may lie: top, left, bottom, right in a crop of 112 pixels; None for anywhere.
        rendering: how pairs are rendered where `data` is None.
        seed: of the places and of the strangers in `data`.
    """

    data: VerificationSet | None = field(default=None, repr=False)
    size: int = 16
    count: int = 1
    partner: Literal["mate", "self"] = "mate"
    box: tuple[int, int, int, int] | None = FACE
    rendering: "TwoPhotos" = field(default_factory=lambda: TwoPhotos())
    seed: int = 42

    def chunks(self, model: FaceRecognizer, limit: int | None = None, *, progress: bool = True) -> Iterator[TruePairs]:
        """Pairs chunk by chunk; see `TruthSource`."""
        threshold = np.nan if model.threshold is None else model.threshold
        for faces in self._rendered(model, limit, progress) if self.data is None else self._listed(model, limit):
            places = [self.places(number, model.input_size) for number in faces.number.tolist()]
            patched, truth = paste(faces.probe, faces.stranger, places, self.size)
            gallery = faces.gallery if self.partner == "mate" else faces.probe
            images, before = (torch.stack([probe, gallery], 1) for probe in (patched, faces.probe))
            score = pair_scores(model, images)
            yield TruePairs(
                probe=patched,
                gallery=gallery,
                genuine=np.ones(len(places), bool),
                fold=faces.fold,
                number=faces.number,
                score=score,
                threshold=np.full(len(places), threshold),
                truth=torch.stack([truth, torch.full_like(truth, torch.nan)], 1),
                rendered=faces.rendered,
                total=faces.total,
                before=before,
                drop=pair_scores(model, before) - score,
            )

    def places(self, number: int, size: tuple[int, int] = (CROP_SIZE, CROP_SIZE)) -> list[tuple[int, int]]:
        """Top left corners of the patches of a pair, in an image of this size, (H, W)."""
        height, width = size
        top, left, bottom, right = (value * height // CROP_SIZE for value in self.box or (0, 0, CROP_SIZE, CROP_SIZE))
        left, right = (min(max(column + (width - height) // 2, 0), width) for column in (left, right))
        if self.box is None:
            left, right = 0, width
        if min(bottom - top, right - left) < self.size or self.size < 1:
            raise InputError(f"a patch must fit into its box of the face; got size {self.size} in {self.box}")
        rng = np.random.default_rng([self.seed, number])
        rows = rng.integers(top, bottom - self.size + 1, self.count)
        columns = rng.integers(left, right - self.size + 1, self.count)
        return list(zip(rows.tolist(), columns.tolist(), strict=True))

    def _rendered(self, model: FaceRecognizer, limit: int | None, progress: bool) -> Iterator["Faces"]:
        source = self.rendering
        for numbers, pixels in source.render(source.jobs, limit, size=model.input_size, progress=progress):
            probe, gallery, stranger = as_images(pixels).unbind(1)
            total = source.pairs if limit is None else limit
            yield Faces(probe, gallery, stranger, numbers % FOLDS, numbers, rendered=True, total=total)

    def _listed(self, model: FaceRecognizer, limit: int | None) -> Iterator["Faces"]:
        assert self.data is not None
        data, chosen = self.data, genuine_rows(self.data, limit)
        for start in range(0, len(chosen), CHUNK):
            rows = chosen[start : start + CHUNK]
            sources = (data.probe[rows], data.gallery[rows], data.probe[stranger_rows(data, rows, self.seed)])
            probe, gallery, stranger = (load_images(data, images, model) for images in sources)
            yield Faces(probe, gallery, stranger, data.fold[rows], rows, data.rendered, len(chosen))


@dataclass(frozen=True)
class Faces:
    """Genuine pairs with a stranger for each. Images (P, 3, H, W); fold and number (P,)."""

    probe: Tensor
    gallery: Tensor
    stranger: Tensor
    fold: np.ndarray
    number: np.ndarray
    rendered: bool
    total: int


@dataclass(frozen=True)
class TwoPhotos(RenderedPairs):
    """Two photos of a person and one of a stranger."""

    seed: int = 1102

    def jobs(self, number: int) -> list[Job]:
        """Probe, gallery, stranger."""
        rng = np.random.default_rng([self.seed, number])
        person, stranger = sample_identity(rng), sample_identity(rng)
        return [
            (face, sample_nuisance(rng, self.strength, float(rng.uniform(-self.yaw, self.yaw)), occlusion=0))
            for face in (person, person, stranger)
        ]


def paste(faces: Tensor, strangers: Tensor, places: list[list[tuple[int, int]]], size: int) -> tuple[Tensor, Tensor]:
    """Copy squares of the strangers to the same places of the faces.

    Args:
        faces: shape (P, 3, H, W).
        strangers: same shape.
        places: top left corners of each face's squares.
        size: side of a square in pixels.

    Returns:
        The patched faces, and 1 where a pixel is the stranger's, else 0. Shapes (P, 3, H, W) and (P, H, W).
    """
    foreign = torch.zeros(len(faces), *faces.shape[-2:], dtype=torch.bool)
    for mask, corners in zip(foreign, places, strict=True):
        for row, column in corners:
            mask[row : row + size, column : column + size] = True
    return torch.where(foreign[:, None], strangers, faces), foreign.float()


def genuine_rows(data: VerificationSet, limit: int | None) -> np.ndarray:
    """The genuine pairs of a set, or about `limit` of them, spread over the folds.

    Raises:
        InputError: there are none.
    """
    chosen = np.arange(len(data.genuine)) if limit is None else data.choice(2 * limit)  # half of these are impostors
    genuine = chosen[data.genuine[chosen]]
    if len(genuine) == 0:
        raise InputError(f"{data.name} has no genuine pairs; patches are put on the probes of those")
    return genuine
