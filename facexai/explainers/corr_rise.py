"""CorrRISE: the correlation of mask value and score, pixel by pixel.

    H = sum of (score_i - mean score) (mask_i - mean mask) / (N x deviation of scores x deviation of mask)

Where H > 0 the faces look alike to the network (S+), where H < 0 different (S-).

Source: Lu, Xu, Ebrahimi, "Towards Visual Saliency Explanations of Face Verification", WACV 2024 (arXiv 2305.08546).

Deviations:
    No code of the authors is public, and three re-implementations disagree in every parameter. Each is a preset, named
    after its source: `"fame"` (AIML-IfI/fame), `"uzh"` (CelebA scripts of a thesis at the University of Zurich) and
    `"gweebp"` (ywgit1/gweEBP). Sides of patches and numbers of cells are theirs, for whatever image comes; the last two
    worked on 224 x 224 pixels. A comment in `uzh` ascribes 10 patches of 30 pixels and 500 masks to the paper. All
    correlate by one matrix product, also where the source loops over pixels. The source of `gweebp` goes on to subtract
    the map of an impostor pair. A pixel which every mask treats alike has correlation 0.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from facexai.explainers.interface import EXPLAINERS
from facexai.explainers.masking import MaskedEmbeddings
from facexai.explainers.masks import Fill, GridMasks, Masks, PatchMasks
from facexai.explainers.options import check_choice, check_count
from facexai.explainers.random_masking import RandomMasking, covariance, deviations

Preset = Literal["fame", "uzh", "gweebp"]


@dataclass(frozen=True)
class Patches:
    """Random patches are taken away; `uniform`: each of their pixels keeps a random part."""

    count: int
    side: int
    uniform: bool = False

    def sample(self, masks: int, size: tuple[int, int], seed: int) -> Masks:
        """`masks` masks for images of this size."""
        return PatchMasks.sample(masks, size, patches=self.count, side=self.side, seed=seed, uniform=self.uniform)


@dataclass(frozen=True)
class Grid:
    """The masks of RISE."""

    cells: int
    keep: float

    def sample(self, masks: int, size: tuple[int, int], seed: int) -> Masks:
        """`masks` masks for images of this size."""
        return GridMasks.sample(masks, size, cells=self.cells, keep=self.keep, seed=seed)


@dataclass(frozen=True)
class Recipe:
    """What a source does: how many masks, of which pattern, filled with what; are scores ranked first (Spearman)?"""

    masks: int
    pattern: Patches | Grid
    fill: Fill
    rank: bool


PRESETS: dict[Preset, Recipe] = {
    "fame": Recipe(500, Patches(count=3, side=30), "black", rank=True),
    "uzh": Recipe(1000, Patches(count=10, side=30, uniform=True), "black", rank=False),
    "gweebp": Recipe(5000, Grid(cells=12, keep=0.1), "grey", rank=False),
}


@EXPLAINERS.register("corr-rise")
@dataclass(frozen=True)
class CorrRISE(RandomMasking):
    """Correlation of mask value and cosine score.

    Args:
        preset: `"fame"`, `"uzh"` or `"gweebp"`, after the source of the parameters; or a `Recipe` of your own.
        masks: N; None: the preset's.
        seed: see `RandomMasking`, and so are the others.
        tolerance: see `RandomMasking`.
        minimum: see `RandomMasking`.
        chunk: see `RandomMasking`.
    """

    preset: Preset | Recipe = "fame"
    masks: int | None = None
    seed: int = 42
    tolerance: float = 0.0
    minimum: int = 100
    chunk: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.preset, Recipe):
            check_choice("preset", self.preset, Preset)
        if self.masks is not None:
            check_count("masks", self.masks, least=2)
        self.check()

    @property
    def recipe(self) -> Recipe:
        """The parameters of the preset."""
        return self.preset if isinstance(self.preset, Recipe) else PRESETS[self.preset]

    @property
    def fill(self) -> Fill:  # type: ignore[override] - the preset knows it, so it is no option
        """What takes the place of masked pixels."""
        return self.recipe.fill

    def sample(self, size: tuple[int, int]) -> Masks:
        """Masks of the preset's pattern."""
        return self.recipe.pattern.sample(self.masks or self.recipe.masks, size, self.seed)

    def maps(self, prepared: MaskedEmbeddings, partners: Tensor) -> Tensor:
        """H, for each partner. (P, D) -> (P, H, W)."""
        return correlation(prepared, self.ranked(prepared.scores(partners)))

    def standard_errors(self, prepared: MaskedEmbeddings, partners: Tensor) -> Tensor:
        """Of each pixel of H: (1 - H^2) / sqrt(N - 1), the large-sample error of a correlation. (P, D) -> (P, H, W)."""
        return (1 - self.maps(prepared, partners).square()) / (len(prepared) - 1) ** 0.5

    def ranked(self, scores: Tensor) -> Tensor:
        """Scores, or their places in the order from low to high. (P, N) -> (P, N)."""
        return scores.argsort(1).argsort(1).to(scores) if self.recipe.rank else scores


def correlation(masked: MaskedEmbeddings, scores: Tensor) -> Tensor:
    """Pearson's correlation of mask value and score at each pixel. (P, N) -> (P, H, W)."""
    mask_deviation = (masked.mean_mask(power=2) - masked.mean_mask().square()).clamp_min(0).sqrt()  # (H, W)
    score_deviation = deviations(scores).square().mean(1).sqrt()[:, None, None]  # (P, 1, 1)
    smallest = torch.finfo(scores.dtype).eps
    varies = mask_deviation > smallest**0.5
    return varies * covariance(masked, scores) / (mask_deviation * score_deviation).clamp_min(smallest**2)
