"""Masks drawn all at once equal masks drawn by loops over pixels."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.explainers.masks import BumpMasks, GridMasks, PatchMasks, background
from facexai.smoothing import gaussian_blur

SIZE = (20, 17)
LIKE = torch.zeros(0).double()
SAMPLES = {
    "grid": GridMasks.sample(9, SIZE, cells=4, keep=0.3, seed=1),
    "patches": PatchMasks.sample(9, SIZE, patches=3, side=6, seed=1),
    "uniform patches": PatchMasks.sample(9, SIZE, patches=3, side=6, seed=1, uniform=True),
    "systematic": PatchMasks.systematic(SIZE, side=6, stride=5),
    "bumps": BumpMasks.systematic(SIZE, width=2.5, stride=6),
}


def literal_grid_mask(masks: GridMasks, index: int) -> Tensor:
    """Enlarge the grid to cells + 1 cell widths, then cut it out at the shift."""
    grid, (top, left) = masks.grids[index].double(), masks.shifts[index].tolist()
    enlarged = [(len(grid) + 1) * math.ceil(side / len(grid)) for side in SIZE]
    enlarged_grid = F.interpolate(grid[None, None], size=enlarged, mode="bilinear")[0, 0]
    return enlarged_grid[top : top + SIZE[0], left : left + SIZE[1]]


def test_grid_masks_are_enlarged_shifted_grids():
    masks = GridMasks.sample(6, SIZE, cells=4, keep=0.5, seed=0)
    expected = torch.stack([literal_grid_mask(masks, index) for index in range(6)])
    assert torch.allclose(masks.draw(LIKE), expected, atol=1e-6)
    assert masks.shifts.unique().numel() > 2


def test_each_pixel_of_a_grid_is_kept_with_the_given_probability():
    drawn = GridMasks.sample(4000, SIZE, cells=4, keep=0.3, seed=0).draw(LIKE)
    assert float((drawn.mean(0) - 0.3).abs().max()) < 0.03


@pytest.mark.parametrize("name", ["patches", "uniform patches"])
def test_patches_cover_their_squares(name):
    masks = SAMPLES[name]
    for index, drawn in enumerate(masks.draw(LIKE)):
        expected = torch.ones(SIZE).double()
        for patch, (top, left) in enumerate(masks.corners[index].tolist()):
            kept = 0 if masks.values is None else masks.values[index, patch].double()
            expected[top : top + 6, left : left + 6] = kept
        assert torch.equal(drawn, expected)


def test_systematic_patches_go_row_by_row():
    masks = PatchMasks.systematic((16, 16), side=4, stride=5)
    assert masks.corners[:, 0].tolist() == [[row, column] for row in (0, 5, 10) for column in (0, 5, 10)]
    assert (1 - masks.draw(LIKE)).sum((1, 2)).tolist() == [16.0] * 9


def test_bumps_are_gaussians_around_their_centres():
    masks = SAMPLES["bumps"]
    drawn = masks.draw(LIKE)
    for index, (row, column) in enumerate(masks.centres.tolist()):
        for y, x in ((0, 0), (7, 3), (19, 16), (row, column)):
            expected = math.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 2.5**2))
            assert float(drawn[index, y, x]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_slice_of_masks_draws_the_same_masks(name):
    masks = SAMPLES[name]
    assert torch.allclose(masks[2:5].draw(LIKE), masks.draw(LIKE)[2:5])
    assert len(masks[2:5]) == 3
    assert masks.draw(LIKE).shape == (len(masks), *SIZE)


def test_seeds_decide_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    for sample in (
        lambda seed: GridMasks.sample(5, SIZE, cells=4, keep=0.5, seed=seed),
        lambda seed: PatchMasks.sample(5, SIZE, patches=2, side=6, seed=seed, uniform=True),
    ):
        assert torch.equal(sample(3).draw(LIKE), sample(3).draw(LIKE))
        assert not torch.equal(sample(3).draw(LIKE), sample(4).draw(LIKE))
    assert torch.equal(before, torch.get_rng_state())


def test_fills():
    image = torch.rand(3, 20, 20) * 2 - 1
    assert background(image, "grey").unique().tolist() == [0.0]
    assert background(image, "black").unique().tolist() == [-1.0]
    assert torch.equal(background(image, "blur"), gaussian_blur(image, 0.8))


def test_a_blur_of_given_radius_equals_scipy():
    from scipy.ndimage import gaussian_filter

    images = torch.rand(2, 3, 20, 17).double()
    expected = gaussian_filter(images.numpy(), sigma=1.5, mode="nearest", radius=4, axes=(2, 3))
    assert torch.allclose(gaussian_blur(images, 1.5, radius=4), torch.from_numpy(expected), atol=1e-12)
