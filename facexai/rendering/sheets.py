"""Contact sheets: many small pictures on one, and ready-made sheets that show what the renderer can do."""

from collections.abc import Callable, Sequence
from colorsys import hsv_to_rgb

import numpy as np

from facexai.errors import InputError
from facexai.rendering.hair import BEARD_STYLES, HAIR_STYLES, wear
from facexai.rendering.head import LABELS
from facexai.rendering.identity import REGIONS, sample_identity
from facexai.rendering.nuisance import Nuisance, sample_nuisance
from facexai.rendering.occluders import OCCLUDERS
from facexai.rendering.pairs import region_pair
from facexai.rendering.scene import render


def contact_sheet(images: Sequence[np.ndarray], columns: int = 8, gap: int = 2) -> np.ndarray:
    """Tile pictures row by row on white.

    Args:
        images: pictures of one size. Shape (H, W, 3), uint8 each.
        columns: pictures in a row.
        gap: white pixels between them.

    Returns:
        The sheet. Shape (rows * (H + gap) - gap, columns * (W + gap) - gap, 3), uint8.

    Raises:
        InputError: no pictures, or pictures of several sizes.
    """
    shapes = {np.shape(image) for image in images}
    if len(shapes) != 1 or columns < 1:
        raise InputError(
            f"pictures must have one size, on one column or more; got sizes {sorted(shapes)}, {columns} columns."
        )
    height, width, _ = shapes.pop()
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet


def people(size: int = 112) -> np.ndarray:
    """Sixty-four identities from the front."""
    faces = [render(sample_identity(seed), Nuisance(background=seed), size=size).image for seed in range(64)]
    return contact_sheet(faces, 8)


def poses(size: int = 112) -> np.ndarray:
    """Six identities (rows) from yaw -90 to 90 degrees (columns)."""
    turns = np.linspace(-90, 90, 9)
    faces = [
        render(sample_identity(seed), Nuisance(yaw=float(yaw), background=seed), size=size).image
        for seed in range(6)
        for yaw in turns
    ]
    return contact_sheet(faces, len(turns))


def circumstances(size: int = 112) -> np.ndarray:
    """Eight identities (rows), ten draws of the full nuisance each."""
    generator = np.random.default_rng(0)
    faces = [
        render(sample_identity(seed), sample_nuisance(generator), size=size).image
        for seed in range(100, 108)
        for _ in range(10)
    ]
    return contact_sheet(faces, 10)


def hair_styles(size: int = 112) -> np.ndarray:
    """Three identities with every hair style (columns), from the front and turned."""
    faces = [
        render(wear(sample_identity(seed), hair=style), Nuisance(yaw=yaw), size=size).image
        for seed in (3, 5, 12)
        for yaw in (0.0, 55.0)
        for style in HAIR_STYLES
    ]
    return contact_sheet(faces, len(HAIR_STYLES))


def beards(size: int = 112) -> np.ndarray:
    """Four identities with every beard (columns), from the front and turned."""
    faces = [
        render(wear(sample_identity(seed), "crop", style), Nuisance(yaw=yaw), size=size).image
        for seed in (3, 5, 12, 40)
        for yaw in (0.0, 60.0)
        for style in BEARD_STYLES
    ]
    return contact_sheet(faces, 2 * len(BEARD_STYLES))


def occluders(size: int = 112) -> np.ndarray:
    """Three identities with every occluder (columns), from the front and turned."""
    faces = [
        render(
            sample_identity(seed),
            Nuisance(yaw=yaw, occluder=kind, occluder_variant=seed % 4, occluder_colour=_COLOURS[kind]),
            size=size,
        ).image
        for seed in (3, 7, 12)
        for yaw in (0.0, 50.0)
        for kind in OCCLUDERS
    ]
    return contact_sheet(faces, len(OCCLUDERS))


def regions(size: int = 112) -> np.ndarray:
    """One region swapped per column: the changed face, the true difference (x 4), and the region map."""
    pairs = [region_pair(sample_identity(4), sample_identity(21), name, size=size) for name in REGIONS]
    original = pairs[0].probe
    blank = np.zeros_like(original.image)
    faces = [original.image, *(pair.gallery.image for pair in pairs)]
    differences = [blank, *(_grey(np.clip(4 * pair.difference, 0, 1)) for pair in pairs)]
    maps = [colour_regions(rendering.regions) for rendering in (original, *(pair.gallery for pair in pairs))]
    return contact_sheet([*faces, *differences, *maps], len(pairs) + 1)


def colour_regions(labels: np.ndarray) -> np.ndarray:
    """Region map in colours, one hue per label and black for the background. Shape (H, W, 3), uint8."""
    hues = [hsv_to_rgb(index / len(LABELS), 0.6, 0.9) for index in range(len(LABELS))]
    palette = np.array([(0, 0, 0), *hues[1:]]) * 255
    return palette.astype(np.uint8)[labels]


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat((values * 255).astype(np.uint8)[..., None], 3, axis=-1)


_COLOURS = {
    "mask": (0.30, 0.48, 0.65),
    "sunglasses": (0.02, 0.02, 0.02),
    "glasses": (0.03, 0.02, 0.02),
    "scarf": (0.5, 0.1, 0.1),
    "hat": (0.1, 0.15, 0.4),
    "cap": (0.45, 0.08, 0.06),
}

SHEETS: dict[str, Callable[[int], np.ndarray]] = {
    sheet.__name__: sheet for sheet in (people, poses, circumstances, hair_styles, beards, occluders, regions)
}
