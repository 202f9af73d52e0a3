"""Sphinx extension of the book: every script and style that a page needs travels with the book.

A reader behind a firewall, or with the built folder on a memory stick, sees the same pages. So MathJax lies in
`static/`, plotly.js is copied from the installed wheel, and nothing is loaded from another host.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

from facexai.book.reference import PublicNames

STATIC = Path(__file__).parent / "static"


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point that Sphinx calls."""
    app.add_directive("facexai-public-names", PublicNames)
    app.connect("config-inited", use_local_files, priority=900)
    app.connect("builder-inited", copy_plotly)
    app.connect("html-page-context", choose_scripts, priority=999)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def use_local_files(app: Sphinx, config: Config) -> None:
    """Point MathJax and the style sheet at the files beside this module."""
    config["html_static_path"].append(str(STATIC))
    config["mathjax_path"] = "mathjax/tex-svg.js"
    # Pages show no ipywidgets: without a kernel they do not move, and their scripts come from other hosts.
    config["nb_ipywidgets_js"] = {}
    app.add_css_file("facexai.css")


def copy_plotly(app: Sphinx) -> None:
    """Copy plotly.js of the installed plotly, which is the version that wrote the figures."""
    specification = find_spec("plotly")
    if specification is None or specification.origin is None:
        raise RuntimeError("plotly is not installed; the book's figures need it")
    target = Path(app.outdir) / "_static" / "plotly.min.js"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(specification.origin).parent / "package_data" / "plotly.min.js", target)


def choose_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Load plotly.js (4.8 MB) on the pages that draw with it, and Thebe on none."""
    # add_js_file appends to the list of the context only until that list is replaced below, so it comes first.
    if "plotly-graph-div" in context.get("body", ""):
        # First of all scripts: after an AMD loader, plotly.js would not define window.Plotly.
        app.add_js_file("plotly.min.js", priority=100)
    # Jupyter Book and its theme both declare THEBE_JS_URL as a constant, which is an error on every page.
    context["script_files"] = [script for script in context["script_files"] if not belongs_to_thebe(script)]


def belongs_to_thebe(script: object) -> bool:
    """Whether a script of the page context is sphinx-thebe's."""
    body = str(getattr(script, "attributes", {}).get("body", ""))
    return "THEBE" in body or "thebe" in str(getattr(script, "filename", "") or "")
