"""Results are packed without loss, compared on the same pairs only, and McNemar's test is that of a book."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from facexai.benchmarks import VerificationSet, measure
from facexai.benchmarks.comparison import ScoredPairs, compare
from facexai.benchmarks.records import compare_results, intervals, pack_pairs, read_scored
from facexai.errors import InputError

PAIRS = 400
GENUINE = np.arange(PAIRS) % 2 == 0
FOLD = np.arange(PAIRS) * 10 // PAIRS


def result(tmp_path, noise, *, people=None, name="net", images="a"):
    rng = np.random.default_rng(0)
    scores = np.clip(np.where(GENUINE, 0.5, 0.1) + noise * rng.normal(size=PAIRS), -1, 1)
    report = measure(scores, GENUINE, FOLD, name="toy")
    rows = np.arange(2 * PAIRS)
    data = VerificationSet("toy", np.zeros(0), rows[::2], rows[1::2], GENUINE, FOLD, identity=people)
    packed = {"model": name, **report.to_json(), "data": {"pairs_sha256": images}, "scored": pack_pairs(report, data)}
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(packed))
    return file, report


def test_scores_and_decisions_come_back_bit_by_bit(tmp_path):
    people = np.arange(2 * PAIRS) // 7
    file, report = result(tmp_path, 0.3, people=people)
    read = read_scored(file)
    assert np.array_equal(read.scores, report.scores)
    assert np.array_equal(read.correct, report.correct)
    assert np.array_equal(read.pairs.genuine, GENUINE) and np.array_equal(read.pairs.fold, FOLD)
    assert np.array_equal(read.pairs.people, people.reshape(-1, 2))
    assert read.correct.mean() == pytest.approx(report.accuracy)
    assert 0.5 < report.accuracy < 0.95


def test_a_result_minus_itself_is_nothing(tmp_path):
    read = read_scored(result(tmp_path, 0.3)[0])
    gain = compare_results(read, read, repeats=50)
    assert (gain["accuracy"]["difference"], gain["accuracy"]["ci95"]) == (0, [0, 0])
    assert gain["mcnemar"] == {"only_first": 0, "only_second": 0, "p_value": 1.0}


def test_the_difference_is_paired_and_mcnemar_is_a_binomial_test(tmp_path):
    (better, one), (worse, other) = result(tmp_path, 0.2, name="b"), result(tmp_path, 0.5, name="w")
    gain = compare_results(read_scored(better), read_scored(worse), repeats=300)
    assert gain["accuracy"]["difference"] == pytest.approx(one.accuracy - other.accuracy)
    low, high = gain["accuracy"]["ci95"]
    assert 0 < low < gain["accuracy"]["difference"] < high
    only_first = sum(a and not b for a, b in zip(one.correct, other.correct, strict=True))
    only_second = sum(b and not a for a, b in zip(one.correct, other.correct, strict=True))
    test = gain["mcnemar"]
    assert (test["only_first"], test["only_second"]) == (only_first, only_second)
    tail = 2 * binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    assert test["p_value"] == pytest.approx(min(1, tail))


def test_intervals_are_wider_where_few_people_make_many_pairs(tmp_path):
    people = np.arange(2 * PAIRS) // 2 // 40  # ten people, forty pairs of each
    first, second = (read_scored(result(tmp_path, noise, people=people)[0]) for noise in (0.2, 0.5))
    assert compare_results(first, second, repeats=50)["resampled"] == "people"
    loose = replace(first, clustered=False), replace(second, clustered=False)
    assert compare_results(*loose, repeats=50)["resampled"] == "pairs"


def test_the_interval_of_one_result_is_wider_where_few_people_make_many_pairs():
    rng = np.random.default_rng(0)
    person = np.arange(2 * PAIRS) // 2 % 10 + 10 * (np.arange(2 * PAIRS) % 2) * ~np.repeat(GENUINE, 2)
    offset = rng.normal(size=20)[person[::2]]  # some people are harder than others
    report = measure(np.tanh(GENUINE + offset + 0.1 * rng.normal(size=PAIRS)), GENUINE, FOLD)
    rows = np.arange(2 * PAIRS)
    data = VerificationSet("toy", np.zeros(0), rows[::2], rows[1::2], GENUINE, FOLD)
    found = {
        who: intervals(report, replace(data, identity=who_is))
        for who, who_is in {"no one": None, "known": person}.items()
    }
    assert [entry["resampled"] for entry in found.values()] == ["pairs", "people"]
    for metric in ("accuracy", "auc", "eer"):
        (low, high), (wide_low, wide_high) = (entry["ci95"][metric] for entry in found.values())
        assert wide_low < low < getattr(report, metric) < high < wide_high, metric


def test_draws_in_blocks_are_the_draws_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    pairs = ScoredPairs(GENUINE, FOLD, np.arange(2 * PAIRS).reshape(-1, 2) // 7)
    scores = {name: [rng.uniform(-1, 1, PAIRS) for _ in range(2)] for name in "ab"}
    at_once = compare(scores, pairs, ["a"], repeats=50)
    monkeypatch.setattr("facexai.benchmarks.comparison.MOST", 7 * PAIRS)  # seven blocks of 7, and one draw
    assert compare(scores, pairs, ["a"], repeats=50) == at_once


def test_results_of_other_pairs_are_not_compared(tmp_path):
    one, other = (read_scored(result(tmp_path, 0.2, images=images)[0]) for images in "ab")
    with pytest.raises(InputError, match=r"must be of the same pairs; got toy \(400 pairs\)"):
        compare_results(one, other)
    moved = replace(one, pairs=replace(one.pairs, genuine=~GENUINE))
    with pytest.raises(InputError, match="must be of the same pairs"):
        compare_results(one, moved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ("[1]", "holds no scores of pairs"),
        ('{"model": "x", "pairs": 4}', "holds no scores of pairs; write it with facexai benchmark --scores"),
        ('{"pairs": 4, "scored": {"scores": "%%%"}}', "holds no scores"),
    ],
)
def test_files_that_hold_no_scores_are_named(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_scored(tmp_path / "x.json")
