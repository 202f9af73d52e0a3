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
from facexai.benchmarks.true_pairs import TruePairs
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
        unsigned = np.full(len(pairs), method.unsigned)
        return {"height": maps.mean((1, 2, 3)).double().numpy() + pairs.number, "unsigned": unsigned}

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
    assert difference is not None
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
    for rows in (np.array([1, 0]), np.array([True, True])):
        both = replace(pairs, truth=torch.arange(2)).part(rows)
        order = np.arange(2)[rows].tolist()
        assert (both.number.tolist(), both.genuine.tolist()) == (order, [number % 2 == 0 for number in order])
        assert both.truth is not None and both.truth.tolist() == order
        assert both.names == tuple("ab"[number] for number in order)


def test_part_of_pairs_leaves_columns_that_are_not_there_alone(model):
    pairs = TruePairs(**vars(next(MeanOfMap().chunks(model))))
    second = pairs.part(np.array([1]))
    assert (second.number.tolist(), second.before, second.drop.tolist(), second.names) == ([1], None, [], ())


def test_the_bar_runs_over_the_seconds_that_the_first_pair_lets_expect(monkeypatch):
    class Bar(SimpleNamespace):
        format_interval = staticmethod(leaderboard.tqdm.format_interval)

    monkeypatch.setattr(leaderboard, "tqdm", Bar)
    contenders = {"a": leaderboard.Contender(Marked(), cost=2.0), "b": leaderboard.Contender(Marked(), cost=0.5)}
    bar = leaderboard.time_bar(contenders, 60, "game", progress=True)
    assert (bar.total, bar.desc, bar.disable) == (150.0, "game: 2 methods, 60 pairs, about 02:30", None)
    contenders["a"].limit = 10
    assert leaderboard.time_bar(contenders, 60, "game", progress=True).total == 50.0
    contenders["a"].limit = 100
    assert leaderboard.time_bar(contenders, 60, "game", progress=True).total == 150.0
    unknown = leaderboard.time_bar(contenders, 0, "game", progress=False)
    assert (unknown.total, unknown.disable) == (None, True)


# Fewer pairs for single methods

DRAWN = [4, 2, 3, 1, 0]  # np.random.default_rng(42).permutation(PAIRS)


def by_method(results) -> dict:
    return {line.method: line for line in results.standings}


def explained(value: float) -> list[str]:
    """Names of the pairs that were explained by the map of this value, but for the two trials on the first one."""
    return [name for of, name in CALLS if of == value][2:]


def test_a_limited_method_is_explained_and_judged_on_the_first_pairs_of_the_draw_alone(model, registry):
    class Plain(MeanOfMap):
        def measure(self, model, pairs, maps, method):
            return {"height": maps.mean((1, 2, 3)).double().numpy() + pairs.number}

        def details(self, records, pairs):
            return {"folds": pairs.fold.tolist(), "heights": records["height"].tolist()}

    methods = {"two": Marked(2.0), "three": Marked(3.0), "four": Marked(4.0), "many": Marked(5.0)}
    limits = {"two": 2, "three": 3, "four": 2, "many": 99}
    (results,) = judge_methods([Plain()], model, methods, limits=limits, progress=False)
    lines = by_method(results)
    for label, value, count in (("two", 2.0, 2), ("three", 3.0, 3), ("four", 4.0, 2), ("many", 5.0, PAIRS)):
        own = sorted(DRAWN[:count])
        assert explained(value) == [f"pair {number}" for number in own]
        assert lines[label].details == {"folds": own, "heights": [value + number for number in own]}
        assert lines[label].pairs == results.to_json()["methods"][label]["pairs"] == count
        assert lines[label].scores["height"].interval.mean == value + np.mean(own)
    assert (lines["ddfv"].pairs, results.pairs) == (PAIRS, PAIRS)


def test_the_difference_is_to_ddfv_on_the_common_pairs_and_ranks_follow_it(model, registry):
    methods = {"low": Marked(0.5), "high": Marked(1.25)}
    (results,) = judge_methods([MeanOfMap()], model, methods, limits={"low": 2}, progress=False)
    assert [line.method for line in results.standings] == ["high", "ddfv", "low"]
    low = by_method(results)["low"].scores["height"]
    assert low.interval.mean == 3.5 > by_method(results)["high"].scores["height"].interval.mean
    assert low.minus_reference is not None
    assert (low.minus_reference.mean, low.minus_reference.low) == (-0.5, -0.5)


