"""Metrics of a map against a known truth: answers by hand, and scikit-learn as the oracle."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from facexai.benchmarks import relevance as module
from facexai.benchmarks.relevance import area_under_curve, mass, pointing, rank

METRICS = (mass, rank, pointing, area_under_curve)
TRUTH = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)  # 2 of 8 pixels


def of_one(metric, values: list[list[float]], truth: Tensor = TRUTH) -> float:
    return metric(torch.tensor([values]), truth[None]).item()


@pytest.mark.parametrize("metric", METRICS)
def test_the_truth_itself_is_perfect(metric):
    assert metric(TRUTH[None].float(), TRUTH[None]).item() == 1


@pytest.mark.parametrize("metric", METRICS)
def test_the_opposite_of_the_truth_is_worthless(metric):
    assert metric((~TRUTH)[None].float(), TRUTH[None]).item() == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_even_map_gets_what_chance_gets(value: float):
    even = torch.full((1, 2, 4), value)
    assert [metric(even, TRUTH[None]).item() for metric in METRICS] == [0.25, 0.25, 0.25, 0.5]


def test_mass_by_hand():
    assert of_one(mass, [[3.0, 1.0, 4.0, 0.0], [0.0, 0.0, 0.0, 8.0]]) == 4 / 16


def test_rank_by_hand():
    """The two highest are 9 (inside) and one of the three fives, of which one lies inside."""
    assert of_one(rank, [[9.0, 5.0, 5.0, 0.0], [5.0, 0.0, 0.0, 0.0]]) == pytest.approx((1 + 1 / 3) / 2)


def test_pointing_by_hand():
    assert of_one(pointing, [[9.0, 5.0, 5.0, 0.0], [5.0, 0.0, 0.0, 0.0]]) == 1
    assert of_one(pointing, [[9.0, 5.0, 9.0, 0.0], [9.0, 9.0, 0.0, 0.0]]) == 1 / 4


def test_area_under_curve_agrees_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 6, (5, 8, 9), generator=generator).float()  # many ties
    truth = torch.rand(5, 8, 9, generator=generator) < 0.3
    weights = torch.rand(5, 8, 9, generator=generator) + 0.1
    plain, weighted = area_under_curve(maps, truth), area_under_curve(maps, truth, weights)
    for index in range(5):
        labels, scores = truth[index].flatten().numpy(), maps[index].flatten().numpy()
        assert plain[index].item() == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        drawn = torch.where(truth[index], weights[index], 1).flatten().numpy()
        assert weighted[index].item() == pytest.approx(roc_auc_score(labels, scores, sample_weight=drawn), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_maps_are_measured_one_by_one(metric):
    generator = torch.Generator().manual_seed(1)
    maps, truth = torch.rand(3, 8, 9, generator=generator), torch.rand(3, 8, 9, generator=generator) < 0.4
    alone = torch.cat([metric(maps[i : i + 1], truth[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(metric(maps, truth), alone)
    assert len(set(alone.tolist())) > 1 or metric is module.pointing


@pytest.mark.parametrize("metric", METRICS)
def test_the_scale_of_a_map_does_not_matter(metric):
    maps = torch.rand(2, 8, 9, generator=torch.Generator().manual_seed(2))
    truth = maps.roll(1, 2) > 0.5
    torch.testing.assert_close(metric(maps * 1e-9, truth), metric(maps, truth))
