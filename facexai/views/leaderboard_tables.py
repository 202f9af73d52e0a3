"""Reports of judges as tables for pages.

A report is the JSON that the commands `hiding-game`, `insertion-deletion`, `localize` and `sanity` write, with whatever
methods and metrics are in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from facexai.benchmarks.standings import REFERENCE, combined_rank, order_note, report_keys
from facexai.errors import InputError
from facexai.views.renderer import CAPTION_STYLE

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table that notebooks and pages show as such, and `print` as Markdown.

    Args:
        heads: of the columns.
        rows: as many cells each; an interval in brackets stands below its mean.
        baselines: numbers of the rows in italics.
        note: below the table.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    baselines: frozenset[int]
    note: str = ""

    def __str__(self) -> str:
        ruler = "|---" + "|---:" * (len(self.heads) - 1) + "|"
        lines = [f"| {' | '.join(cells)} |" for cells in (self.heads, *self.rows)]
        return "\n".join([lines[0], ruler, *lines[1:], *(["", self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.heads)
        body = "".join(self._row(number, cells) for number, cells in enumerate(self.rows))
        note = f'<p style="{CAPTION_STYLE}">{escape(self.note)}</p>' if self.note else ""
        return (
            '<div style="overflow-x:auto;margin:1rem 0"><table class="table" style="font-size:0.85em;'
            f'font-variant-numeric:tabular-nums"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'
        )

    def _row(self, number: int, cells: Sequence[str]) -> str:
        style = ";font-style:italic" if number in self.baselines else ""
        name = f'<th scope="row" style="text-align:left;font-weight:400{style}">{escape(cells[0])}</th>'
        values = "".join(f'<td style="text-align:right">{in_two_lines(cell)}</td>' for cell in cells[1:])
        return f"<tr>{name}{values}</tr>"


def in_two_lines(cell: str) -> str:
    """`mean [low, high]` with the interval in small print below the mean."""
    mean, bracket, rest = escape(cell).partition(" [")
    return f'{mean}<br><small style="white-space:nowrap">[{rest}</small>' if bracket else mean


def standings_table(report: Report, metrics: Sequence[str] | None = None) -> Table:
    """A report as a table: means with 95 % intervals, the difference to `ddfv`, pairs if methods differ in them, time.

    Args:
        report: of one judge.
        metrics: the columns; the first one ranks and has the difference. All of the report where None.
    """
    columns = [find_metric(report, name) for name in metrics] if metrics else list(report["metrics"])
    first, *others = [f"{column['name']} {'↑' if column['better'] == 'higher' else '↓'}" for column in columns]
    lines = sorted_methods(report, columns[0])
    order = order_of(lines)
    pairs = [[str(line["pairs"])] if order else [] for line in lines]
    cells = [standing_cells(report["methods"][line["method"]], line, columns) for line in lines]
    return Table(
        heads=["method", first, f"minus {REFERENCE}", *others, *(["pairs"] if order else []), "s a pair"],
        rows=[[*row[:-1], *count, row[-1]] for row, count in zip(cells, pairs, strict=True)],
        baselines=frozenset(number for number, line in enumerate(lines) if line["baseline"]),
        note=" ".join([*notes_of(report), *([order] if order else [])]),
    )


def standing_cells(method: Mapping[str, Any], line: Mapping[str, Any], columns: Sequence[Mapping]) -> list[str]:
    """The cells of one method."""
    first, *others = [spread_text(values_of(method, column["name"])) for column in columns]
    difference = spread_text(line["difference"], sign="+")
    return [label_of(line), first, difference, *others, f"{method['seconds_per_pair']:.2g}"]


def notes_of(report: Report) -> list[str]:
    """What was judged on which faces, the command, and what is missing."""
    notes = [f"{report['judge']}, {report['pairs']} pairs ({faces_of(report)}), network {report['model']}."]
    notes += [f"Made by {run_of(report)}."] if run_of(report) else []
    return notes + [f"Left out: {name} ({reason})." for name, reason in report.get("skipped", {}).items()]


def ranks_table(reports: Sequence[Report]) -> Table:
    """Mean rank over several reports, best first; 1 is the best rank."""
    lines = combined_rank(reports)
    orders = [order_of(sorted_methods(report, report["metrics"][0])) for report in reports]
    note = "Ranks by the first metric of each judge; methods that share a mean share the rank."
    return Table(
        heads=["method", "mean rank", *(title_of(report) for report in reports)],
        rows=[[label_of(line), f"{line['rank']:.1f}", *(f"{rank:g}" for rank in line["ranks"])] for line in lines],
        baselines=frozenset(number for number, line in enumerate(lines) if line["baseline"]),
        note=" ".join([note, *dict.fromkeys(filter(None, orders))]),
    )


def order_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """How methods are ordered, as a sentence; empty where they were judged on the same pairs."""
    note = order_note([line["pairs"] for line in lines], any(line["difference"] for line in lines))
    return f"{note[0].upper()}{note[1:]}." if note else ""


def label_of(line: Mapping[str, Any]) -> str:
    """The method's name; baselines say that they are."""
    return f"{line['method']} (baseline)" if line["baseline"] else line["method"]


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
    """Methods with a value, best first (see `losing`), and on how many `pairs` each was judged.

    Those are `own` and `difference`, as (mean, low, high); None where there is none.
    """
    keys = report_keys(report, metric)
    lines = [
        {
            "method": name,
            "baseline": method["baseline"],
            "pairs": pairs_of(report, name),
            "own": values_of(method, metric["name"]),
            "difference": None if name == REFERENCE else values_of(method, metric["name"], f"minus_{REFERENCE}"),
        }
        for name, method in report["methods"].items()
    ]
    counted = [line for line in lines if line["own"] is not None]
    return sorted(counted, key=lambda line: keys[line["method"]])


def pairs_of(report: Report, method: str) -> int:
    """On how many pairs the method was judged."""
    return report["methods"][method].get("pairs", report["pairs"])


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
    counts = {name: pairs_of(report, name) for name in report["methods"]}
    limited = [f"{name}@{count}" for name, count in counts.items() if count < report["pairs"]]
    asked = {"limit": report["pairs"], "methods": ",".join(["all", *limited]) if limited else None}
    asked |= report.get("asked", {})
    own = "" if report["rendered"] else " --pairs CSV --images DIR"
    limit = "" if asked["limit"] is None else f" --limit {asked['limit']}"
    methods = "" if asked["methods"] is None else f" --methods {asked['methods']}"
    return f"facexai {command} {report['benchmark']}{own} --model {report['model']}{limit}{methods}"
