"""xCos: the similarity of each place, as weighed by a learnt attention.

    H[p] = attention[p] x (cos(A[p], B[p]) - T)

Source: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task" (TOMM 2021), section 3.

Deviations:
    The paper shows attention and cosines side by side; here is their product, which sums to xCos - T. xCos is a score
    of its own, trained to equal the cosine of the network; what is shown is where it comes from. With T = 0 the map is
    hardly ever negative; with the decision threshold, which is the default, it parts the places which speak for one
    person from those which speak against. Attention knows first from second: the map of each image takes it as first.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from facexai.errors import InputError
from facexai.explainers.cells import Upsampling, cells_to_pixels, check_upsampling
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency


@EXPLAINERS.register("xcos")
@dataclass(frozen=True)
class XCos:
    """Attention times cosine, cell by cell, of a model that has an `XCosHead`.

    Args:
        threshold: T; `"margin"`: the model's threshold, or 0 for a model that has none.
        upsampling: from cells to pixels: `"bilinear"`, or `"cell"`: one value a cell. Both keep the sum.
    """

    threshold: float | Literal["margin"] = "margin"
    upsampling: Upsampling = "bilinear"

    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_upsampling(self.upsampling)
        if self.threshold != "margin" and not isinstance(self.threshold, int | float):
            raise InputError(f"threshold must be a number or 'margin'; got {self.threshold!r}")

    @torch.no_grad()
    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """The map of each image sums to its xCos - T."""
        if model.xcos is None:
            raise InputError(
                f"{model.name} has no xcos head; train one with `facexai train xcos`, or choose another method"
            )
        features = model.features(images_for(model, pair))
        probe, gallery = torch.nn.functional.normalize(model.pool(features))
        grids = model.xcos.grid(features)  # (2, c, h, w)
        partners = grids.flip(0)
        threshold = (model.threshold or 0.0) if self.threshold == "margin" else self.threshold
        cells = model.xcos.attention(grids, partners) * (model.xcos.cosines(grids, partners) - threshold)  # (2, h, w)
        maps = cells_to_pixels(cells, model.input_size, self.upsampling)
        return Saliency(maps, float(probe @ gallery), repr(self))
