"""What judges say of maps: standings with intervals, and curves of the hiding game.

Both take reports: see `leaderboard_tables`. Baselines always look like baselines.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from facexai.benchmarks.standings import REFERENCE
from facexai.errors import InputError
from facexai.views.leaderboard_tables import Report, faces_of, find_metric, order_of, pairs_of, sorted_methods
from facexai.views.theme import GENUINE, INK, QUIET, SERIES, captioned

DASHES = ("dot", "dash", "dashdot", "longdash", "longdashdot")


def show_standings(report: Report, metric: str | None = None, *, caption: str = "", alt: str = "") -> go.Figure:
    """Every method as a dot with its 95 % interval, and its difference to `ddfv` on the same pairs.

    Args:
        report: of one judge.
        metric: one of the report's; the one that ranks where None.
        caption: put before the sentence on the data.
        alt: the figure for readers who do not see it.
    """
    column = find_metric(report, metric)
    lines = sorted_methods(report, column)
    figure = make_subplots(
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        column_widths=[0.58, 0.42],
        subplot_titles=[f"{column['name']}, {column['better']} is better", f"difference to {REFERENCE}"],
    )
    for name, colour, symbol, chosen in (
        (REFERENCE, GENUINE, "circle", [line for line in lines if line["method"] == REFERENCE]),
        ("methods", INK, "circle", [line for line in lines if not line["baseline"] and line["method"] != REFERENCE]),
        ("baselines", QUIET, "circle-open", [line for line in lines if line["baseline"]]),
    ):
        for place, key in enumerate(("own", "difference"), start=1):
            rows = [line for line in chosen if line[key] is not None]
            figure.add_trace(interval_dots(rows, key, name, colour, symbol, legend=place == 1), row=1, col=place)
    figure.add_vline(x=0, line={"color": QUIET, "width": 1}, row=1, col=2)  # type: ignore[arg-type]
    figure.update_yaxes(
        categoryorder="array", categoryarray=[line["method"] for line in lines][::-1], showgrid=True, ticklen=0
    )
    figure.update_annotations(font={"size": 13, "color": INK})
    rows = 8 + 21 * len(lines)  # pixels
    figure.update_layout(
        height=rows + 92,
        margin={"t": 30, "b": 62},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": -28 / rows, "yanchor": "top"},
        showlegend=True,
    )
    words = f"{report['judge']}, {report['pairs']} pairs ({faces_of(report)}), network {report['model']}."
    explained = f"{column['name']}: {column['meaning']}. Bars are 95 % intervals over pairs; baselines are hollow."
    ranking = ", ".join(f"{line['method']} {line['own'][0]:.3f}" for line in lines[:5])
    return captioned(
        figure,
        " ".join(filter(None, [caption, explained, words, order_of(lines)])),
        alt or f"Dots with intervals for {len(lines)} methods, best first: {ranking}. {words}",
    )


def show_hiding(
    report: Report, methods: Sequence[str] | None = None, *, kind: str = "accuracy", caption: str = "", alt: str = ""
) -> go.Figure:
    """The hiding game: right decisions against the share of hidden pixels, with 95 % bands.

    Args:
        report: of the hiding game.
        methods: drawn in colour, at most seven; `ddfv` and the next best ones where None. Baselines are always there.
        kind: `"accuracy"`: all pairs; `"genuine"` or `"impostor"`: these alone.
        caption: put before the sentence on the data.
        alt: the figure for readers who do not see it.
    """
    curves = {name: line["curve"] for name, line in report["methods"].items() if kind in line.get("curve", {})}
    if not curves:
        raise InputError(f"show_hiding takes a report of the hiding game; {report['judge']} has no curve '{kind}'")
    baselines = [name for name in curves if report["methods"][name]["baseline"]]
    if methods is None:
        others = [name for name in curves if name not in baselines and name != REFERENCE]
        methods = [name for name in (REFERENCE, *others) if name in curves][:4]
    elif unknown := [name for name in methods if name not in curves]:
        raise InputError(f"the report has no '{unknown[0]}'; choose from {', '.join(curves)}")
    figure = go.Figure()
    for name, colour in zip([name for name in methods if name not in baselines], SERIES, strict=False):
        pairs = pairs_of(report, name)
        count = pairs if kind == "accuracy" else max(pairs // 2, 1)
        add_band(figure, curves[name]["fraction"], curves[name][kind], count, colour)
        add_curve(figure, name, curves[name]["fraction"], curves[name][kind], {"color": colour, "width": 2.5})
    for name, dash in zip(baselines, DASHES * (1 + len(baselines)), strict=False):
        line = {"color": QUIET, "width": 1.5, "dash": dash}
        add_curve(figure, f"{name} (baseline)", curves[name]["fraction"], curves[name][kind], line)
    figure.update_layout(
        height=400,
        xaxis={"title": {"text": "least salient pixels hidden"}, "tickformat": ".0%", "range": [0, 0.96]},
        yaxis={"title": {"text": "right decisions"}, "tickformat": ".0%"},
        legend={"x": 0.02, "y": 0.02, "yanchor": "bottom"},
        showlegend=True,
    )
    words = f"{report['pairs']} pairs ({faces_of(report)}), network {report['model']}; bands are 95 % intervals."
    ends = ", ".join(f"{name} {report['methods'][name]['auc']:.3f}" for name in (*methods, *baselines))
    return captioned(
        figure, " ".join(filter(None, [caption, words])), alt or f"Curves of the hiding game. Areas: {ends}. {words}"
    )


def interval_dots(
    lines: Sequence[Mapping[str, Any]], key: str, name: str, colour: str, symbol: str, *, legend: bool
) -> go.Scatter:
    """One dot with a bar for each line."""
    values = np.array([line[key] for line in lines], dtype=float).reshape(-1, 3)
    mean, low, high = values.T
    return go.Scatter(
        x=mean,
        y=[line["method"] for line in lines],
        mode="markers",
        marker={"color": colour, "size": 8, "symbol": symbol, "line": {"width": 1.5, "color": colour}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": high - mean,
            "arrayminus": mean - low,
            "color": colour,
            "thickness": 1.5,
            "width": 3,
        },
        name=name,
        legendgroup=name,
        showlegend=legend,
        customdata=np.stack([low, high], axis=1),
        hovertemplate="%{y}: %{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
    )


def add_curve(figure: go.Figure, name: str, x: Sequence[float], y: Sequence[float], line: Mapping[str, Any]) -> None:
    """One curve of the hiding game."""
    hover = "%{x:.0%} hidden: %{y:.1%}<extra>" + name + "</extra>"
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name=name, hovertemplate=hover)


def add_band(figure: go.Figure, x: Sequence[float], shares: Sequence[float], pairs: int, colour: str) -> None:
    """The 95 % interval of shares of so many pairs, as a band."""
    low, high = wilson(np.asarray(shares), pairs)
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*high, *low[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.13)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def wilson(share: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share of `count` independent pairs: lower and upper ends."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return middle - half, middle + half
