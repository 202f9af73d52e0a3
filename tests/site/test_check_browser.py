"""The browser check finds what it is made to find, and the built site passes it."""

from pathlib import Path

import pytest
from check_browser import check_browser, missing_browser

SITE = Path(__file__).parents[2] / "_build" / "html"
EXPLORER = """<html><body><div class="facexai-explorer" data-expected="[[0, 1.0], [2, 5.0]]">
<input type="range" min="0" max="2" step="1" value="0"></div><script>
const explorer = document.querySelector('.facexai-explorer'), slider = explorer.querySelector('input');
slider.addEventListener('input', () => { explorer.dataset.sum = 1 + FACTOR * slider.value; });
slider.dispatchEvent(new Event('input'));</script></body></html>"""
BAD_PAGES = {
    "a wrong sum": (EXPLORER.replace("FACTOR", "3"), "numpy has 5.0"),
    "an explorer that nothing is known of": ('<div class="facexai-explorer" data-sum="1"></div>', "no expected sums"),
    "a figure that is not drawn": ('<div class="plotly-graph-div"></div>', "not drawn"),
    "an error in a script": ("<script>undefinedFunction()</script>", "undefinedFunction"),
    "another host": ('<script>new Image().src = "http://example.org/face.png"</script>', "asks example.org"),
}

pytestmark = pytest.mark.skipif(bool(missing_browser()), reason=missing_browser() or "a browser is there")


def test_an_explorer_with_the_right_sums_passes(tmp_path: Path):
    (tmp_path / "page.html").write_text(EXPLORER.replace("FACTOR", "2"))
    assert check_browser(tmp_path) == []


def test_each_kind_of_problem_is_found(tmp_path: Path):
    for name, (page, _) in BAD_PAGES.items():
        (tmp_path / f"{name}.html").write_text(page)
    problems = check_browser(tmp_path)
    for name, (_, expected) in BAD_PAGES.items():
        assert any(problem.startswith(name) and expected in problem for problem in problems), (name, problems)


@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the book is not built; run `make book`")
def test_the_built_book_works_in_a_browser():
    assert check_browser(SITE) == []
