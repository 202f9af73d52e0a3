"""The tables of the two papers with what was measured here beside them, cell by cell.

The published numbers lie in `published/`, one file a table. What was measured is read from the reports that come with
the package, and from those that a user made. Rendered faces and photographs are never put into one column.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from facexai.errors import InputError

Kind = Literal["published", "photographs", "rendered"]
TABLES = ("ddfv-1", "ddfv-2", "fspfm-1", "fspfm-2", "fspfm-3")
FOLDERS = "methods", "photographs", "frontalization"  # of the package's own reports
WORDS = {"published": "published", "photographs": "photographs", "rendered": "rendered faces"}


@dataclass(frozen=True)
class Measured:
    """One figure of ours.

    Args:
        value: in per cent.
        ci95: ends of its 95 % interval, in per cent; None where the report has none.
        source: file, network, and how much it was measured on.
    """

    value: float
    ci95: tuple[float, float] | None
    source: str


@dataclass(frozen=True)
class Row:
    """One method on one benchmark; None where there is no figure.

    Args:
        benchmark: as the paper calls it.
        method: as the paper calls it; ours where the paper has no such row.
        ours: the method as our reports call it; empty where we have no name for it.
        published: in per cent; photographs, the paper's networks.
        photographs, rendered: measured here.
    """

    benchmark: str
    method: str
    ours: str
    published: float | None
    photographs: Measured | None
    rendered: Measured | None

    @property
    def label(self) -> str:
        """The paper's name with ours behind it."""
        return f"{self.method} ({self.ours})" if self.ours not in ("", self.method) else self.method


@dataclass(frozen=True)
class PaperTable:
    """A published table beside our measurements.

    Args:
        name: out of `TABLES`.
        title: of the table and the paper.
        rows: by benchmark, in the order of the paper; behind its rows those of ours that were measured.
        missing: a line for what is missing: why, and the command that would make it.
        notes: what the columns mean, and where the figures come from.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


class Cell(NamedTuple):
    """Where a figure of ours belongs."""

    method: str  # as the table calls its row
    benchmark: str  # as `facexai benchmark` calls it
    rendered: bool


def load_paper_table(name: str, results: Path | str | None = None) -> PaperTable:
    """A published table with our figures beside it.

    Args:
        name: `"ddfv-1"`, `"ddfv-2"`, `"fspfm-1"`, `"fspfm-2"` or `"fspfm-3"`.
        results: folder of JSON files that `facexai benchmark`, `facexai hiding-game`,
            `benchmarks/frontalization_tables.py` or `benchmarks/frontalization_stages.py` wrote; they go over what
            comes with the package. A result of `facexai benchmark` knows neither its row nor always its benchmark, so
            its file is called `ROW-BENCHMARK.json`, as in `dream-cplfw.json`.

    Raises:
        InputError: an unknown table, no such folder, or two files for one cell.
    """
    if name not in TABLES:
        raise InputError(f"unknown table '{name}'; choose one of {', '.join(TABLES)}")
    table = published(name)
    found: dict[Cell, Measured] = {}
    for source, stem, report in shipped():
        found |= figures_of(report, stem, source, table)
    notes: list[str] = []
    if results is not None:
        found |= figures_in(Path(results), table, notes)
    rows = tuple(rows_of(table, found))
    used = [(kind, getattr(row, kind)) for kind in ("photographs", "rendered") for row in rows if getattr(row, kind)]
    sources = dict.fromkeys(f"{WORDS[kind]}: {figure.source}" for kind, figure in used)
    meaning = f"{table['figures']}; published: photographs, {table['network']}"
    warning = "rendered faces are not to be compared with photographs, nor one network's figures with another's"
    title = f"{table['table']} of {table['paper']}"
    return PaperTable(
        name, title, rows, tuple(missing_lines(table, rows)), (meaning, warning, *sources, *table["remarks"], *notes)
    )


def published(name: str) -> dict[str, Any]:
    """A table as its paper prints it, with our names of its rows and benchmarks."""
    file = resources.files("facexai.results") / "published" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


def shipped() -> Iterator[tuple[str, str, Any]]:
    """Source, name and content of the package's own reports, and of the benchmarks on the card of `tutorial`."""
    for folder in FOLDERS:
        for file in sorted((resources.files("facexai.results") / folder).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".json"):
                yield (
                    f"facexai/results/{folder}/{file.name}",
                    file.name.removesuffix(".json"),
                    json.loads(file.read_text(encoding="utf-8")),
                )
    card = resources.files("facexai") / "checkpoints" / "tutorial" / "card.json"
    for benchmark, report in json.loads(card.read_text(encoding="utf-8"))["benchmarks"].items():
        yield "facexai/checkpoints/tutorial/card.json", f"ddfv-{benchmark}", {"model": "tutorial", **report}


