"""Taking pixels of a face away in the order of a map: what goes first, what is put in its place, what is then measured.

The hiding game and insertion/deletion are made of these.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from facexai.benchmarks.judges import embed_images
from facexai.errors import InputError
from facexai.models import FaceRecognizer
from facexai.smoothing import gaussian_blur

Fill = Literal["blur", "constant", "black", "mean"]
Which = Literal["both", "probe", "gallery"]


def pixel_ranks(maps: Tensor, numbers: Sequence[int] | np.ndarray, seed: int) -> Tensor:
    """Place of each pixel in its map's ascending order; ties in an order drawn for each map.

    Without that draw, ties would be broken by position, and a map with many zeros would be judged by where in the image
    its zeros lie.

    Args:
        maps: K maps a pair. Shape (P, K, H, W).
        numbers: of the pairs; the draw depends on them and on the seed, and not on which pairs are judged together.
        seed: of the draw.

    Returns:
        Ranks from 0, the smallest value. Shape (P, K, H, W), int64.
    """
    values = maps.flatten(2)
    pixels = np.tile(np.arange(values.shape[2]), (values.shape[1], 1))
    drawn = np.stack([np.random.default_rng([seed, number]).permuted(pixels, axis=1) for number in numbers])
    shuffled = torch.from_numpy(drawn).to(maps.device)  # (P, K, H W)
    ascending = shuffled.gather(2, values.gather(2, shuffled).sort(dim=2, stable=True).indices)
    places = torch.arange(values.shape[2], device=maps.device).expand_as(ascending)
    return torch.empty_like(ascending).scatter_(2, ascending, places).view(maps.shape)


def filling(images: Tensor, fill: Fill, sigma: float) -> Tensor:
    """What stands in place of a pixel that is taken away.

    Args:
        images: in [-1, 1]. Shape (..., 3, H, W).
        fill: `"blur"`: the image under a Gaussian; `"constant"`: mid-grey; `"black"`; `"mean"`: its mean colour.
        sigma: of the Gaussian, in pixels.
    """
    match fill:
        case "blur":
            return gaussian_blur(images, sigma)
        case "constant":
            return torch.zeros_like(images)
        case "black":
            return -torch.ones_like(images)
        case "mean":
            return images.mean((-2, -1), keepdim=True).expand_as(images)


def scores_without(
    model: FaceRecognizer, images: Tensor, gone: Tensor, replacement: Tensor, which: Which
) -> np.ndarray:
    """Scores of pairs whose pixels are replaced, at each of L levels.

    Args:
        model: the network.
        images: both images of each pair. Shape (P, 2, 3, H, W).
        gone: the pixels that are replaced at each level. Shape (L, P, 2, H, W), bool.
        replacement: what replaces them. Shape (P, 2, 3, H, W).
        which: the images where that happens; the other one stays whole.

    Returns:
        Shape (P, L), float64.
    """
    embeddings = []
    for side, name in enumerate(("probe", "gallery")):
        played = images[:, side]  # (P, 3, H, W)
        if which in ("both", name):
            played = torch.where(gone[:, :, side, None], replacement[:, side], played)  # (L, P, 3, H, W)
        embeddings.append(embed_images(model, played))
    return (embeddings[0] * embeddings[1]).sum(-1).T.double().cpu().numpy()


def first_pixels(ranks: Tensor, fractions: Sequence[float]) -> Tensor:
    """The pixels of the lowest ranks, as many as each fraction says. (P, K, H, W) -> (L, P, K, H, W), bool."""
    pixels = ranks.shape[-2] * ranks.shape[-1]
    counts = [round(fraction * pixels) for fraction in fractions]
    return ranks < torch.tensor(counts, device=ranks.device).view(-1, 1, 1, 1, 1)


def area(values: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Mean height of the curve through these values, by the trapezoid rule. (P, L) -> (P,)."""
    values = np.asarray(values, np.float64)
    heights = (values[:, 1:] + values[:, :-1]) / 2
    return heights @ np.diff(fractions) / (fractions[-1] - fractions[0])


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `InputError` for a value that an option does not take."""
    if value not in choices:
        raise InputError(f"unknown {name} '{value}'; choose one of {', '.join(choices)}")


def check_sigma(sigma: object) -> None:
    """Raise `InputError` unless this is a number of pixels above 0."""
    if not (isinstance(sigma, int | float) and 0 < sigma < np.inf):
        raise InputError(f"sigma must be a number of pixels above 0; got {sigma!r}")


def check_fractions(fractions: Any, last: float | None = None) -> None:
    """Raise `InputError` unless these are shares of the pixels that rise from 0, to `last` where one is given."""
    numbers = isinstance(fractions, Sequence) and all(isinstance(fraction, int | float) for fraction in fractions)
    rising = numbers and len(fractions) > 1 and fractions[0] == 0 and min(np.diff(fractions)) > 0
    if not rising or fractions[-1] > 1 or last not in (None, fractions[-1]):
        raise InputError(f"fractions must rise from 0 to {last or 'at most 1'}; got {fractions!r}")
