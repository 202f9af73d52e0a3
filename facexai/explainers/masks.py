"""Masks in compact form: what a mask keeps of each pixel, drawn only while it is needed.

A mask is 1 where the pixel stays as it is and 0 where the fill takes its place. A thousand masks of 112 x 112 pixels
are 50 MB; their grids, corners or centres are a few kilobytes.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.smoothing import gaussian_blur

Fill = Literal["grey", "black", "blur"]
BLUR = 0.04  # standard deviation of the blurred fill, as a part of the image's height


class Masks(Protocol):
    """N masks for images of one size."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice) -> "Masks": ...

    def draw(self, like: Tensor) -> Tensor:
        """All N masks, on the device and in the precision of `like`. Shape (N, H, W)."""
        ...


@dataclass(frozen=True)
class GridMasks:
    """A coarse grid of cells, kept or not, enlarged bilinearly and cut out at a random shift.

    Args:
        grids: which cells are kept. Shape (N, cells, cells), bool.
        shifts: first row and column of the cut. Shape (N, 2).
        size: (H, W) of the images.

    Source: Petsiuk, Das, Saenko, "RISE", BMVC 2018; `eclique/RISE`, `generate_masks`.

    Deviations:
        Beyond the outermost cell centres the enlargement repeats their value; scikit-image, which the authors use,
        mirrors it. It changes half a cell along the border.
    """

    grids: Tensor
    shifts: Tensor
    size: tuple[int, int]

    @classmethod
    def sample(cls, count: int, size: tuple[int, int], *, cells: int, keep: float, seed: int) -> "GridMasks":
        """`count` masks that keep each cell with probability `keep`."""
        generator = torch.Generator().manual_seed(seed)
        grids = torch.rand(count, cells, cells, generator=generator) < keep
        shifts = [torch.randint(math.ceil(side / cells), (count,), generator=generator) for side in size]
        return cls(grids, torch.stack(shifts, 1), size)

    def __len__(self) -> int:
        return len(self.grids)

    def __getitem__(self, index: slice) -> "GridMasks":
        return replace(self, grids=self.grids[index], shifts=self.shifts[index])

    def draw(self, like: Tensor) -> Tensor:
        """Bilinear enlargement is linear in the grid: mask = rows x grid x columns."""
        rows, columns = (self._shares_of_cells(axis, like) for axis in (0, 1))
        return rows @ self.grids.to(like) @ columns.transpose(1, 2)

    def _shares_of_cells(self, axis: int, like: Tensor) -> Tensor:
        """How much of each cell a pixel along one axis takes. Shape (N, pixels, cells)."""
        cells, side = self.grids.shape[1], self.size[axis]
        enlarged = (cells + 1) * math.ceil(side / cells)
        shares = F.interpolate(torch.eye(cells)[None], size=enlarged, mode="linear")[0].T  # (enlarged, cells)
        return shares[self.shifts[:, axis, None] + torch.arange(side)].to(like)


@dataclass(frozen=True)
class PatchMasks:
    """Square patches that are taken away, everything else kept; a later patch covers an earlier one.

    Args:
        corners: row and column of the first pixel of each of k patches. Shape (N, k, 2).
        side: of a patch, in pixels.
        size: (H, W) of the images.
        values: what is kept inside the patches; nothing where it is None. Shape (N, k, side, side).
    """

    corners: Tensor
    side: int
    size: tuple[int, int]
    values: Tensor | None = None

    @classmethod
    def sample(
        cls, count: int, size: tuple[int, int], *, patches: int, side: int, seed: int, uniform: bool = False
    ) -> "PatchMasks":
        """`count` masks of `patches` patches, anywhere inside the image; `uniform`: each pixel keeps a random part."""
        generator = torch.Generator().manual_seed(seed)
        corners = [torch.randint(length - side + 1, (count, patches), generator=generator) for length in size]
        values = torch.rand(count, patches, side, side, generator=generator).half() if uniform else None
        return cls(torch.stack(corners, 2), side, size, values)

    @classmethod
    def systematic(cls, size: tuple[int, int], *, side: int, stride: int) -> "PatchMasks":
        """One patch a mask, every `stride` pixels; row by row."""
        rows, columns = (torch.arange(0, length - side, stride) for length in size)
        return cls(torch.cartesian_prod(rows, columns)[:, None], side, size)

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, index: slice) -> "PatchMasks":
        values = None if self.values is None else self.values[index]
        return replace(self, corners=self.corners[index], values=values)

    def draw(self, like: Tensor) -> Tensor:
        """The masks. Shape (N, H, W)."""
        masks = like.new_ones(len(self), *self.size)
        which = torch.arange(len(self))[:, None, None]
        inside = torch.arange(self.side)
        for patch in range(self.corners.shape[1]):
            rows, columns = (self.corners[:, patch, axis, None] + inside for axis in (0, 1))  # (N, side)
            kept = 0 if self.values is None else self.values[:, patch]
            masks[which, rows[:, :, None], columns[:, None, :]] = torch.as_tensor(kept).to(like)
        return masks


@dataclass(frozen=True)
class BumpMasks:
    """G = exp(-|x - centre|^2 / (2 width^2)): all that is kept, or, with `removed`, all that is taken away (1 - G).

    Args:
        centres: row and column. Shape (N, 2).
        width: standard deviation in pixels.
        size: (H, W) of the images.
        removed: 1 - G in place of G.
    """

    centres: Tensor
    width: float
    size: tuple[int, int]
    removed: bool = False

    @classmethod
    def systematic(cls, size: tuple[int, int], *, width: float, stride: int) -> "BumpMasks":
        """A centre every `stride` pixels; row by row."""
        rows, columns = (torch.arange(stride // 2, length, stride) for length in size)
        return cls(torch.cartesian_prod(rows, columns), width, size)

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, index: slice) -> "BumpMasks":
        return replace(self, centres=self.centres[index])

    def draw(self, like: Tensor) -> Tensor:
        """The masks. Shape (N, H, W)."""
        rows, columns = (
            torch.exp(-(torch.arange(length) - self.centres[:, axis, None]).square().to(like) / (2 * self.width**2))
            for axis, length in enumerate(self.size)
        )
        bumps = rows[:, :, None] * columns[:, None, :]
        return 1 - bumps if self.removed else bumps


def background(image: Tensor, fill: Fill) -> Tensor:
    """What takes the place of masked pixels: 0 (`"grey"`), -1 (`"black"`) or the image blurred. (3, H, W) -> same."""
    if fill == "blur":
        return gaussian_blur(image, BLUR * image.shape[1])
    return torch.full_like(image, {"grey": 0.0, "black": -1.0}[fill])
