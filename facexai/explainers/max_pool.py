"""The score taken apart by channels, each at the place of its maximum: DDFV without a decoder.

    H[p] = sum of w_i - T over the channels i whose maximum lies in cell p

With the product weights w_i = F_Ai F_Bi / (|F_A| |F_B|) of a MaxPoolHead, T = 0, `missing="own"` and no balance this
sums to the cosine, exactly. Algorithm 1 of DDFV has the same weights at the same places and smears each over a learnt
window of 46 pixels; with the options at their defaults, which are those of `ddfv`, this is that method's ablation: what
is lost without the decoder.

Source: ours, as an ablation of Xu, Lu, Ebrahimi, "Discriminative Deep Feature Visualization for Explainable Face
Recognition", Algorithm 1. With the product weights it is what Stylianou, Souvenir and Pless (2019) show of max pooling.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch.nn import functional as F

from facexai.explainers.cells import Upsampling, cells_to_pixels, check_upsampling, place_in_cells
from facexai.explainers.ddfv import (
    DDFV,
    Missing,
    Weight,
    channel_places,
    channel_weights,
    resolve_threshold,
    weights_in_map,
)
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency


@EXPLAINERS.register("max-pool")
@dataclass(frozen=True)
class MaxPool:
    """Channel weights at the cells of the channel maxima.

    Args:
        weight: as for `DDFV`; `"product"` sums to the score on a MaxPoolHead. On any other head the maximum of the
            channel is taken away, which is then where its weight belongs.
        missing: as for `DDFV`.
        balance: as for `DDFV`.
        threshold: as for `DDFV`.
        upsampling: from cells to pixels: `"bilinear"`, or `"cell"`: one value a cell. Both keep the sum.
    """

    weight: Weight = DDFV.weight
    missing: Missing = DDFV.missing
    balance: bool = DDFV.balance
    threshold: float | Literal["margin"] = DDFV.threshold
    upsampling: Upsampling = "bilinear"

    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.as_ddfv()
        check_upsampling(self.upsampling)

    def as_ddfv(self) -> DDFV:
        """The method whose weights these are."""
        return DDFV(weight=self.weight, missing=self.missing, balance=self.balance, threshold=self.threshold)

    @torch.no_grad()
    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """H for both images; its pixels sum to the sum of the weights."""
        features = model.features(images_for(model, pair))  # (2, C, h, w)
        probe, gallery = F.normalize(model.pool(features))
        weights = channel_weights(model, features, self.as_ddfv())  # (2, C)
        cells, counted = channel_places(model, features, self.missing)
        threshold = resolve_threshold(self.threshold, model, channels=features.shape[1])
        shares = weights_in_map(weights, counted, threshold, self.balance)
        grid = place_in_cells(shares, cells, features)  # (2, h, w)
        maps = cells_to_pixels(grid, model.input_size, self.upsampling)
        return Saliency(maps, float(probe @ gallery), repr(self), balanced=self.balance)
