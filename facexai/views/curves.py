"""Figures made of numbers: ROC curves, score histograms, training curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from sklearn.metrics import roc_curve

from facexai.errors import InputError
from facexai.views.theme import GENUINE, IMPOSTOR, INK, QUIET, SERIES, captioned

if TYPE_CHECKING:
    from facexai.benchmarks import VerificationReport

# Columns of a training log: axis title and colour.
_TRAINING_CURVES = {
    "loss_id": ("identity loss", SERIES[1]),
    "loss_rec": ("reconstruction loss", SERIES[2]),
    "accuracy": ("accuracy", SERIES[0]),
}


def show_roc(
    reports: "VerificationReport | Mapping[str, VerificationReport]", *, caption: str = "", alt: str = ""
) -> go.Figure:
    """True acceptance against false acceptance, the latter on a logarithmic axis as the field prints it.

    Args:
        reports: a verification report, or a dict of them by name.
        caption: what the curves compare.
        alt: the same for readers who do not see it.
    """
    curves = reports if isinstance(reports, Mapping) else {"": reports}
    impostors = max(int((~_as_bool(report.genuine)).sum()) for report in curves.values())
    figure = go.Figure()
    summary = "; ".join(_rates(name, report) for name, report in curves.items())
    for (name, report), colour in zip(curves.items(), SERIES * (1 + len(curves)), strict=False):
        far, tar, _ = roc_curve(_as_bool(report.genuine), np.asarray(report.scores), drop_intermediate=True)
        figure.add_scatter(
            x=far.clip(1 / (2 * impostors)).astype(np.float32),
            y=tar.astype(np.float32),
            mode="lines",
            line={"shape": "hv", "width": 2.5, "color": colour},
            name=_rates(name, report),
            hovertemplate="FAR %{x:.2%}, TAR %{y:.2%}<extra></extra>",
        )
    figure.update_layout(
        height=400,
        xaxis={
            "type": "log",
            "range": [np.log10(1 / impostors), 0.005],
            "title": {"text": "false acceptance rate (FAR)"},
            "dtick": 1,
            "tickformat": ".3~%",
        },
        yaxis={"range": [0, 1.02], "title": {"text": "true acceptance rate (TAR)"}, "tickformat": ".0%"},
        legend={"x": 0.99, "y": 0.03, "xanchor": "right", "yanchor": "bottom"},
        showlegend=True,
    )
    caption = caption or (
        f"ROC on {impostors} impostor pairs. A system that guesses lies on TAR = FAR, which bends upwards on this axis."
    )
    return captioned(figure, caption, alt or f"ROC curves. {summary}.")


def show_scores(
    scores: Sequence[float] | np.ndarray,
    genuine: Sequence[bool] | np.ndarray,
    threshold: float | None = None,
    *,
    bins: int = 60,
    caption: str = "",
    alt: str = "",
) -> go.Figure:
    """Histograms of the scores of genuine and of impostor pairs, with the threshold that should part them.

    Args:
        scores: cosine of each pair. Shape (P,).
        genuine: True where a pair is one person. Shape (P,).
        threshold: drawn as a line, with its error rates.
        bins: over the range of all scores.
        caption: what the figure shows.
        alt: the same for readers who do not see it.
    """
    scores, same = np.asarray(scores, dtype=np.float64), _as_bool(genuine)
    if scores.shape != same.shape or not same.any() or same.all():
        raise InputError(
            "show_scores needs one score for each pair and pairs of both kinds; "
            f"got {scores.size} scores and {int(same.sum())} genuine of {same.size} pairs."
        )
    edges = np.linspace(scores.min(), scores.max() + 1e-9, bins + 1)
    figure = go.Figure()
    for name, chosen, colour in (("impostor", ~same, IMPOSTOR), ("genuine", same, GENUINE)):
        figure.add_trace(_histogram(scores[chosen], edges, f"{name} pairs ({int(chosen.sum())})", colour))
    figure.update_layout(
        height=330,
        xaxis={"title": {"text": "cosine score"}},
        yaxis={"title": {"text": "share of pairs"}, "tickformat": ".0~%", "rangemode": "tozero"},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 40},
    )
    words = "Scores of genuine and impostor pairs; each histogram sums to 100 %."
    if threshold is not None:
        words += " " + _draw_threshold(figure, scores, same, threshold)
    return captioned(figure, caption or words, alt or words)


def show_training(log: Sequence[Mapping], *, caption: str = "", alt: str = "") -> go.Figure:
    """Losses and accuracy over the course of a training run, one panel each.

    Args:
        log: rows as the training loop writes them; `step` (or `epoch`) and any of `loss_id`, `loss_rec`, `accuracy`.
            A row may lack some of them.
        caption: what was trained.
        alt: the same for readers who do not see it.
    """
    curves = [name for name in _TRAINING_CURVES if any(row.get(name) is not None for row in log)]
    if not curves:
        raise InputError(f"the log must hold one of {', '.join(_TRAINING_CURVES)}; got {len(log)} rows without them.")
    clock = "step" if any("step" in row for row in log) else "epoch"
    titles = [_TRAINING_CURVES[name][0] for name in curves]
    figure = make_subplots(cols=len(curves), subplot_titles=titles, horizontal_spacing=0.09)
    endings = []
    for column, name in enumerate(curves, start=1):
        rows = [row for row in log if row.get(name) is not None]
        x, y = [row.get(clock, k) for k, row in enumerate(rows)], [float(row[name]) for row in rows]
        endings.append(y[-1])
        mode = "lines+markers" if len(rows) <= 40 else "lines"
        line = {"color": _TRAINING_CURVES[name][1], "width": 2}
        figure.add_scatter(x=x, y=y, mode=mode, line=line, name=name, row=1, col=column, marker={"size": 5})
        figure.update_xaxes(title={"text": clock}, nticks=5, range=_span(log, clock), row=1, col=column)
    if "accuracy" in curves:
        figure.update_yaxes(tickformat=".0~%", row=1, col=1 + curves.index("accuracy"))
    figure.update_annotations(font={"size": 14, "color": INK})
    figure.update_layout(height=270, showlegend=False, margin={"t": 34})
    last = ", ".join(f"{title} {ending:.3g}" for title, ending in zip(titles, endings, strict=True))
    return captioned(
        figure, caption or f"The training run. At its end: {last}.", alt or f"Training curves; at the end {last}."
    )


def _span(log: Sequence[Mapping], clock: str) -> list[float]:
    """Ends of the common time axis."""
    times = [row.get(clock, k) for k, row in enumerate(log)]
    return [min(times), max(times)]


def _rates(name: str, report: "VerificationReport") -> str:
    return f"{name or 'ROC'}: AUC {report.auc:.4f}, EER {percent(report.eer)}"


def percent(share: float, digits: int = 2) -> str:
    """A share as per cent, with the space that the book uses."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def _histogram(scores: np.ndarray, edges: np.ndarray, name: str, colour: str) -> go.Scatter:
    """A filled outline: lighter on the page than bars, and two of them can overlap."""
    share = np.histogram(scores, edges)[0] / len(scores)
    return go.Scatter(
        x=np.append(edges, edges[-1]).astype(np.float32),
        y=np.append(share, [0, 0]).astype(np.float32),
        line={"shape": "hv", "color": colour, "width": 1.5},
        fill="tozeroy",
        fillcolor="rgba({},{},{},0.28)".format(*(int(colour[k : k + 2], 16) for k in (1, 3, 5))),
        name=name,
        hovertemplate="score %{x:.2f}: %{y:.1%}<extra>" + name + "</extra>",
    )


def _draw_threshold(figure: go.Figure, scores: np.ndarray, same: np.ndarray, threshold: float) -> str:
    """Add the line; return its error rates in words."""
    far, frr = float((scores[~same] >= threshold).mean()), float((scores[same] < threshold).mean())
    figure.add_vline(x=threshold, line={"color": INK, "width": 1.5, "dash": "dash"})
    figure.add_annotation(
        x=threshold,
        y=1,
        yref="paper",
        text=f" threshold {threshold:.3f}",
        showarrow=False,
        xanchor="left",
        yanchor="top",
        font={"size": 12, "color": QUIET},
        bgcolor="rgba(255,255,255,0.8)",
    )
    return (
        f"At the threshold {threshold:.3f}, {percent(far)} of the impostor pairs are accepted "
        f"and {percent(frr)} of the genuine pairs refused."
    )


def _as_bool(genuine: Sequence[bool] | np.ndarray) -> np.ndarray:
    return np.asarray(genuine).astype(bool)
