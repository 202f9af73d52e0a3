"""LIME and Kernel SHAP: a linear model of the score, whose inputs say which cells of the image are kept.

    min over w of  sum of closeness_i (score_i - w0 - w . kept_i)^2 + alpha |w|^2        (LIME)

H is w, each weight on its cell. Both are captum's.

Source: Ribeiro, Singh, Guestrin, "Why Should I Trust You?", KDD 2016; Lundberg, Lee, "A Unified Approach to
Interpreting Model Predictions", NIPS 2017 (Kernel SHAP); captum, `attr.Lime` and `attr.KernelShap`.

Deviations:
    Cells of a regular grid in place of superpixels: no segmentation library, and both images of a pair are cut alike.
    Ridge regression, as in the authors' code for images; captum's default, a lasso with alpha = 0.01, leaves nothing of
    a cosine score. Closeness is captum's: exp(-d^2 / 2) for the cosine distance d between the images. Captum asks for
    the scores of one pair, so embeddings are not kept for further partners.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.masking import check_fill
from facexai.explainers.masks import Fill, background
from facexai.explainers.options import check_choice, check_count
from facexai.explainers.scores import PairScore, pair_scores
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency

Sampling = Literal["lime", "kernel-shap"]


@EXPLAINERS.register("lime")
@dataclass(frozen=True)
class LIME:
    """A linear model of the score over cells that are kept or not.

    Args:
        sampling: `"lime"`: each cell is kept with probability 1/2, ridge regression; `"kernel-shap"`: as many cells as
            Shapley's kernel wants, least squares.
        samples: masked images.
        cells: of the grid, along a side.
        alpha: of the ridge regression.
        fill: what takes the place of a cell: `"grey"`, `"black"` or `"blur"`.
        seed: of the samples; both images meet the same ones.
        chunk: images a forward pass.
    """

    unsigned: ClassVar[bool] = False

    sampling: Sampling = "lime"
    samples: int = 500
    cells: int = 8
    alpha: float = 1.0
    fill: Fill = "grey"
    seed: int = 42
    chunk: int = 32

    def __post_init__(self) -> None:
        check_choice("sampling", self.sampling, Sampling)
        check_fill(self.fill)
        for name in ("samples", "cells", "chunk"):
            check_count(name, getattr(self, name))
        if not self.alpha >= 0:
            raise InputError(f"alpha must be 0 or more; got {self.alpha}")

    @torch.no_grad()
    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, constant in each cell."""
        probe_score, gallery_score, score = pair_scores(model, pair)
        scorers = zip(images_for(model, pair), (probe_score, gallery_score), strict=True)
        maps = [self.explain_image(image, score_of_images) for image, score_of_images in scorers]
        return Saliency(torch.stack(maps), score, repr(self))

    def explain_image(self, image: Tensor, score: PairScore) -> Tensor:
        """The weight of each cell, on its pixels. (3, H, W) -> (H, W)."""
        cells = grid_cells((image.shape[1], image.shape[2]), self.cells, image.device)
        with seeded(self.seed):
            weights = self._linear_model(score).attribute(
                image[None],
                baselines=background(image, self.fill)[None],
                feature_mask=cells[None, None],
                n_samples=self.samples,
                perturbations_per_eval=self.chunk,
                return_input_shape=False,
            )
        return weights.flatten().to(image)[cells]

    def _linear_model(self, score: PairScore) -> Any:
        from captum._utils.models.linear_model import SkLearnRidge
        from captum.attr import KernelShap, Lime

        if self.sampling == "kernel-shap":
            return KernelShap(score)
        return Lime(score, interpretable_model=SkLearnRidge(alpha=self.alpha))


def grid_cells(size: tuple[int, int], cells: int, device: torch.device) -> Tensor:
    """The number of the cell in which each pixel lies, row by row. Shape (H, W)."""
    if cells > min(size):
        raise InputError(f"cells must not be more than the {min(size)} pixels of a side; got {cells}")
    rows, columns = (torch.arange(side, device=device) // math.ceil(side / cells) for side in size)
    return rows[:, None] * (int(columns[-1]) + 1) + columns


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Captum draws from the global generator of the processor: seed it, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
