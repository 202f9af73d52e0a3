"""Systematic occlusion (xFace): by how much the score falls when a patch is covered.

    H = mean over patch sizes of blur( mean over places of (s(A, B) - s(A covered, B)) / side^2, spread over the patch )

Source: Knoche, Teepe, Hörmann, Rigoll, "Explainable Model-Agnostic Similarity and Confidence in Face Verification",
WACV Workshops 2023; `Martlgap/x-face-verification`, `src/generate_maps.py`.

Deviations:
    The raw scale is kept; the authors divide by the largest magnitude. Their drawing makes a patch one pixel larger
    than its nominal side; ours has that side. As with theirs, the last rows and columns may never be covered. `"clean"`
    is the default here, method 1 in their code.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.masking import (
    MaskedEmbeddings,
    MaskingExplainer,
    check_fill,
    embed_masked,
)
from facexai.explainers.masks import Fill, PatchMasks
from facexai.explainers.options import check_choice, check_count
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency
from facexai.smoothing import gaussian_blur

Compare = Literal["clean", "all", "same-place"]
BLUR_SIGMA, BLUR_RADIUS = 5.0, 2  # pixels: a kernel of 5 x 5, as the authors' stride


@dataclass(frozen=True)
class OccludedEmbeddings:
    """One image, clean (D,) and covered by patches of each side, {side: embeddings}."""

    clean: Tensor
    covered: dict[int, MaskedEmbeddings]


@EXPLAINERS.register("occlusion")
@dataclass(frozen=True)
class Occlusion(MaskingExplainer):
    """The fall of the score under patches of several sizes.

    Args:
        sides: of the patches, in pixels.
        stride: between patches, in pixels.
        compare: the covered image with the `"clean"` partner (the authors' method 2), with the partner covered at
            `"all"` places, mean score (method 1), or covered at the `"same-place"` (method 3).
        fill: of the patches: `"black"`, `"grey"` or `"blur"`.
        chunk: images a forward pass.
    """

    sides: tuple[int, ...] = (7, 14, 28)
    stride: int = 5
    compare: Compare = "clean"
    fill: Fill = "black"
    chunk: int = 32

    def __post_init__(self) -> None:
        for side in self.sides:
            check_count("side", side)
        check_count("stride", self.stride)
        check_count("chunk", self.chunk)
        check_choice("compare", self.compare, Compare)
        check_fill(self.fill)

    def prepare(self, image: Tensor, model: FaceRecognizer, partners: Tensor | None = None) -> OccludedEmbeddings:
        """The image covered at every place; partners play no part."""
        size = (image.shape[1], image.shape[2])
        if not 0 < max(self.sides, default=0) < min(size):
            raise InputError(f"sides must be patches smaller than the image of {size[0]} x {size[1]}; got {self.sides}")
        covered = {}
        for side in self.sides:
            masks = PatchMasks.systematic(size, side=side, stride=self.stride)
            covered[side] = embed_masked(image, model, masks, fill=self.fill, chunk=self.chunk)
        return OccludedEmbeddings(model.embed(image[None])[0], covered)

    def maps(self, prepared: OccludedEmbeddings, partners: Tensor) -> Tensor:
        """H against each clean partner. (P, D) -> (P, H, W)."""
        if self.compare != "clean":
            raise InputError(f"compare='{self.compare}' covers the partner too, pair by pair; take compare='clean'")
        clean_scores = partners @ prepared.clean
        scores = {side: covered.scores(partners) for side, covered in prepared.covered.items()}
        return self._spread(prepared, scores, clean_scores)

    @torch.no_grad()
    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images."""
        probe, gallery = (self.prepare(image, model) for image in images_for(model, pair))
        score = probe.clean @ gallery.clean
        maps = [
            self._spread(own, {side: self._scores(own, partner, side)[None] for side in self.sides}, score[None])[0]
            for own, partner in ((probe, gallery), (gallery, probe))
        ]
        return Saliency(torch.stack(maps), float(score), repr(self))

    def _scores(self, own: OccludedEmbeddings, partner: OccludedEmbeddings, side: int) -> Tensor:
        """The score for each place of the patch on one image. Shape (N,)."""
        covered, partner_covered = own.covered[side].embeddings, partner.covered[side].embeddings
        if self.compare == "same-place":
            return (covered * partner_covered).sum(1)
        # the mean of the scores with all covered partners is the score with their mean
        return covered @ (partner_covered.mean(0) if self.compare == "all" else partner.clean)

    def _spread(self, own: OccludedEmbeddings, scores: dict[int, Tensor], clean_scores: Tensor) -> Tensor:
        """Each fall of the score over its patch. {side: (P, N)}, (P,) -> (P, H, W)."""
        maps = []
        for side, covered in own.covered.items():
            falls = (clean_scores[:, None] - scores[side]) / side**2
            spread = falls.sum(1)[:, None, None] - covered.weighted_sum(falls)  # a patch is 1 - mask
            maps.append(gaussian_blur(spread / len(covered), BLUR_SIGMA, BLUR_RADIUS))
        return torch.stack(maps).mean(0)
