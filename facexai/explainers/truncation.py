"""Leaving out weak channels, with a bound on what the map can lose.

A residual brought to maximum 1 lies between 0 and 1 inside its window and is zero outside, and the window is known from
the place of the channel's maximum, before any decoding. So the sum over some channels only errs, in a pixel, by at most
the sum of |weight| over the windows of the others that cover it:

    |H - H_K| (pixel)  <=  sum of |w_i| over i not in K whose window covers the pixel

A window begins one cell before the cell of its maximum and ends one cell after it, so this sum is largest where all
windows of a block of 3 x 3 cells overlap.

Source: ours; it follows from Algorithm 1, whose residuals are normalised.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def wanted_channels(weights: Tensor, cells: Tensor, features: Tensor, tolerance: float) -> Tensor:
    """Which channels are worth decoding: all but the weakest, as many as the tolerance allows.

    Args:
        weights: what each residual will be multiplied by. Shape (N, C).
        cells: where it will be drawn. Shape (N, C).
        features: last spatial maps of the same images, for their size alone. Shape (N, C, h, w).
        tolerance: largest error of a map, as a share of the largest value that a map with these weights can have.

    Returns:
        Shape (N, C), bool.
    """
    order = weights.abs().argsort(dim=1)  # the weakest first
    bounds = bounds_without(weights.abs().gather(1, order), cells.gather(1, order), features)
    return torch.zeros_like(order, dtype=torch.bool).scatter(1, order, bounds > tolerance * bounds[:, -1:])


def bounds_without(strengths: Tensor, cells: Tensor, features: Tensor) -> Tensor:
    """The largest error without the first channel, without the first two, and so on.

    Args:
        strengths: |weight| of each channel. Shape (N, C).
        cells: where the channel is drawn. Shape (N, C).
        features: last spatial maps, for their size alone. Shape (N, C, h, w).

    Returns:
        Shape (N, C).
    """
    height, width = features.shape[2:]
    at_cell = F.one_hot(cells, height * width) * strengths[:, :, None]  # (N, C, h w)
    left_out = at_cell.cumsum(1).unflatten(2, (height, width))  # (N, C, h, w)
    over_blocks = F.avg_pool2d(left_out, 3, stride=1, padding=1, divisor_override=1)  # sums of 3 x 3 cells
    return over_blocks.amax((2, 3))
