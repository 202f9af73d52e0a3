"""The files of `static/`: scripts, styles and templates that go into pages."""

from functools import cache
from importlib import resources


@cache
def read_asset(name: str) -> str:
    """Text of a file in `facexai/views/static`."""
    return resources.files("facexai.views").joinpath("static", name).read_text(encoding="utf-8")
