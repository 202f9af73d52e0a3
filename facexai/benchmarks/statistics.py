"""What can be said of a mean over pairs: bootstrap intervals, and paired differences between two methods.

Methods are compared on the same pairs, so what makes a pair easy or hard falls out of their difference: its interval is
far narrower than the two intervals suggest.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), percentile interval; DeLong, DeLong and
Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves" (1988), for `roc_contributions`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval
REPEATS, SEED = 2000, 42


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; nan where no pair counts."""

    mean: float
    low: float
    high: float

    @property
    def ci95(self) -> list[float]:
        """The two ends, as JSON has them."""
        return [self.low, self.high]


def bootstrap_interval(values: np.ndarray, *, repeats: int = REPEATS, seed: int = SEED) -> Interval:
    """Mean over pairs, with the interval of its bootstrap.

    Args:
        values: one number a pair; pairs with nan do not count. Shape (P,).
        repeats: resamples.
        seed: of the resamples; intervals of equally many pairs rest on the same ones.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    means = _resamples(len(values), repeats, seed) @ values / len(values)
    low, high = np.percentile(means, LEVEL)
    return Interval(float(values.mean()), float(low), float(high))


def cluster_interval(values: np.ndarray, cluster: np.ndarray, *, repeats: int = REPEATS, seed: int = SEED) -> Interval:
    """Mean over images, with the interval of a bootstrap that draws people, each with all images of theirs.

    Images of one person resemble one another, so there is less to be learnt from them than from as many people.

    Args:
        values: one number an image. Shape (N,).
        cluster: label of the person in each. Shape (N,).
        repeats: resamples.
        seed: of the resamples.

    Returns:
        Mean and interval; nan without images.
    """
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    _, label = np.unique(cluster, return_inverse=True)
    sums, counts = np.bincount(label, values), np.bincount(label)  # (K,)
    drawn = _resamples(len(sums), repeats, seed)
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), LEVEL)
    return Interval(float(np.mean(values)), float(low), float(high))


def paired_interval(values: np.ndarray, others: np.ndarray, *, repeats: int = REPEATS, seed: int = SEED) -> Interval:
    """Mean of `values - others` over the pairs where both count, with the interval of its bootstrap."""
    return bootstrap_interval(np.asarray(values) - np.asarray(others), repeats=repeats, seed=seed)


def bootstrap_statistic(
    function: Callable[[np.ndarray], float], pairs: int, *, repeats: int = REPEATS, seed: int = SEED
) -> Interval:
    """A statistic that is no mean over pairs, with the interval of its bootstrap.

    Args:
        function: the statistic of the pairs at these indices. (P,) -> float.
        pairs: how many there are.
        repeats: resamples, each of which calls `function`; those where it is nan are left out.
        seed: of the resamples.

    Returns:
        The statistic of all pairs (as `mean`) and its interval.
    """
    rng = np.random.default_rng(seed)
    drawn = [function(rng.integers(pairs, size=pairs)) for _ in range(repeats)]
    low, high = np.nanpercentile(drawn, LEVEL)
    return Interval(float(function(np.arange(pairs))), float(low), float(high))


def roc_contributions(scores: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """The area under the ROC as a mean over pairs, so that it is treated as every other metric.

    With V_i the share of impostor pairs below genuine pair i (ties count half), the area A is the mean of the V_i. Here
    a genuine pair contributes A + (V_i - A) P / G, with G of the P pairs genuine, and an impostor pair likewise. Their
    mean is A, and the variance of that mean is DeLong's.

    Args:
        scores: of the pairs. Shape (P,).
        genuine: which of them are genuine; both kinds are needed. Shape (P,), bool.

    Returns:
        Contributions. Shape (P,).
    """
    above = _share_below(scores[genuine], scores[~genuine])
    below = 1 - _share_below(scores[~genuine], scores[genuine])
    area = above.mean()
    contributions = np.empty(len(scores))
    contributions[genuine] = area + (above - area) * len(scores) / len(above)
    contributions[~genuine] = area + (below - area) * len(scores) / len(below)
    return contributions


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the others below each score; equal ones count half."""
    ordered = np.sort(others)
    left, right = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    return (left + right) / (2 * len(ordered))


@lru_cache(maxsize=4)
def _resamples(pairs: int, repeats: int, seed: int) -> np.ndarray:
    """How often each pair is drawn in each resample. Shape (repeats, pairs)."""
    return np.random.default_rng(seed).multinomial(pairs, np.full(pairs, 1 / pairs), size=repeats).astype(np.float64)
