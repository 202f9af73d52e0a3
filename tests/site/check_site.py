"""Check the pages of the built book: `python check_site.py _build/html`.

Reported are dead local links and anchors, anything loaded from another host, images without alt text, figures without a
caption or a description, plotly figures on a page without plotly.js, ipywidgets (which need a kernel), tracebacks, and
notebook cells tagged `figure` whose output holds no figure.
"""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

LOADING_LINKS = {"stylesheet", "preload", "modulepreload", "icon", "shortcut icon", "apple-touch-icon", "manifest"}
EMPTY_ELEMENTS = set("area base br col embed hr img input link meta source track wbr".split())


@dataclass
class Figure:
    """What a `figure` element says of itself."""

    label: str
    caption: str = ""
    has_image_text: bool = False


@dataclass
class Page(HTMLParser):
    """What one page refers to, loads and shows."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open_elements: list[tuple[str, str]] = []  # (name, classes)
        self.figure_cells: list[bool] = []  # one for each open cell: tagged `figure` and still without one
        source = self.path.read_text(encoding="utf8")
        self.feed(source)
        if "plotly-graph-div" in source and not any("plotly.min.js" in load for load in self.loads):
            self.problems.append("a plotly figure, but no plotly.js")
        if "application/vnd.jupyter.widget" in source:
            self.problems.append("an ipywidget, which does nothing without a kernel")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        self.note_references(tag, attributes)
        self.note_figure(tag, attributes)
        if tag not in EMPTY_ELEMENTS:
            self.open_elements.append((tag, attributes.get("class", "")))
            if is_figure_cell(*self.open_elements[-1]):
                self.figure_cells.append(True)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {name for name, _ in self.open_elements}:
            return
        while self.open_elements:
            name, classes = self.open_elements.pop()
            if is_figure_cell(name, classes) and self.figure_cells.pop():
                self.problems.append("a cell tagged 'figure' without a figure")
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        classes = " ".join(classes for _, classes in self.open_elements)
        names = {name for name, _ in self.open_elements}
        if "figcaption" in names and self.figures:
            self.figures[-1].caption += data.strip()
        if "cell_output" in classes and "Traceback (most recent call last)" in data:
            self.problems.append("a traceback in the output of a cell")

    def note_references(self, tag: str, attributes: dict[str, str]) -> None:
        """File links, and files that the browser fetches by itself."""
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag in {"script", "img", "iframe", "source", "video", "audio"} and attributes.get("src"):
            self.loads.append(attributes["src"])
        if tag == "link" and attributes.get("rel") in LOADING_LINKS and attributes.get("href"):
            self.loads.append(attributes["href"])

    def note_figure(self, tag: str, attributes: dict[str, str]) -> None:
        """File figures; an image needs words for those who cannot see it."""
        has_text = bool(attributes.get("alt", "").strip())
        if tag == "img" and not has_text:
            self.problems.append(f"an image without alt text: {attributes.get('src', '')[:60]}")
        if tag == "figure":
            self.figures.append(Figure(attributes.get("aria-label", "").strip()))
        if tag == "img" and self.figures:
            self.figures[-1].has_image_text |= has_text
        if tag in {"figure", "img", "canvas", "svg"} and self.figure_cells:
            self.figure_cells[-1] = False


def is_figure_cell(tag: str, classes: str) -> bool:
    """Whether an element is a notebook cell with the tag `figure`; Jupyter Book writes tags as classes."""
    return tag == "div" and "cell" in classes.split() and "tag_figure" in classes.split()


def problems_of_page(page: Page, pages: dict[Path, Page]) -> list[str]:
    """Everything that is wrong with one page, given all pages by path."""
    problems = [*page.problems]
    for load in page.loads:
        problems += problems_of_load(page, load)
    for link in page.links:
        problems += problems_of_link(page, link, pages)
    for figure in page.figures:
        if not figure.caption:
            problems.append(f"a figure without a caption: {figure.label[:60]}")
        if not (figure.label or figure.has_image_text):
            problems.append(f"a figure without a description: {figure.caption[:60]}")
    return problems


def problems_of_load(page: Page, load: str) -> list[str]:
    """A file that the page fetches must lie beside it."""
    address = urlparse(load)
    if address.scheme == "data":
        return []
    if address.scheme or load.startswith("//"):
        return [f"loads {load} from the network"]
    return [] if (page.path.parent / unquote(address.path)).is_file() else [f"missing file {load}"]


def problems_of_link(page: Page, link: str, pages: dict[Path, Page]) -> list[str]:
    """A local link must lead to a file, and its fragment to an anchor."""
    if urlparse(link).scheme or link.startswith("//"):
        return []
    file, fragment = urldefrag(link)
    target = (page.path.parent / unquote(urlparse(file).path)).resolve() if file else page.path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return [f"dead link {link}"]
    if fragment and target in pages and unquote(fragment) not in pages[target].anchors:
        return [f"no anchor {link}"]
    return []


def check_site(root: Path) -> list[str]:
    """All problems of a built site, each with its page."""
    files = [path.resolve() for path in sorted(root.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path) for path in files}
    found = [f"{path.relative_to(root.resolve())}: {p}" for path in files for p in problems_of_page(pages[path], pages)]
    return sorted(set(found)) if files else [f"{root}: no pages"]


def main() -> int:
    """Print the problems; the status says whether there were any."""
    root = Path(sys.argv[1])
    problems = check_site(root)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"site check: {len(list(root.rglob('*.html')))} pages, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