def figures_in(folder: Path, table: Mapping[str, Any], notes: list[str]) -> dict[Cell, Measured]:
    """The figures of a user's folder; what is left out is told in `notes`."""
    if not folder.is_dir():
        raise InputError(f"--results takes a folder with JSON results; {folder} is none")
    found: dict[Cell, Measured] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            figures = figures_of(json.loads(file.read_text(encoding="utf-8")), file.stem, str(file), table)
        except InputError as error:
            notes.append(f"left out: {file} ({error})")
            continue
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            notes.append(f"left out: {file} (no result of facexai benchmark, hiding-game or frontalization_*.py)")
            continue
        if twice := found.keys() & figures.keys():
            cell = min(twice)
            raise InputError(
                f"{file} and {found[cell].source} both hold {cell.method} on {cell.benchmark}; keep one of them"
            )
        found |= figures
    return found


def figures_of(report: Any, stem: str, source: str, table: Mapping[str, Any]) -> dict[Cell, Measured]:
    """What a report holds of a table; nothing where it is of another kind.

    Raises:
        InputError: a result whose file name does not say where it belongs, or that lacks what the table shows.
        TypeError, KeyError, AttributeError, ValueError: no report of ours.
    """
    benchmark, rendered = report["benchmark"], report["rendered"]
    if not isinstance(rendered, bool):
        raise TypeError("rendered is true or false")
    kind = report.get("judge") or (benchmark if benchmark.startswith("frontalization") else "benchmark")
    if kind not in table["kinds"]:
        return {}
    if report.get("limit"):
        raise InputError(f"it is of a part of the pairs, --limit {report['limit']}; measure all of them")
    asked = report.get("asked", {})
    settings = " ".join(asked.get("settings", []))
    facts = [report.get("model", asked.get("model")), report.get("data"), settings and f"settings {settings}"]
    facts += [f"{report['pairs']} pairs"] if "pairs" in report else []
    source = ", ".join([source, *(fact for fact in facts if fact and isinstance(fact, str))])
    columns = {column["rendered" if rendered else "photographs"]: column["metric"] for column in table["columns"]}
    rows = {row["ours"]: row["method"] for row in table["rows"] if "ours" in row} | {x: x for x in table["beside"]}
    if kind.startswith("frontalization"):
        return {
            Cell(rows[row], name, rendered): measured(line[columns[name]], source)
            for row, protocols in report["rows"].items()
            for name, line in protocols.items()
            if row in rows and name in columns
        }
    # Lists of pairs do not say of which benchmark they are, nor networks which row they are; the file's name does.
    key, name = split_stem(stem, columns)
    name = benchmark if benchmark in columns else name
    if not name:
        if rendered or ("tar" in report and "accuracy" not in report):
            return {}  # another benchmark
        raise InputError(f"its name must end with a benchmark of the table, as in {stem}-{next(iter(columns))}.json")
    if kind == "hiding-game":
        lines = report["methods"].items()
        return {
            Cell(rows[method], name, rendered): measured(line["metrics"][columns[name]], source)
            for method, line in lines
            if method in rows
        }
    keys = {row["key"]: row["method"] for row in table["rows"] if "key" in row}
    if not stem.endswith(f"-{name}") or key not in all_keys():
        raise InputError(f"its name must be ROW-{name}.json, with ROW one of {', '.join(keys)}")
    if key not in keys:
        return {}  # a row of another table
    far = columns[name]
    value = report["accuracy"] if far == "accuracy" else report["tar"].get(far)
    if value is None:
        raise InputError(f"it has no TAR at a FAR of {far}: too few impostor pairs")
    return {Cell(keys[key], name, rendered): measured({"mean": value}, source)}


