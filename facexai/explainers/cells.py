"""From the cells of a feature map to the pixels of the image, with the sum kept."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError

Upsampling = Literal["bilinear", "cell"]


def cells_to_pixels(cells: Tensor, size: tuple[int, int], upsampling: Upsampling = "bilinear") -> Tensor:
    """Spread the value of each cell over its pixels.

    The pixels sum to what the cells sum to, where the image is a whole multiple of the grid: at its borders a bilinear
    map goes on as it is.

    Args:
        cells: one value a cell. Shape (N, h, w).
        size: (H, W) of the image.
        upsampling: `"bilinear"`, or `"cell"`: one value for all pixels of a cell.

    Returns:
        Shape (N, H, W).
    """
    check_upsampling(upsampling)
    pixels_per_cell = size[0] * size[1] / (cells.shape[1] * cells.shape[2])
    mode = "bilinear" if upsampling == "bilinear" else "nearest-exact"
    return F.interpolate(cells[:, None] / pixels_per_cell, size=size, mode=mode)[:, 0]


def place_in_cells(values: Tensor, cells: Tensor, features: Tensor) -> Tensor:
    """Put one value a channel into a cell of the feature map.

    Args:
        values: one a channel. Shape (N, C).
        cells: of each channel, counted row by row. Shape (N, C).
        features: last spatial maps, for their size alone. Shape (N, C, h, w).

    Returns:
        The sum of the values in each cell. Shape (N, h, w).
    """
    is_there = F.one_hot(cells, features[0, 0].numel()).to(values)  # (N, C, h w)
    return torch.einsum("nc,ncp->np", values, is_there).unflatten(1, features.shape[2:])


def check_upsampling(upsampling: str) -> None:
    """Raise `InputError` for a value that is not one of `Upsampling`."""
    known = get_args(Upsampling)
    if upsampling not in known:
        raise InputError(f"unknown upsampling '{upsampling}'; choose one of {', '.join(known)}")
