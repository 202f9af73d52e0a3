"""What a judge says of several methods: means, intervals, differences to the reference, ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from facexai.benchmarks.judges import Metric
from facexai.benchmarks.statistics import Interval, bootstrap_interval, paired_interval

REFERENCE = "ddfv"  # every method is compared with it


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
        seconds_per_pair: of explaining.
        scores: by metric.
        details: curves and the like.
    """

    method: str
    explainer: str
    baseline: bool
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
        pairs: how many were judged.
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
            "seconds_per_pair": standing.seconds_per_pair,
            "baseline": standing.baseline,
            "explainer": standing.explainer,
            "metrics": scores,
            **standing.details,
        }


def ranked(standings: Sequence[Standing], metric: Metric) -> list[Standing]:
    """Best first by this metric; where nothing counted, last."""
    return sorted(standings, key=lambda standing: losing(standing.scores[metric.name].interval.mean, metric))


def compared(values: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray] | None) -> dict[str, Score]:
    """Mean, difference to the reference, and their intervals, by metric."""
    return {
        name: Score(bootstrap_interval(column), None if reference is None else paired_interval(column, reference[name]))
        for name, column in values.items()
    }


def losing(mean: float, metric: Metric) -> float:
    """Lowest for the best; infinite for nan."""
    if np.isnan(mean):
        return np.inf
    return -mean if metric.better == "higher" else mean


def number(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return float(value) if np.isfinite(value) else None


def combined_rank(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean rank over several judges, best first.

    Args:
        reports: results as JSON has them (`Results.to_json`), each of one judge on one set.

    Returns:
        For each method that every report has: `method`, `rank` (the mean), `ranks` (in the order of the reports, 1 is
        best, equal means share a rank) and `baseline`.
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
    """Rank of each method by the report's first metric."""
    metric = report["metrics"][0]
    means = [report["methods"][name][metric["name"]] for name in methods]
    sign = -1 if metric["better"] == "higher" else 1
    return rankdata([np.inf if mean is None else sign * mean for mean in means])
