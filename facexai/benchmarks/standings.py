"""What a judge says of several methods: means, intervals, differences to the reference, ranks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from facexai.benchmarks.judges import Metric
from facexai.benchmarks.statistics import Interval, bootstrap_interval, paired_interval

REFERENCE = "ddfv"  # every method is compared with it
TIE = 12  # decimals; what differs less is rounding


@dataclass(frozen=True)
class Score:
    """A method on one metric.

    Args:
        interval: mean over the pairs.
        minus_reference: mean of the differences to the reference on the same pairs; None without a reference.
    """

    interval: Interval
    minus_reference: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Numbers that JSON has; null for nan."""
        difference = self.minus_reference
        return {
            "mean": number(self.interval.mean),
            "ci95": [number(end) for end in self.interval.ci95],
            f"minus_{REFERENCE}": None
            if difference is None
            else {"mean": number(difference.mean), "ci95": [number(end) for end in difference.ci95]},
        }


@dataclass(frozen=True)
class Standing:
    """One line of a table.

    Args:
        method: what it is called.
        explainer: the method with its options.
        baseline: it looks at the faces at most, never at the comparison.
        pairs: on how many it was judged.
        seconds_per_pair: of explaining.
        scores: by metric.
        details: curves and the like.
    """

    method: str
    explainer: str
    baseline: bool
    pairs: int
    seconds_per_pair: float
    scores: Mapping[str, Score]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """What one judge says of the methods, best first.

    Args:
        judge: its name.
        settings: the judge with its options.
        metrics: the first one ranks.
        model: the explained network.
        rendered: whether the faces are rendered.
        pairs: how many were judged, by the method that was judged on most.
        standings: best first.
        skipped: methods that do not fit the model, with the reason.
    """

    judge: str
    settings: str
    metrics: tuple[Metric, ...]
    model: str
    rendered: bool
    pairs: int
    standings: Sequence[Standing]
    skipped: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types. Of each method the first metric stands by its name, all of them under `metrics`."""
        return {
            "judge": self.judge,
            "settings": self.settings,
            "model": self.model,
            "rendered": self.rendered,
            "pairs": self.pairs,
            "metrics": [{"name": m.name, "better": m.better, "meaning": m.meaning} for m in self.metrics],
            "methods": {standing.method: self._method_json(standing) for standing in self.standings},
            "skipped": dict(self.skipped),
        }

    def _method_json(self, standing: Standing) -> dict[str, Any]:
        scores = {metric.name: standing.scores[metric.name].to_json() for metric in self.metrics}
        ranking = scores[self.metrics[0].name]
        return {
            self.metrics[0].name: ranking["mean"],
            "ci95": ranking["ci95"],
            f"minus_{REFERENCE}": ranking[f"minus_{REFERENCE}"],
            "pairs": standing.pairs,
            "seconds_per_pair": standing.seconds_per_pair,
            "baseline": standing.baseline,
            "explainer": standing.explainer,
            "metrics": scores,
            **standing.details,
        }


def ranked(standings: Sequence[Standing], metric: Metric) -> list[Standing]:
    """Best first by this metric (see `losing`); where nothing counted, last."""
    means = {standing.method: standing.scores[metric.name].to_json() for standing in standings}
    keys = losing(means, metric.better)
    return sorted(standings, key=lambda standing: keys[standing.method])


def compared(
    values: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray] | None,
    common: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Score]:
    """Mean, difference to the reference, and their intervals, by metric.

    Args:
        values: of the method, on its pairs. Each of shape (P,).
        reference: values of the reference, on the pairs of both. Each of shape (Q,).
        common: those of the method on the pairs of both, where these are not its own. Each of shape (Q,).
    """
    common = values if common is None else common
    return {
        name: Score(
            bootstrap_interval(column),
            None if reference is None else paired_interval(common[name], reference[name]),
        )
        for name, column in values.items()
    }


def losing(scores: Mapping[str, Mapping[str, Any]], better: str) -> dict[str, float]:
    """What to sort and rank methods by, on one metric: lowest for the best, infinite where nothing counted.

    It is the mean difference to the reference, 0 for the reference itself: the means of methods that were not judged on
    the same pairs do not compare. Where there is no such difference, it is the difference of the means; where there is
    no reference, the mean.

    Args:
        scores: by method, as `Score.to_json` has them.
        better: which end is good.
    """
    sign = -1 if better == "higher" else 1
    start = scores.get(REFERENCE, {}).get("mean") or 0.0
    keys = {}
    for method, score in scores.items():
        mean, difference = score.get("mean"), (score.get(f"minus_{REFERENCE}") or {}).get("mean")
        if mean is None:
            keys[method] = np.inf
        else:
            keys[method] = round(sign * (mean - start if difference is None else difference), TIE)
    return keys


def report_keys(report: Mapping[str, Any], metric: Mapping[str, Any]) -> dict[str, float]:
    """The same of a report in JSON."""
    scores = {name: method["metrics"].get(metric["name"]) or {} for name, method in report["methods"].items()}
    return losing(scores, metric["better"])


def order_note(pairs: Iterable[int], paired: bool) -> str:
    """How methods are ordered that were not judged on the same pairs; empty where they were.

    Args:
        pairs: on how many each method was judged.
        paired: there are differences to the reference.
    """
    if len(set(pairs)) < 2:
        return ""
    few = "not every method was judged on all pairs"
    if not paired:
        return f"{few}, and without {REFERENCE} their means hardly compare"
    return f"{few}, so ranks follow the paired difference to {REFERENCE}, not the mean"


def number(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return float(value) if np.isfinite(value) else None


def combined_rank(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean rank over several judges, best first.

    Args:
        reports: results as JSON has them (`Results.to_json`), each of one judge on one set.

    Returns:
        For each method that every report has: `method`, `rank` (the mean), `ranks` (in the order of the reports, 1 is
        best, equal ones share a rank) and `baseline`.
    """
    common = [name for name in reports[0]["methods"] if all(name in report["methods"] for report in reports)]
    ranks = np.stack([report_ranks(report, common) for report in reports])
    lines = [
        {
            "method": name,
            "rank": float(column.mean()),
            "ranks": column.tolist(),
            "baseline": reports[0]["methods"][name]["baseline"],
        }
        for name, column in zip(common, ranks.T, strict=True)
    ]
    return sorted(lines, key=lambda line: line["rank"])


def report_ranks(report: Mapping[str, Any], methods: Sequence[str]) -> np.ndarray:
    """Rank of each method by the report's first metric (see `losing`)."""
    keys = report_keys(report, report["metrics"][0])
    return rankdata([keys[name] for name in methods])
