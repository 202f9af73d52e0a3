"""Benchmarks and judges bring aligned faces to the size of the network, and their truths with them."""

import numpy as np
import pytest
import torch
from torch import nn

from facexai.benchmarks import HidingGame, VerificationSet, embed_all, verify
from facexai.benchmarks.judges import Method
from facexai.benchmarks.localization import localization
from facexai.benchmarks.true_pairs import RenderedPairs
from facexai.errors import InputError
from facexai.images import from_uint8
from facexai.models import wrap_model
from facexai.pixels import fit_crops

SIZES = [(112, 96), (64, 80), (160, 160)]


def network(size):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(6))
        return wrap_model(net, features="1", input_size=size)


@pytest.fixture(scope="module")
def crops() -> VerificationSet:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 256, (8, 14, 14, 3)).repeat(8, 1).repeat(8, 2)
    images = np.concatenate([people, people]) * 0.9 + rng.integers(0, 25, (16, 112, 112, 3))
    first = np.arange(8)
    return VerificationSet(
        "crops",
        images.astype(np.uint8),
        probe=np.r_[first, first],
        gallery=np.r_[first + 8, (first + 1) % 8 + 8],
        genuine=np.r_[first >= 0, first < 0],
        fold=np.r_[first % 2, first % 2],
        identity=np.r_[first, first],
    )


@pytest.mark.parametrize("size", SIZES)
def test_verification_and_judges_run_at_the_size_of_the_network(crops, size):
    model = network(size)
    by_hand = torch.stack([from_uint8(fit_crops(image, size)) for image in crops.images])
    embedding = embed_all(model, crops.images, flip=False, progress=False)
    np.testing.assert_allclose(embedding, model.embed(by_hand).detach().numpy(), atol=1e-5)
    assert verify(model, crops, progress=False).pairs == 16

    method = Method(lambda pair, model: torch.zeros(2, *size))
    game = HidingGame(crops)
    pairs = next(iter(game.chunks(model, progress=False)))
    assert pairs.images.shape == (16, 2, 3, *size)
    maps = torch.randn(16, 2, *size, generator=torch.Generator().manual_seed(1))
    assert all(len(values) == 16 for values in game.measure(model, pairs, maps, method).values())

    judge = localization("patch", crops)
    pairs = next(iter(judge.chunks(model, progress=False)))
    assert pairs.truth.shape == (8, 2, *size)
    different = (pairs.images[:, 0] != pairs.before[:, 0]).any(1)
    assert torch.equal(different & (pairs.truth[:, 0] == 0), torch.zeros_like(different))  # only inside the patch
    assert int(pairs.truth[:, 0].sum()) == 8 * 16 * 16
    assert all(len(values) == 8 for values in judge.measure(model, pairs, maps[:8], method).values())


def test_rendered_pairs_and_their_regions_come_in_the_size_of_the_network(monkeypatch):
    labelled = np.random.default_rng(0).integers(0, 9, (12, 112, 112, 4), dtype=np.uint8)
    monkeypatch.setattr("facexai.benchmarks.true_pairs.rendered_once", lambda *_, **__: labelled)
    source = RenderedPairs(pairs=4, part=4)
    _, images = next(source.render(lambda number: [], None, size=(112, 96), labels=True, progress=False))
    np.testing.assert_array_equal(images.reshape(12, 112, 96, 4), labelled[:, :, 8:104])


def test_images_that_are_no_aligned_crops_are_still_refused(crops):
    with pytest.raises(InputError, match="aligned faces must be 112 x 112 pixels, or 160 x 160"):
        embed_all(network((160, 160)), np.zeros((2, 250, 250, 3), np.uint8), progress=False)
