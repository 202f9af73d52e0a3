"""BookRenderer: plotly figures that show in JupyterLab and in the built book, with nothing loaded from elsewhere."""

import hashlib
import json
import sys
import textwrap
from html import escape
from itertools import count

import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

from facexai.views.theme import QUIET

# No bar of tools over the curves: dragging zooms, a double click resets.
_CONFIG = {"displayModeBar": False, "responsive": True}
CAPTION_STYLE = "font-size:0.9em;line-height:1.45;margin-top:0.5rem"
_MIMETYPE = "application/vnd.plotly.v1+json"


class BookRenderer(MimetypeRenderer):
    """One output, two representations.

    JupyterLab takes the Plotly MIME type, with the caption as a line of the figure. Sphinx takes the HTML: a `<figure>`
    with a visible `<figcaption>` and the alternative text as its label. The HTML expects that the page has loaded
    plotly.js; the book's Sphinx extension adds the copy that comes with the installed plotly to pages that need it.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def to_mimebundle(self, fig_dict: dict) -> dict:
        """Both representations of a figure, by MIME type."""
        figure = json.loads(str(pio.to_json(fig_dict, validate=False, remove_uids=False)))
        config = {**_CONFIG, "staticPlot": bool((figure["layout"].get("meta") or {}).get("still"))}
        html = self._html(figure, config)
        return {_MIMETYPE: _with_caption_line(figure) | {"config": config}, "text/html": html}

    def _html(self, figure: dict, config: dict) -> str:
        layout = figure.get("layout", {})
        meta = layout.get("meta") or {}
        # The identifier does not change from one build of a page to the next, and no two figures of a page share it.
        digest = hashlib.sha256(json.dumps(figure, sort_keys=True).encode()).hexdigest()
        identifier = f"figure-{next(self._numbers)}-{digest[:12]}"
        plot = pio.to_html(
            figure,
            config=config,
            full_html=False,
            include_plotlyjs=False,
            include_mathjax=False,
            validate=False,
            auto_play=False,
            div_id=identifier,
            default_height=f"{layout.get('height', 400)}px",
        )
        # A figure of fixed width stands in the middle and scrolls on narrow screens; others take the width there is.
        width = "width:fit-content;max-width:100%;margin:auto;" if "width" in layout else ""
        alt = escape(meta.get("alt") or meta.get("caption") or "interactive figure", quote=True)
        caption = escape(meta.get("caption", ""), quote=False)
        return (
            f'<figure class="facexai-figure" role="figure" aria-label="{alt}" style="margin:1rem 0">'
            f'<div style="{width}overflow-x:auto;background:white">{plot}</div>'
            f'<figcaption style="{CAPTION_STYLE}">{caption}</figcaption></figure>'
        )


def use_book_renderer() -> None:
    """Make `BookRenderer` plotly's default in this process. Google Colab keeps its own, which loads plotly itself."""
    if "google.colab" in sys.modules:
        return
    pio.renderers["facexai"] = BookRenderer()
    pio.renderers.default = "facexai"


def _with_caption_line(figure: dict) -> dict:
    """The figure with its caption written below it, for front ends that show no HTML around a figure."""
    layout = figure.get("layout", {})
    lines = textwrap.wrap((layout.get("meta") or {}).get("caption", ""), width=110)
    if not lines:
        return figure
    margin = dict(layout.get("margin") or {})
    bottom, room = margin.get("b", 48), 18 * len(lines) + 10
    note = {
        "text": "<br>".join(escape(line, quote=False) for line in lines),
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 0,
        "xanchor": "left",
        "yanchor": "top",
        "yshift": -bottom,
        "align": "left",
        "showarrow": False,
        "font": {"size": 12, "color": QUIET},
    }
    layout = {
        **layout,
        "margin": {**margin, "b": bottom + room},
        "height": layout.get("height", 400) + room,
        "annotations": [*(layout.get("annotations") or []), note],
    }
    return {**figure, "layout": layout}
