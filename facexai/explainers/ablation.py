"""Ablation: by how much the score falls when one channel of one image is taken away.

    w_i = s(A, B) - s(A without channel i, B)

What stands in for the channel depends on the head:

* global max pooling with BatchNorm: the channel's training mean, which is F_i = 0 ("mean ablation");
* every other head: zero in place of the channel's maximum, as in Algorithm 1's own masking.

The score is a cosine, and both its numerator and its denominator change. With the length of the embedding kept, the
fall is what the channel adds to the score: for global max pooling with BatchNorm exactly F_Ai F_Bi / (|F_A| |F_B|), as
DDFV prints its weights.

Source: ours; it takes the place of the printed weights F_A x F_B - T (see `Deviations` in `ddfv`).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.explainers.local_residuals import batchnorm_scale
from facexai.explainers.residuals import Mask, mask_channel
from facexai.models import FullyConnectedHead, GlobalDepthwiseHead, MaxPoolHead

Substitute = Literal["neutral", "second-max"]
Fall = Literal["cosine", "first-order", "numerator"]


def ablation_weights(pooled: Tensor, partner: Tensor, changes: Tensor, fall: Fall = "cosine") -> Tensor:
    """The fall of the score for each of C changes of one image.

    Args:
        pooled: head output of the image, not normalised. Shape (D,).
        partner: head output of the other image, or of N others. Shape (D,) or (N, D).
        changes: what each ablation adds to `pooled`. Shape (C, D).
        fall: of the `"cosine"`, w = s(pooled, partner) - s(pooled + change, partner); its `"first-order"` part, by the
            gradient at `pooled`; or of the cosine's `"numerator"`, the length of `pooled` kept.

    Returns:
        w. Shape (C,) or (N, C).
    """
    length = pooled.norm().clamp_min(torch.finfo(pooled.dtype).tiny)
    partner = F.normalize(partner, dim=-1)
    score = (partner @ pooled / length)[..., None]  # (..., 1)
    gain = partner @ changes.T / length  # what the numerator of the cosine gains, (..., C)
    if fall == "numerator":
        return -gain
    along = changes @ pooled / length**2  # (C,)
    if fall == "first-order":
        return score * along - gain
    growth = 2 * along + changes.square().sum(1) / length**2  # |pooled + change|^2 = length^2 (1 + growth)
    ratio = (1 + growth).clamp_min(0).sqrt()
    # score - (score + gain) / ratio, written without the difference of two nearly equal numbers
    weights = (score * growth / (1 + ratio) - gain) / ratio
    return torch.where(ratio > torch.finfo(ratio.dtype).eps, weights, score)  # nothing left to compare: score 0


def ablation_changes(
    head: nn.Module, features: Tensor, substitute: Substitute = "neutral", mask: Mask = "max", chunk: int = 128
) -> Tensor:
    """What taking away each channel of one image adds to the output of the head.

    Args:
        head: features (N, C, h, w) -> pooled (N, D), in eval mode.
        features: of one image. Shape (C, h, w).
        substitute: what stands in for the channel's maximum: `"neutral"` (the training mean for a MaxPoolHead with
            BatchNorm, else zero) or the `"second-max"` of the channel.
        mask: `"channel"`: put zero for the whole channel (the neutral substitute of other heads only).
        chunk: feature maps pooled at once where there is no closed form.

    Returns:
        Changes of the pooled vector. Shape (C, D).
    """
    values = second_maxima(features) if substitute == "second-max" else features.new_zeros(len(features))
    mask = "max" if substitute == "second-max" else mask
    if isinstance(head, MaxPoolHead):
        return torch.diag(_max_pool_changes(head, features, values, substitute, mask))
    maxima, cells = features.flatten(1).max(1)
    columns = head_columns(head, cells) if mask == "max" else None
    if columns is not None:
        return (values - maxima)[:, None] * columns
    return _pooled_again(head, features, values, mask, chunk)


def head_columns(head: nn.Module, cells: Tensor) -> Tensor | None:
    """How an affine head answers to one cell of each channel: d pooled / d features[i, cells[i]]. (C,) -> (C, D).

    None for a head of unknown form.
    """
    channels = torch.arange(len(cells), device=cells.device)
    if isinstance(head, FullyConnectedHead):
        weight = head.fc.weight.unflatten(1, (len(cells), -1))  # (D, C, h w)
        return weight[:, channels, cells].T * batchnorm_scale(head.features)
    if isinstance(head, GlobalDepthwiseHead):
        depthwise = head.GDC_dw.weight.flatten(1)[channels, cells] * batchnorm_scale(head.GDC_bn)  # (C,)
        pointwise = head.features.weight.flatten(1) * batchnorm_scale(head.last_bn)[:, None]  # (D, C)
        return (pointwise * depthwise).T
    return None


def second_maxima(features: Tensor) -> Tensor:
    """The second largest value of each channel, equal to the largest on a tie; 0 for one cell. (C, h, w) -> (C,)."""
    values = features.flatten(1)
    return values.topk(2, dim=1).values[:, 1] if values.shape[1] > 1 else torch.zeros_like(values[:, 0])


def _max_pool_changes(
    head: MaxPoolHead, features: Tensor, values: Tensor, substitute: Substitute, mask: Mask
) -> Tensor:
    """Dimension i of the pooled vector sees channel i alone, so C numbers say all. (C, h, w) -> (C,)."""
    pooled = head.bn(features.amax((1, 2))[None])[0]
    if head.normalize and substitute == "neutral":
        return -pooled
    left = torch.maximum(values, second_maxima(features)) if mask == "max" else values  # the maximum once masked
    return head.bn(left[None])[0] - pooled


def _pooled_again(head: nn.Module, features: Tensor, values: Tensor, mask: Mask, chunk: int) -> Tensor:
    """Pool each masked feature map: exact for any head. (C, h, w) -> (C, D)."""
    changes = []
    for channels in torch.arange(len(features)).split(chunk):
        masked = [mask_channel(features, channel, mask, float(values[channel])) for channel in channels.tolist()]
        *pooled, unmasked = head(torch.stack([*masked, features]))
        changes.append(torch.stack(pooled) - unmasked)
    return torch.cat(changes)
