"""Reports of judges as tables for pages.

A report is the JSON that the commands `hiding-game`, `insertion-deletion`, `localize` and `sanity` write, with whatever
methods and metrics are in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from facexai.benchmarks.standings import REFERENCE, combined_rank
from facexai.errors import InputError

Report = Mapping[str, Any]


def standings_table(report: Report, metrics: Sequence[str] | None = None) -> str:
    """A report as a Markdown table: means with 95 % intervals, the difference to `ddfv`, seconds a pair.

    Args:
        report: of one judge.
        metrics: the columns; the first one ranks and has the difference. All of the report where None.
    """
    columns = [find_metric(report, name) for name in metrics] if metrics else list(report["metrics"])
    heads = [f"{column['name']} {'↑' if column['better'] == 'higher' else '↓'}" for column in columns]
    lines = [f"| method | {heads[0]} | minus {REFERENCE} | {' | '.join([*heads[1:], 's a pair'])} |"]
    lines.append("|---" + "|---:" * (len(columns) + 2) + "|")
    for line in sorted_methods(report, columns[0]):
        method = report["methods"][line["method"]]
        cells = [spread_text(values_of(method, column["name"])) for column in columns]
        name = f"*{line['method']}* (baseline)" if line["baseline"] else line["method"]
        difference = "" if line["method"] == REFERENCE else spread_text(line["difference"], sign="+")
        row = [name, cells[0], difference, *cells[1:], f"{method['seconds_per_pair']:.2g}"]
        lines.append(f"| {' | '.join(row)} |")
    skipped = "".join(f"\n\nLeft out: {name} ({reason})." for name, reason in report.get("skipped", {}).items())
    words = f"{report['judge']}, {report['pairs']} pairs ({faces_of(report)}), network `{report['model']}`."
    made = f" Made by `{run_of(report)}`." if run_of(report) else ""
    return "\n".join(lines) + f"\n\n{words}{made}{skipped}"


def ranks_table(reports: Sequence[Report]) -> str:
    """Mean rank over several reports as a Markdown table, best first; 1 is the best rank."""
    heads = [title_of(report) for report in reports]
    lines = [f"| method | mean rank | {' | '.join(heads)} |", "|---" + "|---:" * (1 + len(reports)) + "|"]
    for line in combined_rank(reports):
        name = f"*{line['method']}* (baseline)" if line["baseline"] else line["method"]
        cells = [f"{rank:g}" for rank in line["ranks"]]
        lines.append(f"| {name} | {line['rank']:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def title_of(report: Report) -> str:
    """Judge and pairs in a few words."""
    name = report.get("benchmark", "")
    return report["judge"] if name in report["judge"] else f"{report['judge']} {name}"


def find_metric(report: Report, name: str | None) -> Mapping[str, str]:
    """A metric of the report; the first one where no name is given."""
    names = [metric["name"] for metric in report["metrics"]]
    if name is not None and name not in names:
        raise InputError(f"{report['judge']} has no metric '{name}'; choose from {', '.join(names)}")
    return report["metrics"][0 if name is None else names.index(name)]


def sorted_methods(report: Report, metric: Mapping[str, str]) -> list[dict[str, Any]]:
    """Methods with a value, best first: `own` and `difference` as (mean, low, high), None where there is none."""
    lines = [
        {
            "method": name,
            "baseline": method["baseline"],
            "own": values_of(method, metric["name"]),
            "difference": None if name == REFERENCE else values_of(method, metric["name"], f"minus_{REFERENCE}"),
        }
        for name, method in report["methods"].items()
    ]
    counted = [line for line in lines if line["own"] is not None]
    return sorted(counted, key=lambda line: line["own"][0], reverse=metric["better"] == "higher")


def values_of(method: Mapping[str, Any], metric: str, difference: str = "") -> tuple[float, float, float] | None:
    """Mean and ends of the interval of a metric, or of its difference to the reference."""
    entry = method["metrics"].get(metric)
    if difference and entry is not None:
        entry = entry.get(difference)
    if entry is None or entry["mean"] is None:
        return None
    low, high = (entry["mean"] if end is None else end for end in entry["ci95"])
    return entry["mean"], low, high


def spread_text(values: tuple[float, float, float] | None, sign: str = "") -> str:
    """`mean [low, high]` with true minus signs; the mean alone where it has no interval, empty where there is none."""
    if values is None:
        return ""
    # Adding 0.0 takes the sign off a zero.
    mean, low, high = (f"{round(value, 3) + 0.0:{sign}.3f}".replace("-", "\N{MINUS SIGN}") for value in values)
    return mean if low == high else f"{mean} [{low}, {high}]"


def faces_of(report: Report) -> str:
    """Which faces a report is about; the words that go with every number."""
    return "rendered faces, not to be compared with figures on photos" if report["rendered"] else "photographs"


def run_of(report: Report) -> str:
    """The command that makes a report again; empty for one that no command wrote."""
    if "benchmark" not in report:
        return ""
    command = report["judge"].partition(" ")[0]
    return f"facexai {command} {report['benchmark']} --model {report['model']} --limit {report['pairs']}"
