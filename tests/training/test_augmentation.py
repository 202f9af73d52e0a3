"""Augmentation: decided by seed and step, within its ranges, and nothing at strength 0."""

import pytest
import torch

from facexai.training import augmentation
from facexai.training.augmentation import augment


@pytest.fixture
def images():
    return torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def only(monkeypatch):
    """All ranges zero but those given."""

    def keep(**ranges):
        for name in ("SHIFT", "ZOOM", "TURN", "BRIGHTNESS", "CONTRAST", "SATURATION", "GREY", "ERASED"):
            monkeypatch.setattr(augmentation, name, ranges.get(name, 0.0))

    return keep


def test_no_strength_no_change(images):
    assert augment(images, 0.0, seed=1, step=1) is images


def test_no_range_no_change(images, only):
    only()
    torch.testing.assert_close(augment(images, 1.0, seed=1, step=1), images)


def test_seed_and_step_decide_and_the_global_state_stays(images):
    state = torch.get_rng_state()
    first = augment(images, 1.0, seed=1, step=1)
    assert torch.equal(first, augment(images, 1.0, seed=1, step=1))
    assert not torch.equal(first, augment(images, 1.0, seed=1, step=2))
    assert not torch.equal(first, augment(images, 1.0, seed=2, step=1))
    assert torch.equal(state, torch.get_rng_state())
    assert first.shape == images.shape
    assert first.abs().max() <= 1


def test_images_of_one_batch_change_each_in_their_own_way(images):
    same = images[:1].expand(8, -1, -1, -1)
    changed = augment(same, 1.0, seed=3, step=0)
    assert len({tuple(image.flatten()[:50].tolist()) for image in changed}) == 8


def test_a_shift_moves_and_keeps_the_values(only):
    only(SHIFT=0.1)
    ramp = torch.linspace(-1, 1, 32).expand(16, 3, 32, 32)  # brighter to the right
    moved = augment(ramp, 1.0, seed=1, step=1)[:, 0, 16, 16] - ramp[:, 0, 16, 16]
    assert moved.abs().max() <= 0.1 * 2 * 32 / 31 + 1e-6  # a tenth of the side, on a ramp of height 2
    assert moved.min() < -0.05 < 0.05 < moved.max()


def test_grey_images_have_three_equal_colours(images, only):
    only(GREY=1.0)
    grey = augment(images, 1.0, seed=1, step=1)
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    torch.testing.assert_close(grey.mean(1), images.mean(1))


def test_a_rectangle_of_one_colour_is_erased_and_nothing_else(images, only):
    only(ERASED=1.0)
    changed = augment(images, 1.0, seed=1, step=1)
    touched = (changed - images).abs().amax(1) > 1e-5  # (N, H, W)
    assert touched.any((1, 2)).float().mean() > 0.9
    low, high = augmentation.RECTANGLE
    for image, where in zip(changed, touched, strict=True):
        colours = image[:, where]
        assert where.float().mean() <= (high + 2 / 32) ** 2
        if where.any():
            torch.testing.assert_close(colours, colours[:, :1].expand_as(colours))
    assert 0 < low < high < 1


def test_nothing_is_turned_where_the_angle_is_to_be_learnt(only):
    only(TURN=20.0)
    upright = torch.zeros(8, 3, 32, 32)
    upright[:, :, 16:] = 1.0  # a level edge
    assert (augment(upright, 1.0, seed=1, step=1)[:, 0].std(-1) > 0.01).any()
    level = augment(upright, 1.0, seed=1, step=1, turn=False)
    torch.testing.assert_close(level, upright)


def test_cut_images_are_black_beyond_tilted_edges_and_whole_in_the_middle(images, only):
    only()
    cut = augment(images, 1.0, seed=1, step=1, cut=1.0)
    black = (cut == -1).all(1)  # (N, H, W)
    torch.testing.assert_close(torch.where(black[:, None], images, cut), images)
    assert not black[:, 14:18, 14:18].any()  # no edge comes nearer than a tenth of the side
    share = black.float().mean((1, 2))
    assert 0.5 < (share > 0).float().mean() < 0.95 and share.max() < 0.85
    half = augment(images, 1.0, seed=1, step=1, cut=0.5)
    assert 0.2 < ((half == -1).all(1).any((1, 2))).float().mean() < 0.6
    assert not (augment(images, 1.0, seed=1, step=1) == -1).all(1).any()
