"""A plotly figure that is drawn on like a sheet of paper: pictures and words at pixel positions."""

from html import escape

import numpy as np
import plotly.graph_objects as go

from facexai.views.overlays import data_uri
from facexai.views.theme import INK, QUIET, WIDTH, captioned


class Canvas:
    """Collects pictures, words and lines, then gives one figure. The origin is the top left corner; x right, y down.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.width, self.height = width, height
        self._images: list[dict] = []
        self._words: list[dict] = []
        self._shapes: list[dict] = []

    def picture(self, image: np.ndarray, x: float, y: float, width: float, height: float | None = None) -> None:
        """Place uint8 RGB pixels with their top left corner at (x, y), stretched to width x height."""
        height = width * image.shape[0] / image.shape[1] if height is None else height
        self._images.append(
            {
                "source": data_uri(image, lossless=False),
                "xref": "x",
                "yref": "y",
                "x": x,
                "y": y,
                "sizex": width,
                "sizey": height,
                "sizing": "stretch",
                "layer": "below",
            }
        )

    def words(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: int = 13,
        colour: str = INK,
        align: str = "left",
        bold: bool = False,
        angle: float = 0,
    ) -> None:
        """Write plain text (markup in it is shown, not obeyed) with its middle line at y."""
        text = escape(text, quote=False)
        self._words.append(
            {
                "text": f"<b>{text}</b>" if bold else text,
                "x": x,
                "y": y,
                "showarrow": False,
                "xanchor": align,
                "yanchor": "middle",
                "textangle": angle,
                "font": {"size": size, "color": colour},
            }
        )

    def note(self, text: str, x: float, y: float, *, align: str = "left", colour: str = QUIET) -> None:
        """Small print."""
        self.words(text, x, y, size=11, colour=colour, align=align)

    def bar(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        """A filled rectangle."""
        self._shapes.append(
            {
                "type": "rect",
                "x0": left,
                "y0": top,
                "x1": right,
                "y1": bottom,
                "fillcolor": colour,
                "line": {"width": 0},
            }
        )

    def polygon(self, points: list[tuple[float, float]], colour: str) -> None:
        """A filled polygon."""
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + "Z"
        self._shapes.append({"type": "path", "path": path, "fillcolor": colour, "line": {"width": 0}})

    def figure(self, caption: str, alt: str) -> go.Figure:
        """The finished figure."""
        axis = {"visible": False, "fixedrange": True}
        figure = go.Figure()
        figure.update_layout(
            width=self.width,
            height=self.height,
            margin={"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
            xaxis={**axis, "range": [0, self.width]},
            yaxis={**axis, "range": [self.height, 0]},
            images=self._images,
            annotations=self._words,
            shapes=self._shapes,
            dragmode=False,
        )
        return captioned(figure, caption, alt, still=True)
