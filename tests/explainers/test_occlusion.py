"""Occlusion and MinPlus equal slow transcriptions: one covered image after the other."""

import math

import pytest
import torch
from explainer_toys import smooth_images, tiny_recognizer
from scipy.ndimage import gaussian_filter
from torch import Tensor

from facexai.explainers import explain
from facexai.pairs import FacePair


@pytest.fixture(scope="module")
def model():
    return tiny_recognizer().double()


@pytest.fixture(scope="module")
def pair() -> FacePair:
    probe, gallery = smooth_images(2).double()
    return FacePair(probe, gallery)


def covered(image: Tensor, top: int, left: int, side: int) -> Tensor:
    image = image.clone()
    image[:, top : top + side, left : left + side] = -1
    return image


@torch.no_grad()
@pytest.mark.parametrize("compare", ["clean", "all", "same-place"])
def test_occlusion_spreads_the_deviation_of_the_distance_over_each_patch(compare, model, pair):
    def distance(one: Tensor, other: Tensor) -> float:
        return 1 - float(torch.cosine_similarity(*model.pool(model.features(torch.stack([one, other]))), dim=0))

    sides, stride = (30, 50), 35
    expected = []
    for side in sides:
        places = [(top, left) for top in range(0, 112 - side, stride) for left in range(0, 112 - side, stride)]
        spread = torch.zeros(112, 112).double()
        for top, left in places:
            probe = covered(pair.probe, top, left, side)
            partners = {
                "clean": [pair.gallery],
                "all": [covered(pair.gallery, *place, side) for place in places],
                "same-place": [covered(pair.gallery, top, left, side)],
            }[compare]
            distances = [distance(probe, partner) for partner in partners]
            deviation = (sum(distances) / len(distances) - distance(pair.probe, pair.gallery)) / side**2
            spread[top : top + side, left : left + side] += deviation / len(places)
        expected.append(gaussian_filter(spread.numpy(), sigma=5, radius=2, mode="nearest"))
    signed = explain(pair, model, "occlusion", sides=sides, stride=stride, compare=compare).signed
    assert torch.allclose(signed[0], torch.from_numpy(sum(expected) / 2), atol=1e-12)
    assert float(signed.abs().max()) > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("parts", ["minus", "plus", "both"])
def test_min_plus_removes_and_shows_one_spot_after_the_other(parts, model, pair):
    width, stride = 14.0, 40
    partner = model.embed(pair.gallery[None])[0]

    def score(image: Tensor) -> float:
        return float(model.embed(image[None])[0] @ partner)

    rows, columns = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    bumps, minus, plus = [], [], []
    for row in range(20, 112, stride):
        for column in range(20, 112, stride):
            bump = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2).double() / (2 * width**2))
            unit_range = (pair.probe + 1) / 2  # black is 0, so that a product takes away
            bumps.append(bump)
            minus.append(score(pair.probe) - score(unit_range * (1 - bump) * 2 - 1))
            plus.append(score(unit_range * bump * 2 - 1) - score(torch.full_like(pair.probe, -1)))
    maps = {
        name: sum(value * bump for value, bump in zip(values, bumps, strict=True)) / sum(bumps)
        for name, values in (("minus", minus), ("plus", plus))
    }
    maps["both"] = sum(each / each.abs().max() for each in maps.values()) / 2
    signed = explain(pair, model, "min-plus", width=width, stride=stride, parts=parts).signed
    assert torch.allclose(signed[0], maps[parts], atol=1e-10)
    assert math.isclose(float(signed[0].abs().max()), float(maps[parts].abs().max()), rel_tol=1e-9)
