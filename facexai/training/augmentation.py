"""Augmentation: each time a face is seen it is framed, coloured and covered a little differently.

A network that sees the same photographs in every epoch learns them by heart; one that never sees a pixel twice has to
learn what stays, the face.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 0.05  # of the side, as are the sides of the rectangle
ZOOM = 0.08
TURN = 6.0  # degrees
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
GREY, ERASED = 0.1, 0.4  # shares of the images
RECTANGLE = 0.15, 0.45
EDGE, EDGE_TILT, EDGE_PLACE = 0.35, 30.0, (0.1, 0.5)  # share of the sides, degrees, distance from the centre


def augment(images: Tensor, strength: float, *, seed: int, step: int, turn: bool = True, cut: float = 0.0) -> Tensor:
    """Other framing, colours and a covered rectangle for every image of a batch; seed and step decide all of it.

    Args:
        images: in [-1, 1]. Shape (N, 3, H, W).
        strength: 1 for the ranges above, 0 for none of it.
        seed: of the run.
        step: of the run, so that a resumed run sees what an uninterrupted one would have seen.
        turn: whether images are turned; not where the angle is what is to be learnt.
        cut: share of the images that lose what lies beyond the edges of a tilted rectangle: aligned crops are black
            where the photograph ends, and profiles, which need much room on one side, often are.

    Returns:
        Images in [-1, 1]. Shape (N, 3, H, W).
    """
    if strength == 0:
        return images
    # drawn on the CPU, so that every device sees the same
    chance = torch.Generator().manual_seed(seed * 1_000_003 + step)
    changed = _erase(
        _recolour(_reframe(images, strength, TURN if turn else 0.0, chance), strength, chance), strength, chance
    )
    if cut > 0:
        changed = _cut(changed, cut, chance)
    return changed.contiguous(memory_format=torch.channels_last)


def _reframe(images: Tensor, strength: float, most: float, chance: torch.Generator) -> Tensor:
    """Shift, zoom and turn; what comes from outside repeats the border."""
    shift_x, shift_y, zoom, turn = _spread(len(images), 4, strength, chance)
    angle = math.radians(most) * turn
    scale = 1 + ZOOM * zoom
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cosine, -sine, 2 * SHIFT * shift_x, sine, cosine, 2 * SHIFT * shift_y], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3).to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _recolour(images: Tensor, strength: float, chance: torch.Generator) -> Tensor:
    """Brightness, contrast about the image's mean, saturation; some images lose their colours."""
    bright, contrast, saturation = (
        column.view(-1, 1, 1, 1).to(images) for column in _spread(len(images), 3, 1, chance)
    )
    grey_ones = (torch.rand(len(images), generator=chance) < GREY * strength).view(-1, 1, 1, 1).to(images.device)
    grey = images.mean(1, keepdim=True)
    colourful = torch.where(grey_ones, 0.0, 1 + SATURATION * strength * saturation)
    images = grey + (images - grey) * colourful
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + CONTRAST * strength * contrast) + BRIGHTNESS * strength * bright
    return images.clamp(-1, 1)


def _erase(images: Tensor, strength: float, chance: torch.Generator) -> Tensor:
    """Put one even colour over a rectangle of some images."""
    count, (height, width) = len(images), images.shape[2:]
    erased = torch.rand(count, generator=chance) < ERASED * strength
    centre, side = torch.rand(count, 2, generator=chance), torch.empty(count, 2)
    side.uniform_(*RECTANGLE, generator=chance)
    colour = (torch.rand(count, 3, 1, 1, generator=chance) * 2 - 1).to(images)
    rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    in_rows = (rows - centre[:, :1]).abs() < side[:, :1] / 2  # (N, H)
    in_columns = (columns - centre[:, 1:]).abs() < side[:, 1:] / 2  # (N, W)
    inside = (in_rows[:, :, None] & in_columns[:, None, :] & erased[:, None, None])[:, None].to(images.device)
    return torch.where(inside, colour, images)


def _cut(images: Tensor, share: float, chance: torch.Generator) -> Tensor:
    """Make black what lies beyond some sides of a tilted rectangle, in this share of the images."""
    count, (height, width) = len(images), images.shape[2:]
    tilt = math.radians(EDGE_TILT) * (torch.rand(count, 1, generator=chance) * 2 - 1)
    normal = tilt + torch.arange(4) * (math.pi / 2)  # direction of each side's outward normal, (N, 4)
    place = torch.empty(count, 4).uniform_(*EDGE_PLACE, generator=chance)
    ends = torch.rand(count, 4, generator=chance) < EDGE
    ends &= torch.rand(count, 1, generator=chance) < share
    x, y = torch.linspace(-0.5, 0.5, width), torch.linspace(-0.5, 0.5, height)
    outwards = normal.cos()[..., None, None] * x + normal.sin()[..., None, None] * y[:, None]  # (N, 4, H, W)
    beyond = ((outwards > place[..., None, None]) & ends[..., None, None]).any(1, keepdim=True)
    return torch.where(beyond.to(images.device), -1.0, images)


def _spread(count: int, columns: int, strength: float, chance: torch.Generator) -> list[Tensor]:
    """Columns of numbers, even in [-strength, strength]. Each of shape (count,)."""
    return list((torch.rand(columns, count, generator=chance) * 2 - 1) * strength)
