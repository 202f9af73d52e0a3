"""How well a map lies on a known truth: mass, rank, pointing and ROC AUC, one number a map.

Ties count in expectation, as if they were broken by a coin, so that no metric depends on the order of the pixels. An
empty map says nothing and gets what chance gets in each metric.

Source: Arras, Osman, Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
explanations" (2022), for relevance mass and relevance rank accuracy; Zhang et al., "Top-down Neural Attention by
Excitation Backprop" (2018), for the pointing game.
Deviations: the pointing game has no tolerance round the truth (theirs: 15 pixels of a photo of 500); our truths are
exact.
"""

import torch
from torch import Tensor


def mass(relevance: Tensor, truth: Tensor) -> Tensor:
    """Share of the relevance that lies on the truth; of an empty map, the share of the truth in the image.

    Args:
        relevance: maps, 0 or above. Shape (M, H, W).
        truth: the pixels that matter. Shape (M, H, W), bool.

    Returns:
        Shape (M,), float64.
    """
    relevance, truth = _flat(relevance, truth)
    total = relevance.sum(1)
    return torch.where(total > 0, (relevance * truth).sum(1) / total.clamp(min=_TINY), truth.double().mean(1))


def rank(relevance: Tensor, truth: Tensor) -> Tensor:
    """With K pixels in the truth: the share of the K most relevant pixels that lie in it.

    Args:
        relevance: maps. Shape (M, H, W).
        truth: the pixels that matter, at least one. Shape (M, H, W), bool.

    Returns:
        Shape (M,), float64.
    """
    relevance, truth = _flat(relevance, truth)
    count = truth.sum(1, keepdim=True)  # K
    last = relevance.sort(1, descending=True).values.gather(1, count - 1)
    above, level = relevance > last, relevance == last
    places = count - above.sum(1, keepdim=True)  # left for the pixels that tie with the K-th
    hits = (above & truth).sum(1) + places[:, 0] * _share(level, truth)
    return hits / count[:, 0]


def pointing(relevance: Tensor, truth: Tensor) -> Tensor:
    """Whether the most relevant pixel lies on the truth, 0 or 1; the share of them where several tie.

    Args:
        relevance: maps. Shape (M, H, W).
        truth: the pixels that matter. Shape (M, H, W), bool.

    Returns:
        Shape (M,), float64.
    """
    relevance, truth = _flat(relevance, truth)
    return _share(relevance == relevance.amax(1, keepdim=True), truth)


def area_under_curve(relevance: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """ROC AUC of the map as a detector of the truth: how often a pixel inside ranks above a pixel outside.

    Args:
        relevance: maps. Shape (M, H, W).
        truth: the pixels that matter; some, not all. Shape (M, H, W), bool.
        weights: how often each pixel inside is drawn, above 0; None for all alike. Shape (M, H, W).

    Returns:
        Shape (M,), float64.
    """
    relevance, truth = _flat(relevance, truth)
    inside = truth.double() if weights is None else truth * weights.flatten(1).double()
    ordered, order = relevance.sort(1)
    outside = (~truth).double().gather(1, order).cumsum(1)
    outside = torch.nn.functional.pad(outside, (1, 0))  # of the n lowest pixels, how many lie outside
    below = outside.gather(1, torch.searchsorted(ordered, relevance, right=False))
    not_above = outside.gather(1, torch.searchsorted(ordered, relevance, right=True))
    wins = inside * (below + not_above) / 2
    return wins.sum(1) / (inside.sum(1) * outside[:, -1])


def _flat(relevance: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    return relevance.flatten(1).double().contiguous(), truth.flatten(1)


def _share(pixels: Tensor, truth: Tensor) -> Tensor:
    """Share of the chosen pixels that lie on the truth. (M, N) bool, twice -> (M,)."""
    return (pixels & truth).sum(1) / pixels.sum(1).double()


_TINY = torch.finfo(torch.float64).tiny
