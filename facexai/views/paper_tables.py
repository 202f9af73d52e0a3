"""A table of the papers with our measurements beside it, for pages."""

from facexai.results.papers import Measured, PaperTable
from facexai.views.leaderboard_tables import Table


def paper_table(table: PaperTable) -> Table:
    """One line a benchmark and method: published, measured on photographs, measured on rendered faces, in per cent.

    Args:
        table: of `facexai.results.papers.load_paper_table`. Rows that the paper does not have are in italics.
    """
    rows = [
        [f"{row.benchmark}: {row.label}", _value(row.published), _measured(row.photographs), _measured(row.rendered)]
        for row in table.rows
    ]
    return Table(
        heads=["benchmark: method", "published, photographs", "measured, photographs", "measured, rendered faces"],
        rows=rows,
        baselines=frozenset(number for number, row in enumerate(table.rows) if row.method == row.ours),
        note=". ".join(line.rstrip(".") for line in (table.title, *table.notes, *table.missing)) + ".",
    )


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _measured(figure: Measured | None) -> str:
    """Mean, and its interval in brackets."""
    if figure is None or figure.ci95 is None:
        return _value(figure and figure.value)
    return f"{figure.value:.2f} [{figure.ci95[0]:.2f}, {figure.ci95[1]:.2f}]"
