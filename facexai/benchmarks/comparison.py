"""Comparison: networks or modules on one benchmark, with intervals of what one gains over another.

The people of a benchmark are drawn anew, each with all pairs that show them: pairs share people, so a bootstrap over
pairs would find intervals that are too narrow.

Source: Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics, 2007), for pairs of two people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facexai.benchmarks.statistics import LEVEL, SEED
from facexai.benchmarks.verification import VerificationReport, measure
from facexai.errors import InputError

METRICS = ("accuracy", "auc", "eer")
MOST = 10_000_000  # pairs times resamples of a block; it takes some ten times as many bytes in each of six arrays


@dataclass(frozen=True)
class ScoredPairs:
    """The pairs of a benchmark and who is in them.

    Args:
        genuine: one identity or two. Shape (P,), bool.
        fold: number of the fold. Shape (P,).
        people: label of the person in each image. Shape (P, 2).
    """

    genuine: np.ndarray
    fold: np.ndarray
    people: np.ndarray


def compare(
    scores: Mapping[str, Sequence[np.ndarray]],
    pairs: ScoredPairs,
    baselines: Sequence[str],
    *,
    repeats: int = 1000,
    seed: int = SEED,
) -> dict[str, dict[str, Any]]:
    """Accuracy, AUC and EER of each row, and their differences to some rows, with 95 % intervals.

    Args:
        scores: by the name of the row, cosines (P,) of one or more runs that differ in their seed; a row's figures are
            means over its runs.
        pairs: what was scored.
        baselines: rows with which all are compared; the same draw of people for both.
        repeats: resamples.
        seed: of the resamples.

    Returns:
        By row and metric: `"mean"`, `"ci95"`, `"seeds"` (one value a run), and for each baseline `"minus_NAME"` with
        `"mean"` and `"ci95"`.

    Raises:
        InputError: a baseline that is no row.

    Deviations:
        Intervals hold the thresholds of the accuracy fixed, and the training of the rows.
    """
    unknown = [name for name in baselines if name not in scores]
    if unknown:
        raise InputError(f"unknown baseline '{unknown[0]}'; the rows are {', '.join(scores)}")
    rng = np.random.default_rng(seed)
    at_once = max(1, MOST // len(pairs.genuine))
    sizes = [min(at_once, repeats - start) for start in range(0, repeats, at_once)]
    weights = (people_weights(pairs, size, rng) for size in sizes)
    figures = _figures(scores, pairs, weights)
    report: dict[str, dict[str, Any]] = {}
    for name, runs in figures.items():
        report[name] = {}
        for metric in METRICS:
            values, drawn = _means(runs, metric)
            entry: dict[str, Any] = {
                "mean": float(values.mean()),
                "ci95": _interval(drawn),
                "seeds": [float(value) for value in values],
            }
            for other in baselines:
                their_values, theirs = _means(figures[other], metric)
                gap = float(values.mean() - their_values.mean())
                entry[f"minus_{other}"] = {"mean": gap, "ci95": _interval(drawn - theirs)}
            report[name][metric] = entry
    return report


def people_weights(
    pairs: ScoredPairs, repeats: int, seed: int | Sequence[int] | np.random.Generator = SEED
) -> np.ndarray:
    """How often each pair counts in each resample of the people. Shape (repeats, P).

    A pair of two people counts w_a w_b times, a pair of one person w_a times.
    """
    labels, position = np.unique(pairs.people, return_inverse=True)
    position = position.reshape(pairs.people.shape)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), size=repeats)  # (R, K)
    first, second = drawn[:, position[:, 0]], drawn[:, position[:, 1]]
    return np.where(position[:, 0] == position[:, 1], first, first * second).astype(np.float64)


def _figures(
    scores: Mapping[str, Sequence[np.ndarray]], pairs: ScoredPairs, weights: Iterable[np.ndarray]
) -> dict[str, list[dict[str, tuple[float, np.ndarray]]]]:
    """Each metric of each run as it is, and in every resample; the weights of the resamples come in blocks."""
    reports = {name: [measure(run, pairs.genuine, pairs.fold) for run in runs] for name, runs in scores.items()}
    blocks = [{name: [_drawn(report, block) for report in runs] for name, runs in reports.items()} for block in weights]
    return {
        name: [
            {
                metric: (getattr(report, metric), np.concatenate([block[name][number][metric] for block in blocks]))
                for metric in METRICS
            }
            for number, report in enumerate(runs)
        ]
        for name, runs in reports.items()
    }


def _drawn(report: VerificationReport, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric in every resample. Weights (R, P) -> (R,) each."""
    with np.errstate(invalid="ignore"):
        accuracy = weights @ report.correct / weights.sum(1)
    far, tar = weighted_roc(report.scores, report.genuine, weights)
    return {"accuracy": accuracy, "auc": area(far, tar), "eer": _crossing(far, 1 - tar)}


def weighted_roc(scores: np.ndarray, genuine: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FAR and TAR at each pair, from the highest score down, in every resample.

    Args:
        scores: cosines. Shape (P,).
        genuine: one identity or two. Shape (P,), bool.
        weights: how often each pair counts in each resample. Shape (R, P).

    Returns:
        Shapes (R, P); nan where a resample has no pair of that kind.
    """
    order = np.argsort(-scores, kind="stable")
    genuine = genuine[order]
    accepted = np.cumsum(weights[:, order] * genuine, axis=1)  # genuine weight from the top down to each pair
    false = np.cumsum(weights[:, order] * ~genuine, axis=1)
    with np.errstate(invalid="ignore"):
        return false / false[:, -1:], accepted / accepted[:, -1:]


def area(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    """Under the ROC. Two of (R, P) -> (R,)."""
    return (np.diff(far, axis=1, prepend=0) * tar).sum(1)


def _crossing(far: np.ndarray, frr: np.ndarray) -> np.ndarray:
    """Where the two error rates meet, on the straight line between two points of each ROC. (R, P) -> (R,)."""
    rows = np.arange(len(far))
    after = np.argmax(far >= frr, axis=1)
    before = np.maximum(after - 1, 0)
    gap_after, gap_before = (far - frr)[rows, after], (far - frr)[rows, before]
    rise = gap_after - gap_before
    share = np.where(rise > 0, -gap_before / np.where(rise > 0, rise, 1), 0)
    return far[rows, before] + share * (far[rows, after] - far[rows, before])


def _means(runs: list[dict[str, tuple[float, np.ndarray]]], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """The metric of each run (S,), and its mean over the runs in every resample (R,)."""
    return np.array([run[metric][0] for run in runs]), np.mean([run[metric][1] for run in runs], axis=0)


def _interval(drawn: np.ndarray) -> list[float]:
    return [float(end) for end in np.nanpercentile(drawn, LEVEL)]
