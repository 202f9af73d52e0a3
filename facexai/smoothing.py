"""Gaussian blur of maps and images."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(images: Tensor, sigma: float, radius: int | None = None) -> Tensor:
    """Blur the last two axes; beyond the border the outermost pixels are repeated.

    Args:
        images: shape (..., H, W).
        sigma: standard deviation in pixels. 0 changes nothing.
        radius: where the kernel ends, in pixels; by default at three standard deviations.
    """
    if sigma <= 0:
        return images
    radius = math.ceil(3 * sigma) if radius is None else radius
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return flat.view_as(images)
