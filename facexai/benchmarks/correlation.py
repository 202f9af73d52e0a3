"""How alike two maps are, whatever their scale."""

import torch
from torch import Tensor


def pearson(maps: Tensor, others: Tensor) -> Tensor:
    """Correlation of the pixels of two maps; nan where one of them is the same everywhere. (M, H, W), twice -> (M,)."""
    first, second = (_centred(values.flatten(1).double()) for values in (maps, others))
    return (first * second).sum(1)


def spearman(maps: Tensor, others: Tensor) -> Tensor:
    """Correlation of the pixels' ranks; ties have the mean of their ranks. (M, H, W), twice -> (M,)."""
    return pearson(_ranks(maps), _ranks(others))


def relative_change(maps: Tensor, others: Tensor) -> Tensor:
    """|others - maps| / |maps|; nan where the map is zero everywhere. (M, H, W), twice -> (M,)."""
    before, after = maps.flatten(1).double(), others.flatten(1).double()
    size = before.norm(dim=1)
    return torch.where(size > 0, (after - before).norm(dim=1) / size, torch.nan)


def _centred(values: Tensor) -> Tensor:
    """Without their mean, at length 1; nan where nothing is left. (M, N) -> (M, N)."""
    centred = values - values.mean(1, keepdim=True)
    flat = values.amax(1, keepdim=True) == values.amin(1, keepdim=True)
    return torch.where(flat, torch.nan, centred / centred.norm(dim=1, keepdim=True))


def _ranks(maps: Tensor) -> Tensor:
    """(M, H, W) -> (M, H, W), float64."""
    values = maps.flatten(1).contiguous()
    ordered = values.sort(1).values
    first, last = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return ((first + last).double() / 2).view(maps.shape)
