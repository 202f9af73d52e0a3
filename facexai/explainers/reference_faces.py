"""Rendered faces that stand in for "other people" where a method needs some."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from facexai.pairs import FacePair
from facexai.pixels import fit_crops

RECIPE = {"images_per_identity": 2, "strength": (0.2, 0.6), "occlusion": 0.0, "frontal": 1.0}


@lru_cache(maxsize=8)
def reference_pairs(people: int, seed: int = 42, size: tuple[int, int] = (112, 112)) -> tuple[FacePair, ...]:
    """Two near-frontal images of each of some people, rendered on first use and then read from the user's cache.

    Args:
        people: how many.
        seed: another seed gives other people.
        size: (H, W) in pixels.
    """
    from facexai.datasets.rendered import RenderedFaces  # the renderer compiles; most methods never need it

    pixels = RenderedFaces(people, seed=seed, **RECIPE).images(progress=False)
    faces = torch.from_numpy(fit_crops(np.array(pixels), size)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tuple(FacePair(first, second, genuine=True) for first, second in faces.unflatten(0, (people, 2)))


def reference_faces(people: int, seed: int = 42, size: tuple[int, int] = (112, 112)) -> Tensor:
    """One image of each person of `reference_pairs`. Shape (people, 3, H, W)."""
    return torch.stack([pair.probe for pair in reference_pairs(people, seed, size)])
