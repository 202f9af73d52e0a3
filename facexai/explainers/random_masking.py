"""Random masks: a map is a statistic of mask value and score over N draws, so it has a standard error.

    covariance = mean of (score - mean score) x (mask - mean mask), pixel by pixel

RISE divides it by the probability to keep a pixel, CorrRISE by both standard deviations.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.masking import (
    MaskedEmbeddings,
    MaskingExplainer,
    check_fill,
    embed_masked,
    embed_until,
)
from facexai.explainers.masks import Fill, Masks
from facexai.explainers.options import check_count
from facexai.models import FaceRecognizer


def covariance(masked: MaskedEmbeddings, scores: Tensor) -> Tensor:
    """Covariance of mask value and score at each pixel, by one matrix product. (P, N) -> (P, H, W)."""
    return masked.weighted_sum(deviations(scores)) / len(masked)


def covariance_error(masked: MaskedEmbeddings, scores: Tensor) -> Tensor:
    """Standard error of `covariance`: the spread of its N summands / sqrt(N). (P, N) -> (P, H, W)."""
    squares = deviations(scores).square()
    mean_mask = masked.mean_mask()
    # sum of (score - mean)^2 (mask - mean)^2, with the second square written out
    summands = masked.weighted_sum(squares, power=2) - 2 * mean_mask * masked.weighted_sum(squares)
    summands = summands + mean_mask.square() * squares.sum(1)[:, None, None]
    variance = summands / len(masked) - covariance(masked, scores).square()
    return (variance.clamp_min(0) / len(masked)).sqrt()


def deviations(scores: Tensor) -> Tensor:
    """Score - mean score, for each partner. (P, N) -> (P, N)."""
    return scores - scores.mean(1, keepdim=True)


def root_mean_square(maps: Tensor) -> Tensor:
    """Over the pixels. (P, H, W) -> (P,)."""
    return maps.square().mean((1, 2)).sqrt()


class RandomMasking(MaskingExplainer):
    """Embed an image under random masks, all of them or until the map has settled.

    Args:
        fill: what takes the place of masked pixels: `"grey"` (0), `"black"` (-1) or `"blur"` (the image, blurred).
        seed: of the masks. Both images of a pair, and all pairs, meet the same ones.
        tolerance: stop once the standard error of the map is this part of its contrast; 0: use all masks.
        minimum: masks before the first look at the standard error.
        chunk: images a forward pass.
    """

    fill: Fill
    seed: int
    tolerance: float
    minimum: int
    chunk: int

    @abstractmethod
    def sample(self, size: tuple[int, int]) -> Masks:
        """The masks for images of this size, always the same ones."""

    @abstractmethod
    def standard_errors(self, prepared: MaskedEmbeddings, partners: Tensor) -> Tensor:
        """Of each pixel of `maps`: by how much it would differ with other masks. (P, D) -> (P, H, W)."""

    def noise(self, prepared: MaskedEmbeddings, partners: Tensor) -> Tensor:
        """Standard error / contrast of each map: root mean square over pixels / standard deviation. (P, D) -> (P,)."""
        maps = self.maps(prepared, partners)
        contrast = root_mean_square(maps - maps.mean((1, 2), keepdim=True))
        errors = root_mean_square(self.standard_errors(prepared, partners))
        return errors / contrast.clamp_min(torch.finfo(maps.dtype).tiny)

    def prepare(self, image: Tensor, model: FaceRecognizer, partners: Tensor) -> MaskedEmbeddings:
        """The image under all masks, or under the first ones if the maps of all partners settle earlier."""
        masks = self.sample((image.shape[1], image.shape[2]))
        if self.tolerance == 0:
            return embed_masked(image, model, masks, fill=self.fill, chunk=self.chunk)
        return embed_until(
            image,
            model,
            masks,
            lambda masked: bool((self.noise(masked, partners) <= self.tolerance).all()),
            minimum=self.minimum,
            fill=self.fill,
            chunk=self.chunk,
        )

    def check(self) -> None:
        """Raise `InputError` for a value that an option does not take."""
        check_fill(self.fill)
        check_count("minimum", self.minimum, least=2)
        check_count("chunk", self.chunk)
        if not self.tolerance >= 0:
            raise InputError(f"tolerance must be 0 or a part of the map's contrast, such as 0.2; got {self.tolerance}")
