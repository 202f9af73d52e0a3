"""How every plotly figure looks, and the caption and the alternative text that it carries."""

import plotly.graph_objects as go

FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
INK = "#1f2933"
QUIET = "#616e7c"
RULE = "#e4e7eb"
GENUINE = "#007a8a"
IMPOSTOR = "#d64f00"
# For several curves in one figure: distinct for colour-blind readers, dark enough on white.
SERIES = ("#007a8a", "#d64f00", "#5838a8", "#3a6ea5", "#8a6d00", "#a8325e", "#4c6b22")
WIDTH = 700

_AXIS = {
    "gridcolor": RULE,
    "linecolor": "#9aa5b1",
    "zerolinecolor": RULE,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": "#9aa5b1",
    "showline": True,
    "automargin": True,
    "title": {"font": {"size": 13, "color": QUIET}, "standoff": 8},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": SERIES,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {"bgcolor": "white", "font": {"family": FONT, "size": 12, "color": INK}},
        "legend": {"font": {"size": 13}, "bgcolor": "rgba(255,255,255,0.85)", "title": {"font": {"size": 12}}},
    }
)


def captioned(figure: go.Figure, caption: str, alt: str, *, still: bool = False) -> go.Figure:
    """Give a figure its caption (seen by all) and its alternative text (read by screen readers), and return it.

    Args:
        figure: changed in place.
        caption: plain text.
        alt: plain text.
        still: nothing in the figure answers to the mouse.
    """
    figure.update_layout(template=TEMPLATE, meta={"caption": caption, "alt": alt, "still": still})
    return figure
