"""The site check finds what it is made to find, and the built site passes it."""

from pathlib import Path

import pytest
from check_site import check_site

SITE = Path(__file__).parents[2] / "_build" / "html"
GOOD_PAGE = """<html><head><link rel="stylesheet" href="style.css"><script src="plotly.min.js"></script></head><body>
<h1 id="top">Faces</h1><a href="other.html#top">other</a><a href="#top">up</a><a href="https://example.org">far</a>
<div class="cell tag_figure docutils"><div class="cell_output"><figure aria-label="A curve that rises.">
<div class="plotly-graph-div"></div><figcaption>It rises.</figcaption></figure></div></div>
<figure><img src="data:image/png;base64,AA" alt="A face"><figcaption>A face.</figcaption></figure></body></html>"""
BAD_PARTS = {
    '<a href="gone.html">gone</a>': "dead link gone.html",
    '<a href="other.html#gone">gone</a>': "no anchor other.html#gone",
    '<a href="#gone">gone</a>': "no anchor #gone",
    '<script src="https://cdn.example.org/x.js"></script>': "from the network",
    '<link rel="stylesheet" href="//cdn.example.org/x.css">': "from the network",
    '<img src="gone.png" alt="A face">': "missing file gone.png",
    '<img src="data:image/png;base64,AA">': "without alt text",
    '<figure aria-label="A curve"></figure>': "without a caption",
    "<figure><figcaption>A curve.</figcaption></figure>": "without a description",
    '<div class="cell tag_figure"><div class="cell_output"><p>oops</p></div></div>': "tagged 'figure' without a figure",
    '<div class="cell_output"><pre>Traceback (most recent call last)</pre></div>': "a traceback",
    '<script type="application/vnd.jupyter.widget-state+json">{}</script>': "an ipywidget",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("style.css", "plotly.min.js"):
        (tmp_path / name).touch()
    (tmp_path / "other.html").write_text('<h1 id="top">Other</h1>')
    (tmp_path / "page.html").write_text(GOOD_PAGE)
    return tmp_path


def test_a_good_page_has_no_problems(site: Path):
    assert check_site(site) == []


@pytest.mark.parametrize(("part", "expected"), BAD_PARTS.items(), ids=BAD_PARTS.values())
def test_each_kind_of_problem_is_found_alone(site: Path, part: str, expected: str):
    (site / "page.html").write_text(GOOD_PAGE.replace("</body>", part + "</body>"))
    problems = check_site(site)
    assert len(problems) == 1 and expected in problems[0]


def test_plotly_figures_need_plotly(site: Path):
    (site / "page.html").write_text(GOOD_PAGE.replace('<script src="plotly.min.js"></script>', ""))
    assert check_site(site) == ["page.html: a plotly figure, but no plotly.js"]


def test_an_empty_folder_is_not_a_site(tmp_path: Path):
    assert "no pages" in check_site(tmp_path)[0]


@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the book is not built; run `make book`")
def test_the_built_book_has_no_problems():
    assert check_site(SITE) == []
