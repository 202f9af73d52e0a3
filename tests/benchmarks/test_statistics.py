"""Intervals cover what they should, and paired ones are those of the differences."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from facexai.benchmarks.statistics import (
    bootstrap_interval,
    bootstrap_statistic,
    paired_interval,
    roc_contributions,
)


def test_the_interval_is_that_of_the_normal_approximation_for_many_pairs():
    values = np.random.default_rng(0).normal(3, 2, 4000)
    interval = bootstrap_interval(values)
    error = values.std() / np.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.ci95 == pytest.approx([values.mean() - 1.96 * error, values.mean() + 1.96 * error], abs=0.1 * error)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [bootstrap_interval(rng.random(100) < 0.7, repeats=400) for _ in range(300)]
    covered = np.mean([interval.low <= 0.7 <= interval.high for interval in intervals])
    assert 0.91 <= covered <= 0.98


def test_pairs_that_do_not_count_are_left_out():
    values = np.array([1.0, np.nan, 3.0, np.nan])
    assert bootstrap_interval(values) == bootstrap_interval(np.array([1.0, 3.0]))
    assert np.isnan(bootstrap_interval(np.array([np.nan])).ci95).all()
    assert paired_interval(values, np.array([0.0, 0.0, np.nan, 0.0])).ci95 == [1.0, 1.0]


def test_a_paired_interval_is_that_of_resampled_differences_of_means():
    rng = np.random.default_rng(2)
    others = rng.normal(0, 5, 200)
    values = others + rng.normal(0.5, 0.5, 200)
    paired = paired_interval(values, others)
    draws = np.random.default_rng(42).multinomial(200, np.full(200, 1 / 200), size=2000)
    direct = draws @ values / 200 - draws @ others / 200
    assert paired.ci95 == pytest.approx(list(np.percentile(direct, [2.5, 97.5])))
    assert paired.low > 0 > bootstrap_interval(values).low  # what the pairs have in common falls out


def test_a_statistic_that_is_a_mean_has_the_interval_of_the_mean():
    values = np.random.default_rng(3).normal(0, 1, 300)
    interval = bootstrap_statistic(lambda pairs: float(values[pairs].mean()), len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.ci95 == pytest.approx(bootstrap_interval(values).ci95, abs=0.02)


@pytest.mark.parametrize("digits", [1, 6])  # with ties, and without
def test_roc_contributions_have_the_area_as_mean_and_its_interval(digits: int):
    rng = np.random.default_rng(4)
    genuine = rng.random(240) < 0.3
    scores = np.round(rng.normal(np.where(genuine, 0.8, 0.0), 1.0), digits)
    interval = bootstrap_interval(roc_contributions(scores, genuine))
    direct = bootstrap_statistic(lambda pairs: roc_auc_score(genuine[pairs], scores[pairs]), 240, repeats=1000)
    assert interval.mean == pytest.approx(roc_auc_score(genuine, scores))
    assert interval.ci95 == pytest.approx(direct.ci95, abs=0.15 * (direct.high - direct.low))
