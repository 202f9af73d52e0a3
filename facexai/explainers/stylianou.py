"""Visualizing deep similarity networks: each cell's own part of the cosine.

    sim_A[p] = sum over q of X_p . Y_q / (P^2 |x| |y|) = X_p . y / (P |x| |y|)

for feature maps X, Y of P cells and their means x, y. The second form needs no loop over pairs of cells. Averaging is
one of the affine heads x = W X + t, for which the part of cell p is v_p . X_p / |x| with v = W^T y / |y|.

Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks" (WACV 2019), section 3; for max pooling the
part of a channel goes to the cell of its maximum.

Deviations:
    The paper has heads without a constant; for an affine head the parts sum to the score less t . y / (|x| |y|), which
    no cell owns and which is left out. Batch normalisation after max pooling belongs to the channel. A head that is
    neither affine nor max pooling is taken to be linear at the features of the pair. The sign is kept, where the paper
    colours max - h.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.explainers.cells import Upsampling, cells_to_pixels, check_upsampling, place_in_cells
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.scores import frozen
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair, Saliency


@EXPLAINERS.register("stylianou")
@dataclass(frozen=True)
class Stylianou:
    """The cosine, cell by cell.

    Args:
        upsampling: from cells to pixels: `"bilinear"`, or `"cell"`: one value a cell. Both keep the sum.
    """

    upsampling: Upsampling = "bilinear"

    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_upsampling(self.upsampling)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """sim_A and sim_B; the pixels of each sum to the score, up to the constant of an affine head."""
        with torch.no_grad():
            features = model.features(images_for(model, pair))  # (2, C, h, w)
            embeddings = F.normalize(model.pool(features))
        if isinstance(model.head, MaxPoolHead):
            cells = place_in_cells(embeddings * embeddings.flip(0), features.flatten(2).argmax(2), features)
        else:
            cells = cell_parts(model, features)
        maps = cells_to_pixels(cells, model.input_size, self.upsampling)
        return Saliency(maps, float(embeddings[0] @ embeddings[1]), repr(self))


def cell_parts(model: FaceRecognizer, features: Tensor) -> Tensor:
    """What each cell adds to the score of a pair through an affine head. (2, C, h, w) -> (2, h, w)."""
    with frozen(model):
        features = features.detach().requires_grad_()
        pooled = model.pool(features)  # W X + t, (2, D)
        norms = pooled.detach().norm(dim=1, keepdim=True)
        partners = pooled.detach().flip(0) / norms.flip(0)  # y / |y|
        scores = (pooled * partners / norms).sum(1)
        (columns,) = torch.autograd.grad(scores.sum(), features)  # W^T y / (|x| |y|)
    return (columns * features.detach()).sum(1)
