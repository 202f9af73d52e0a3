"""RISE: the mean of random masks, each weighted by the score of the image seen through it.

    H = sum of score_i x mask_i / (N keep)

D-RISE weights each mask by overlap x objectness x cosine of class scores. On a pair of aligned faces there is neither a
box nor an object score, only the cosine of two vectors is left: D-RISE on a verification pair is RISE.

Source: Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018;
Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps" (D-RISE), CVPR 2021.

Deviations:
    The mean score is taken away from each score (`centred`): H > 0 then says that keeping the pixel raises the score,
    H < 0 that it lowers it, and the constant which every pixel shares is gone. `centred=False` is the formula as
    printed, whose map is positive almost everywhere. The authors' notebooks use 2000 to 6000 masks; here are 500, and
    `standard_errors` says what that costs.
"""

from dataclasses import dataclass

from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS
from facexai.explainers.masking import MaskedEmbeddings
from facexai.explainers.masks import Fill, GridMasks
from facexai.explainers.options import check_count
from facexai.explainers.random_masking import RandomMasking, covariance, covariance_error


@EXPLAINERS.register("rise")
@dataclass(frozen=True)
class RISE(RandomMasking):
    """RISE on the cosine score of a pair; D-RISE reduces to it.

    Args:
        masks: N.
        cells: of the coarse grid, along a side.
        keep: probability that a cell is kept.
        centred: take the mean score away, so that the map has a sign.
        fill: what takes the place of masked pixels: `"grey"` (0, the product of image and mask), `"black"`, `"blur"`.
        seed: see `RandomMasking`, and so are the others.
        tolerance: see `RandomMasking`.
        minimum: see `RandomMasking`.
        chunk: see `RandomMasking`.
    """

    masks: int = 500
    cells: int = 8
    keep: float = 0.5
    centred: bool = True
    fill: Fill = "grey"
    seed: int = 42
    tolerance: float = 0.0
    minimum: int = 100
    chunk: int = 32

    def __post_init__(self) -> None:
        self.check()
        check_count("masks", self.masks, least=2)
        check_count("cells", self.cells)
        if not 0 < self.keep < 1:
            raise InputError(f"keep must be a probability between 0 and 1; got {self.keep}")

    def sample(self, size: tuple[int, int]) -> GridMasks:
        """Masks that keep each cell with probability `keep`."""
        return GridMasks.sample(self.masks, size, cells=self.cells, keep=self.keep, seed=self.seed)

    def maps(self, prepared: MaskedEmbeddings, partners: Tensor) -> Tensor:
        """H, for each partner. (P, D) -> (P, H, W)."""
        scores = prepared.scores(partners)
        if self.centred:
            return covariance(prepared, scores) / self.keep
        return prepared.weighted_sum(scores) / (len(prepared) * self.keep)

    def standard_errors(self, prepared: MaskedEmbeddings, partners: Tensor) -> Tensor:
        """Of each pixel of H. (P, D) -> (P, H, W)."""
        scores = prepared.scores(partners)
        if self.centred:
            return covariance_error(prepared, scores) / self.keep
        count = len(prepared)
        mean_square = prepared.weighted_sum(scores.square(), power=2) / count
        variance = mean_square - (prepared.weighted_sum(scores) / count).square()
        return (variance.clamp_min(0) / count).sqrt() / self.keep
