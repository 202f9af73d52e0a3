"""Two faces that differ in chosen regions only, and where that shows."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from facexai.rendering.identity import SLICES, Identity, check_region
from facexai.rendering.nuisance import Nuisance
from facexai.rendering.scene import Rendering, render


@dataclass(frozen=True)
class RegionPair:
    """Two renderings in one frame.

    Attributes:
        probe: the identity as it is.
        gallery: the identity with regions of another one, framed as the probe.
        difference: mean absolute difference over the colours: the true answer to where the two faces differ.
            Shape (H, W), float32, 0..1.
    """

    probe: Rendering
    gallery: Rendering
    difference: np.ndarray


def swap_regions(identity: Identity, other: Identity, regions: Iterable[str], amplify: float = 1.0) -> Identity:
    """Give `identity` the named regions of `other`.

    Args:
        identity: gives all other regions.
        other: gives the named ones.
        regions: names out of `REGIONS`, or one name.
        amplify: 1 for exactly the regions of `other`; 2 goes twice as far from `identity`.

    Raises:
        InputError: unknown region.
    """
    names = [regions] if isinstance(regions, str) else list(regions)
    vector = identity.vector.copy()
    for name in names:
        part = SLICES[check_region(name)]
        vector[part] += amplify * (other.vector[part] - vector[part])
        if amplify == 1:
            vector[part] = other.vector[part]
    return Identity(vector)


def region_pair(
    identity: Identity,
    other: Identity,
    regions: Iterable[str],
    *,
    nuisance: Nuisance | None = None,
    size: int = 112,
    amplify: float = 1.0,
) -> RegionPair:
    """Render an identity with and without some regions of another one, under one nuisance and one alignment.

    Args:
        identity: the face of the probe.
        other: gives the named regions to the gallery face.
        regions: names out of `REGIONS`, or one name.
        nuisance: circumstances of both images; None for a neutral face in a studio.
        size: side of the images in pixels.
        amplify: as in `swap_regions`.
    """
    probe = render(identity, nuisance, size=size)
    changed = swap_regions(identity, other, regions, amplify)
    # One alignment for both: a changed nose tip would otherwise move the landmarks and with them the whole crop.
    gallery = render(changed, nuisance, size=size, alignment=probe.alignment)
    difference = np.abs(probe.image.astype(np.float32) - gallery.image.astype(np.float32)).mean(axis=-1) / 255
    return RegionPair(probe, gallery, difference)
