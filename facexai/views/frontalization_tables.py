"""Modules that frontalize embeddings, side by side: a report of `benchmarks.comparison` as a table for pages."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from facexai.errors import InputError
from facexai.models.frontalizers import CONTROLS
from facexai.views.leaderboard_tables import Table

Report = Mapping[str, Any]
RAW = "raw"  # the recognizer alone
METRICS = {"accuracy": "accuracy ↑", "auc": "AUC ↑", "eer": "EER ↓"}


def frontalization_table(
    report: Report,
    protocols: Sequence[str] | None = None,
    *,
    metric: Literal["accuracy", "auc", "eer"] = "auc",
    minus: str = RAW,
    rows: Sequence[str] | None = None,
) -> Table:
    """One metric of all modules, in per cent, one column a protocol; below each the difference to one row, in points.

    Args:
        report: `"rows"`: by the name of a row and of a protocol what `compare` gives, with `"rendered"`, `"seeds"` and
            `"asked"`, where they are known, for the note.
        protocols: the columns; all where None.
        metric: what is shown.
        minus: the row that is taken away from all; the report must hold that difference.
        rows: which, in this order; all where None. The recognizer alone and the closed-form controls are in italics.

    Raises:
        InputError: a row, protocol, metric or difference that the report does not hold.
    """
    names = list(report["rows"]) if rows is None else list(rows)
    columns = list(report["rows"][next(iter(report["rows"]))]) if protocols is None else list(protocols)
    if metric not in METRICS:
        raise InputError(f"metric must be one of {', '.join(METRICS)}; got '{metric}'")
    cells = [[name, *(_cell(report, name, column, metric, minus) for column in columns)] for name in names]
    still = {RAW, *CONTROLS}
    return Table(
        heads=["module", *columns],
        rows=cells,
        baselines=frozenset(number for number, name in enumerate(names) if name in still),
        note=_note(report, metric, minus),
    )


def _cell(report: Report, row: str, protocol: str, metric: str, minus: str) -> str:
    """Mean, and in brackets the difference with its interval."""
    if row not in report["rows"]:
        raise InputError(f"the report has no row '{row}'; choose from {', '.join(report['rows'])}")
    if protocol not in report["rows"][row]:
        raise InputError(f"the report has no protocol '{protocol}'; choose from {', '.join(report['rows'][row])}")
    figures = report["rows"][row][protocol][metric]
    mean = f"{100 * figures['mean']:.2f}"
    if row == minus:
        return mean
    difference = figures.get(f"minus_{minus}")
    if difference is None:
        known = [key.removeprefix("minus_") for key in figures if key.startswith("minus_")]
        raise InputError(f"the report compares no row with '{minus}'; choose from {', '.join(known)}")
    low, high = difference["ci95"]
    return f"{mean} [{100 * difference['mean']:+.2f}: {100 * low:+.2f} to {100 * high:+.2f}]"


def _note(report: Report, metric: str, minus: str) -> str:
    words = [f"{METRICS[metric]} in per cent; in brackets the difference to {minus}, in points, and its 95 % interval."]
    if "rendered" in report:
        words.append("Rendered faces." if report["rendered"] else "Photographs.")
    seeds = report.get("seeds", [])
    if len(seeds) > 1:
        words.append(f"Means over {len(seeds)} runs that differ in their seed.")
    if model := report.get("asked", {}).get("model"):
        words.append(f"Recognizer {model}.")
    return " ".join(words)
