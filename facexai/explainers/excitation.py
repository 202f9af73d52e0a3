"""Contrastive excitation backprop: which pixels the network's excitation comes from.

The score is a neuron with the head's inputs below it. Its winning probability goes down to an early layer once for the
score, once for its dual, the negated score (for a triplet: once for the mate, once for the nonmate), each of sum 1:

    similarity = ReLU(P - P')        dissimilarity = ReLU(P' - P)        summed over the channels

Source: Zhang et al., "Top-Down Neural Attention by Excitation Backprop" (IJCV 2018), section 3.3, for contrast with the
negated unit; Williford, May, Byrne, "Explainable Face Recognition" (ECCV 2020), section 3, for contrast with a nonmate
and for truncation: contrast counts only where P is large, beyond the smallest values which together hold a given share.

Deviations:
    See `excitation_rules` for what cannot be exact. An affine head and the partner's embedding are linear neurons in a
    row and so one neuron, with the weights W^T b: an embedding has no activation behind it, and its negative dimensions
    say as much as the positive ones. Of a MaxPoolHead only channels which both faces have (F_i > 0, b_i > 0) excite the
    score, and those which the partner lacks (b_i < 0) its dual. A head of another form is taken to be linear at the
    features of the image.
    The authors show similarity alone, each pixel of either sign for itself; here one signed map is their difference.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers.cells import cells_to_pixels
from facexai.explainers.excitation_rules import Excitation, check_known
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.scores import frozen, pair_embeddings
from facexai.models import FaceRecognizer, MaxPoolHead
from facexai.pairs import FacePair, Saliency
from facexai.smoothing import gaussian_blur


@EXPLAINERS.register("excitation-backprop")
@dataclass(frozen=True)
class ExcitationBackprop:
    """Contrast of the score with the negated score.

    Args:
        truncate: share of the probability that is left out, smallest values first; Williford et al. take 0.2.
        layer: where to stop, counted from the image: the output of which activation or sum of branches. The last one,
            -1, is the last feature map.
        blur: standard deviation in pixels of the Gaussian blur of the map; Williford et al. take 2.
    """

    truncate: float = 0.0
    layer: int = 0
    blur: float = 2.0

    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_truncation(self.truncate)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Signed maps; similarity and dissimilarity hold the same mass, whatever the score."""
        embeddings = pair_embeddings(model, pair)
        partners = embeddings.flip(0)
        with frozen(model):
            excited = ExcitedImages(model, images_for(model, pair))
            mate, dual = excited.winning(partners, self.layer), excited.winning(-partners, self.layer)
        contrast = contrasted(mate, dual, self.truncate) - contrasted(dual, mate, self.truncate)
        maps = gaussian_blur(cells_to_pixels(contrast, model.input_size), self.blur)
        return Saliency(maps, float(embeddings[0] @ embeddings[1]), repr(self), balanced=True)


class ExcitedImages:
    """Images that have gone through the trunk, ready for winning probabilities to come back.

    Args:
        model: in eval mode, `frozen`.
        images: shape (N, 3, H, W).

    Attributes:
        layers: outputs of all activations and sums of branches from the image on, and at last the features.
    """

    def __init__(self, model: FaceRecognizer, images: Tensor) -> None:
        check_known(model.trunk)
        self.model = model
        with Excitation() as recorded:
            self.features = model.features(images.detach().clone().requires_grad_())  # (N, C, h, w)
        self.layers = recorded.outputs
        if not self.layers or self.layers[-1] is not self.features:
            self.layers.append(self.features)

    def winning(self, directions: Tensor, layer: int = 0) -> Tensor:
        """P of a layer, of sum 1 for each image, for the neurons `direction . pooled`. (N, D) -> (N, c, h, w)."""
        if not -len(self.layers) <= layer < len(self.layers):
            raise InputError(f"layer must lie between 0 and {len(self.layers) - 1} for this network; got {layer}")
        return of_sum_one(self.handed_down(self.top(directions), self.features, [self.layers[layer]])[0])

    def handed_down(self, winning: Tensor, source: Tensor, targets: list[Tensor]) -> list[Tensor]:
        """P of the targets, given P of a layer above them."""
        return list(torch.autograd.grad(source, targets, winning, retain_graph=True))

    def top(self, directions: Tensor) -> Tensor:
        """P of the features: what each adds to the excitation of `direction . pooled`. (N, D) -> (N, C, h, w)."""
        features = self.features.detach()
        if isinstance(self.model.head, MaxPoolHead):
            shared = self.model.pool(features).clamp(min=0) * directions.clamp(min=0)  # (N, C)
            is_maximum = F.one_hot(features.flatten(2).max(2).indices, features[0, 0].numel())  # (N, C, h w)
            return of_sum_one((shared[:, :, None] * is_maximum).view_as(features))
        features.requires_grad_()
        scores = (self.model.pool(features) * directions).sum(1)
        (weights,) = torch.autograd.grad(scores.sum(), features)  # W^T b
        return of_sum_one(features.detach().clamp(min=0) * weights.clamp(min=0))


def contrasted(mate: Tensor, nonmate: Tensor, truncate: float = 0.0) -> Tensor:
    """ReLU(P - P') where P is large, summed over the channels. (N, C, h, w) -> (N, h, w)."""
    is_large = torch.stack([largest_values(winning, truncate) for winning in mate])
    return ((mate - nonmate).clamp(min=0) * is_large).sum(1)


def largest_values(winning: Tensor, truncate: float) -> Tensor:
    """Where P lies beyond the smallest values that together hold a share of less than `truncate`. Same shape, bool."""
    values, order = winning.flatten().sort()
    held = values.cumsum(0)
    is_large = torch.empty_like(order, dtype=torch.bool)
    is_large[order] = held >= truncate * held[-1]
    return is_large.view_as(winning)


def of_sum_one(winning: Tensor) -> Tensor:
    """Each of N non-negative tensors divided by its sum; zeros stay zeros."""
    total = winning.flatten(1).sum(1).clamp_min(torch.finfo(winning.dtype).tiny)
    return winning / total.view(-1, *[1] * (winning.ndim - 1))


def check_truncation(truncate: float) -> None:
    """Raise `InputError` unless `truncate` is a share below 1."""
    if not 0 <= truncate < 1:
        raise InputError(f"truncate must be a share in [0, 1); got {truncate}")