def split_stem(stem: str, benchmarks: Iterable[str]) -> tuple[str, str]:
    """`"dream-cfp-fp"` -> `("dream", "cfp-fp")`; two empty strings where it ends with none of the benchmarks."""
    return next(((stem[: -len(name) - 1], name) for name in benchmarks if stem.endswith(f"-{name}")), ("", ""))


def all_keys() -> set[str]:
    """What file names call the rows of all tables: a folder of results serves every table."""
    return {row["key"] for name in TABLES for row in published(name)["rows"] if "key" in row}


def measured(entry: Mapping[str, Any], source: str) -> Measured:
    """A share and its interval, in per cent."""
    value, ends = 100 * float(entry["mean"]), entry.get("ci95")
    if not math.isfinite(value):
        raise ValueError("not a number")
    return Measured(value, (100 * float(ends[0]), 100 * float(ends[1])) if ends else None, source)


def rows_of(table: Mapping[str, Any], found: Mapping[Cell, Measured]) -> Iterator[Row]:
    """Benchmark by benchmark the rows of the paper, then those of ours that have a figure."""
    for number, column in enumerate(table["columns"]):
        paper = [(row["method"], row.get("ours", ""), row["published"][number]) for row in table["rows"]]
        for method, ours, value in [*paper, *((name, name, None) for name in table["beside"])]:
            photographs = found.get(Cell(method, column["photographs"], False))
            rendered = found.get(Cell(method, column["rendered"], True))
            if method not in table["beside"] or photographs or rendered:
                yield Row(column["title"], method, ours, value, photographs, rendered)


def missing_lines(table: Mapping[str, Any], rows: tuple[Row, ...]) -> Iterator[str]:
    """What is missing, why, and the command that would make it; one line for what one command makes."""
    gaps: dict[tuple[Kind, str, tuple[str, ...]], list[str]] = {}
    named = {row["method"]: row for row in table["rows"]}
    kinds: tuple[Kind, ...] = ("published", "photographs", "rendered")
    for kind in kinds:
        for column in table["columns"]:
            reasons: dict[str, list[str]] = {}
            for row in rows:
                if row.benchmark == column["title"] and row.method in named and getattr(row, kind) is None:
                    reasons.setdefault(reason(table, kind, named[row.method], column), []).append(row.method)
            for text, methods in reasons.items():
                keys = [named[method].get("key", "") for method in methods]
                text = text.replace("{key}", keys[0] if len(keys) == 1 else "ROW")
                text += f" (ROW: {', '.join(keys)})" if "ROW" in text else ""
                gaps.setdefault((kind, text, tuple(methods)), []).append(column["title"])
    for (kind, text, methods), titles in gaps.items():
        who = "all" if len(methods) == len(named) else ", ".join(methods)
        yield f"missing: {WORDS[kind]}, {', '.join(titles)}, {who}: {text}"


def reason(table: Mapping[str, Any], kind: Kind, row: Mapping[str, Any], column: Mapping[str, str]) -> str:
    """Why a cell of the paper's rows is empty, and the command; `{key}` stands for the row in it."""
    if kind == "published":
        return "the paper prints none"
    if "why" in row:
        return row["why"]
    why, command = table["missing"][kind]
    return f"{why}; {command.replace('{benchmark}', column[kind])}"
