"""Explainers meet judges: each pair is explained once a method, and every judge gets the same maps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from facexai import leaderboard
from facexai.benchmarks import Judge, JudgedPairs, Metric
from facexai.errors import InputError
from facexai.explainers import Centre, Random
from facexai.leaderboard import judge_methods
from facexai.models import build
from facexai.pairs import Saliency

PAIRS = 5


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build("mobilefacenet").train()


@dataclass(frozen=True)
class Marked:
    """A map that is the same number everywhere."""

    value: float = 1.0
    unsigned = False

    def __call__(self, pair, model) -> Saliency:
        assert not model.training
        CALLS.append((self.value, pair.name))
        return Saliency(torch.full((2, 112, 112), self.value), 0.0, repr(self))


@dataclass(frozen=True)
class Unfit:
    def __call__(self, pair, model) -> Saliency:
        raise InputError("needs another network")


CALLS: list[tuple[float, str]] = []


class MeanOfMap(Judge):
    """The mean of the map plus the number of the pair."""

    name = "mean"
    metrics = (Metric("height", percent=False),)

    def chunks(self, model, limit=None, *, progress=True) -> Iterator[JudgedPairs]:
        for start in range(0, PAIRS, 2):
            number = np.arange(start, min(start + 2, PAIRS))
            images = torch.zeros(len(number), 3, 112, 112)
            nan = np.full(len(number), np.nan)
            yield JudgedPairs(images, images, number % 2 == 0, number, number, nan, nan, total=PAIRS)

    def measure(self, model, pairs, maps: Tensor, method) -> dict[str, np.ndarray]:
        again = method.explain(next(pairs.face_pairs()), model)
        assert torch.equal(again, maps[0])
        return {"height": maps.mean((1, 2, 3)).double().numpy() + pairs.number, "unsigned": np.array([method.unsigned])}

    def details(self, records, pairs):
        return {"unsigned": bool(records["unsigned"].any()), "folds": pairs.fold.tolist()}


class LowestMap(MeanOfMap):
    name = "lowest"
    metrics = (Metric("height", "lower", percent=False),)


@pytest.fixture
def registry(monkeypatch):
    """`ddfv` is the map of ones; nothing else is registered but what the test adds."""
    known = {"ddfv": Marked}
    monkeypatch.setattr(leaderboard, "EXPLAINERS", known)
    monkeypatch.setattr(leaderboard, "make_explainer", lambda name: known[name]())
    CALLS.clear()
    return known


def test_every_judge_ranks_by_its_own_metric_and_differences_are_to_ddfv(model, registry):
    mean, lowest = judge_methods([MeanOfMap(), LowestMap()], model, {"three": Marked(3.0)}, progress=False)
    assert [line.method for line in mean.standings] == ["three", "ddfv"]
    assert [line.method for line in lowest.standings] == ["ddfv", "three"]
    difference = mean.standings[0].scores["height"].minus_reference
    assert (difference.mean, difference.low, difference.high) == (2.0, 2.0, 2.0)
    assert mean.standings[1].scores["height"].interval.mean == 1 + np.mean(range(PAIRS))
    assert (mean.pairs, mean.standings[0].details["folds"]) == (PAIRS, [*range(PAIRS)])


def test_a_pair_is_explained_once_for_all_judges(model, registry):
    class Counting(MeanOfMap):
        def measure(self, model, pairs, maps, method):
            return {"height": maps.mean((1, 2, 3)).double().numpy()}

        def details(self, records, pairs):
            return {}

    one, other = judge_methods([Counting(), Counting()], model, {"ddfv": Marked()}, progress=False)
    assert one.to_json()["methods"] == other.to_json()["methods"]
    assert one.pairs == PAIRS
    trials = 2  # of the first pair
    assert len(CALLS) == PAIRS + trials
    assert [name for _, name in CALLS[trials:]] == [f"pair {number}" for number in range(PAIRS)]


def test_the_model_is_judged_in_eval_mode_and_left_in_its_own(model, registry):
    model.train()
    judge_methods([MeanOfMap()], model, progress=False)
    assert model.training


def test_a_registered_method_that_does_not_fit_is_left_out_and_one_that_was_asked_for_is_an_error(model, registry):
    registry["unfit"] = Unfit
    (results,) = judge_methods([MeanOfMap()], model, progress=False)
    assert [line.method for line in results.standings] == ["ddfv"]
    assert results.skipped == {"unfit": "needs another network"}
    with pytest.raises(InputError, match="needs another network"):
        judge_methods([MeanOfMap()], model, {"unfit": Unfit()}, progress=False)


def test_baselines_are_marked_and_judges_know_which_maps_have_no_sign(model, registry):
    (results,) = judge_methods([MeanOfMap()], model, {"centre": Centre(), "noise": Random()}, progress=False)
    assert {line.method: line.baseline for line in results.standings} == {"centre": True, "noise": True, "ddfv": False}
    assert {line.method: line.details["unsigned"] for line in results.standings}["centre"]


def test_a_map_that_is_not_finite_stops_the_run(model, registry):
    with pytest.raises(InputError, match="not finite"):
        judge_methods([MeanOfMap()], model, {"broken": Marked(float("nan"))}, progress=False)


def test_seconds_are_those_of_explaining_alone(model, registry, monkeypatch):
    now = [0.0]

    @dataclass(frozen=True)
    class Slow(Marked):
        def __call__(self, pair, model):
            now[0] += 7.0
            return super().__call__(pair, model)

    class SlowJudge(MeanOfMap):
        def measure(self, model, pairs, maps, method):
            now[0] += 100.0
            return {"height": np.zeros(len(pairs))}

        def details(self, records, pairs):
            return {}

    monkeypatch.setattr(leaderboard, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    (results,) = judge_methods([SlowJudge()], model, {"ddfv": Slow()}, progress=False)
    assert results.standings[0].seconds_per_pair == 7.0


def test_part_of_some_pairs_is_those_pairs_in_every_column(model):
    pairs = replace(next(MeanOfMap().chunks(model)), names=("a", "b"))
    second = pairs.part(slice(1, 2))
    assert (len(second), second.names, second.number.tolist(), second.total) == (1, ("b",), [1], PAIRS)
    assert second.probe.shape == (1, 3, 112, 112)


def test_the_bar_runs_over_the_seconds_that_the_first_pair_lets_expect(monkeypatch):
    class Bar(SimpleNamespace):
        format_interval = staticmethod(leaderboard.tqdm.format_interval)

    monkeypatch.setattr(leaderboard, "tqdm", Bar)
    contenders = {"a": leaderboard.Contender(Marked(), cost=2.0), "b": leaderboard.Contender(Marked(), cost=0.5)}
    bar = leaderboard.time_bar(contenders, 60, "game", progress=True)
    assert (bar.total, bar.desc, bar.disable) == (150.0, "game: 2 methods, 60 pairs, about 02:30", None)
    unknown = leaderboard.time_bar(contenders, 0, "game", progress=False)
    assert (unknown.total, unknown.disable) == (None, True)
