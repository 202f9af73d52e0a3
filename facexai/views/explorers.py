"""Explorers: figures that recompute in the reader's browser, with no kernel and nothing loaded from elsewhere.

Each explorer is one ES module in `static/`. The built page holds it together with its data; in a running notebook
`.live()` wraps the same module as an anywidget whose slider is also a Python attribute.
"""

import base64
import json
import math
import uuid
from html import escape
from typing import Any

import numpy as np

from facexai.views.assets import read_asset
from facexai.views.renderer import CAPTION_STYLE


class Explorer:
    """What a page and a notebook need of every explorer.

    Args:
        module: name of the file in `static/`.
        payload: what the module draws from; JSON.
        start: value of the slider at first.
        caption: shown below.
        alt: the explorer for readers who do not see it.
    """

    def __init__(self, module: str, payload: dict[str, Any], start: float, caption: str, alt: str) -> None:
        self.module, self.payload, self.start = module, payload, start
        self.caption, self.alt = caption, alt

    def _repr_html_(self) -> str:
        name = f"explorer-{uuid.uuid4().hex[:12]}"
        state = json.dumps({"payload": self.payload, "t": self.start}).replace("<", "\\u003c")
        # One output may be shown twice (a notebook and its copy): each script takes the first place not yet filled.
        place = f"document.querySelector('[data-name=\"{name}\"]:not([data-filled])')"
        return (
            f'<figure class="facexai-figure" role="figure" aria-label="{escape(self.alt, quote=True)}" '
            f'style="margin:1.2rem 0"><style>{read_asset("explorers.css")}</style>'
            f'<div class="facexai-explorer" data-name="{name}"><noscript>This needs JavaScript.</noscript></div>'
            f'<figcaption style="{CAPTION_STYLE}">{escape(self.caption, quote=False)}</figcaption>'
            f'<script type="module">{module_source(self.module)}\n'
            f"const place = {place};\n"
            f'place.dataset.filled = "";\nrender({{ model: stillModel({state}), el: place }});</script></figure>'
        )

    def live(self):
        """The explorer as a widget for a running notebook; its attribute `t` follows the slider and moves it."""
        import anywidget
        import traitlets

        class LiveExplorer(anywidget.AnyWidget):
            _esm = module_source(self.module)
            _css = read_asset("explorers.css")
            payload = traitlets.Dict().tag(sync=True)
            t = traitlets.Float().tag(sync=True)

        return LiveExplorer(payload=self.payload, t=self.start)


def slider_range(values: list[float]) -> dict[str, float]:
    """Ends and step of a slider over these values: round numbers, 100 to 1000 steps, ends on the grid."""
    low, high = min(values), max(values)
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9) / 100))
    digits = max(0, -round(math.log10(step)))
    bottom, top = math.floor(low / step), math.ceil(high / step)
    return {
        "low": round(bottom * step, digits),
        "high": round(max(top, bottom + 1) * step, digits),
        "step": round(step, digits),
        "digits": digits,
    }


def grid_points(span: dict[str, float]) -> list[float]:
    """Both ends and three places between them where the slider can stand."""
    steps = round((span["high"] - span["low"]) / span["step"])
    return [round(span["low"] + span["step"] * (k * steps // 4), int(span["digits"])) for k in range(5)]


def quantise(values: np.ndarray) -> dict[str, Any]:
    """An array as 16-bit codes: value = offset + scale * code, within scale / 2."""
    low, high = float(values.min()), float(values.max())
    scale = (high - low) / 65535 or 1.0
    codes = np.rint((values - low) / scale).astype("<u2")
    return {"codes": encode(codes), "scale": scale, "offset": low}


def dequantise(packed: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """The array that `quantise` packed, as the page unpacks it."""
    codes = np.frombuffer(base64.b64decode(packed["codes"]), dtype="<u2").reshape(shape)
    return packed["offset"] + packed["scale"] * codes


def encode(values: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def module_source(module: str) -> str:
    """An explorer's ES module: the parts that all share, then its own."""
    return read_asset("parts.js") + "\n" + read_asset(module)
