"""Results of a judge as a table for people."""

from collections.abc import Sequence

import numpy as np

from facexai.benchmarks.judges import Metric
from facexai.benchmarks.standings import REFERENCE, Results, Standing, order_note
from facexai.benchmarks.statistics import Interval


def table(results: Results, width: int = 120) -> str:
    """The results for people: the ranking metric with intervals, then as many other metrics as the width allows."""
    first, *others = results.metrics
    titles = ("method", first.name, "95 % interval", f"minus {REFERENCE}", "95 % interval", "pairs", "s/pair")
    cells = [
        [*ranking_cells(line, first), str(line.pairs), seconds(line.seconds_per_pair)] for line in results.standings
    ]
    columns = [list(column) for column in zip(titles, *cells, strict=True)]
    if not order_of(results):
        columns = [column for column in columns if column[0] != "pairs"]
    for metric in others:
        means = [line.scores[metric.name].interval.mean for line in results.standings]
        wider = [*columns, [metric.name, *(formatted(mean, metric) for mean in means)]]
        if len(aligned(wider)[0]) > width:
            break
        columns = wider
    return "\n".join([*aligned(columns), *footnotes(results)])


def ranking_cells(standing: Standing, metric: Metric) -> list[str]:
    """Name, mean, interval, difference and its interval."""
    score = standing.scores[metric.name]
    name = standing.method + (" *" if standing.baseline else "")
    difference = score.minus_reference
    if difference is None or standing.method == REFERENCE:
        return [name, formatted(score.interval.mean, metric), span(score.interval, metric), "", ""]
    return [
        name,
        formatted(score.interval.mean, metric),
        span(score.interval, metric),
        formatted(difference.mean, metric, sign="+"),
        span(difference, metric, sign="+"),
    ]


def formatted(value: float, metric: Metric, sign: str = "") -> str:
    """Per cent with two decimals, or a plain number with three; - for nan."""
    if np.isnan(value):
        return "-"
    return f"{100 * value:{sign}.2f}" if metric.percent else f"{value:{sign}.3f}"


def span(interval: Interval, metric: Metric, sign: str = "") -> str:
    """`[low, high]`."""
    return f"[{formatted(interval.low, metric, sign)}, {formatted(interval.high, metric, sign)}]"


def seconds(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is flush left, the others flush right."""
    widths = [max(map(len, column)) for column in columns]
    padded = [
        [cell.rjust(width) if number else cell.ljust(width) for cell in column]
        for number, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]


def order_of(results: Results) -> str:
    """How the methods are ordered; empty where they were judged on the same pairs."""
    differences = [line.scores[results.metrics[0].name].minus_reference for line in results.standings]
    paired = any(difference is not None and np.isfinite(difference.mean) for difference in differences)
    return order_note([line.pairs for line in results.standings], paired)


def footnotes(results: Results) -> list[str]:
    """What the columns mean, and what is missing."""
    faces = "rendered faces; not to be compared with photos" if results.rendered else "photos"
    first = results.metrics[0]
    notes = [
        f"{results.judge}, {results.pairs} pairs ({faces}), model {results.model}",
        f"{first.name}: {first.meaning}; {first.better} is better" + (", in per cent" if first.percent else ""),
    ]
    notes += [order_of(results)] if order_of(results) else []
    if any(standing.baseline for standing in results.standings):
        notes.append("* baseline: it does not look at the comparison")
    return [*notes, *(f"left out: {method} ({reason})" for method, reason in results.skipped.items())]