def test_the_reference_may_be_judged_on_fewer_pairs_as_well(model, registry):
    methods = {"low": Marked(0.5), "high": Marked(1.5)}
    (results,) = judge_methods([MeanOfMap()], model, methods, limits={"ddfv": 2, "low": 3}, progress=False)
    lines = by_method(results)
    differences = {label: line.scores["height"].minus_reference for label, line in lines.items()}
    assert {label: (of.mean, of.low) for label, of in differences.items() if of} == {
        "high": (0.5, 0.5),
        "ddfv": (0.0, 0.0),
        "low": (-0.5, -0.5),
    }
    assert {label: line.pairs for label, line in lines.items()} == {"high": PAIRS, "ddfv": 2, "low": 3}


class AboveLowest(MeanOfMap):
    """How far above the lowest of all pairs: no pair's value is its own alone, as in the hiding game."""

    def finish(self, records, pairs):
        assert len(records["height"]) == len(pairs.genuine)
        return {"height": records["height"] - records["height"].min()}


def test_what_is_found_over_all_pairs_is_found_over_the_common_ones_for_both_sides(model, registry):
    methods, limits = {"two": Marked(2.0), "three": Marked(3.0)}, {"two": 2}
    (results,) = judge_methods([AboveLowest()], model, methods, limits=limits, progress=False)
    two = by_method(results)["two"].scores["height"]
    assert two.interval.mean == 1.0  # pairs 2 and 4, above 2
    assert two.minus_reference is not None and two.minus_reference.mean == 0.0
    (results,) = judge_methods([AboveLowest()], model, methods, limits={"ddfv": 2}, progress=False)
    three = by_method(results)["three"].scores["height"]
    assert three.interval.mean == 2.0  # all pairs, above 0
    assert three.minus_reference is not None and three.minus_reference.mean == 0.0


def test_a_method_whose_pairs_are_too_few_for_a_judge_is_left_out_and_the_run_is_not_lost(model, registry):
    class Demanding(MeanOfMap):
        def finish(self, records, pairs):
            if pairs.genuine.all():
                raise InputError("needs impostor pairs")
            return super().finish(records, pairs)

    mean, demanding = judge_methods(
        [MeanOfMap(), Demanding()], model, {"few": Marked(2.0)}, limits={"few": 2}, progress=False
    )
    assert set(by_method(mean)) == {"few", "ddfv"}
    assert set(by_method(demanding)) == {"ddfv"}
    assert demanding.skipped == {"few": "judged on 2 pairs, which are too few: needs impostor pairs"}
    assert mean.skipped == {}


def test_where_the_number_of_pairs_is_not_known_every_method_gets_all(model, registry):
    class Endless(MeanOfMap):
        def chunks(self, model, limit=None, *, progress=True):
            return (replace(pairs, total=0) for pairs in super().chunks(model, limit))

    (results,) = judge_methods([Endless()], model, {"two": Marked(2.0)}, limits={"two": 2}, progress=False)
    assert by_method(results)["two"].pairs == PAIRS


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"tow": 2}, "'tow', which takes no part; choose from ddfv, two"),
        ({"two": 0}, "at least 1 pair; got a limit of 0 for 'two'"),
        ({"unfit": 2}, "'unfit', which takes no part; choose from ddfv, two"),
    ],
)
def test_a_limit_that_cannot_be_is_an_error_of_one_line_before_any_work(model, registry, limits, message):
    registry["unfit"] = Unfit
    with pytest.raises(InputError, match=message) as caught:
        judge_methods([MeanOfMap()], model, {"two": Marked(2.0)}, limits=limits, progress=False)
    assert "\n" not in str(caught.value)
    assert CALLS == []


def test_every_registered_method_takes_part_beside_those_that_were_asked_for(model, registry):
    registry |= {"unfit": Unfit, "five": lambda: Marked(5.0)}
    (results,) = judge_methods(
        [MeanOfMap()], model, {"two": Marked(2.0)}, limits={"unfit": 2, "five": 3}, every=True, progress=False
    )
    assert {label: line.pairs for label, line in by_method(results).items()} == {"ddfv": PAIRS, "two": PAIRS, "five": 3}
    assert results.skipped == {"unfit": "needs another network"}
