"""The explorers in headless Chromium, from a file and with no network; skipped where there is no Chromium."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from test_frontalization_views import YAWS, explained

from facexai.pairs import FacePair, Saliency
from facexai.views import FrontalizationExplorer, GalleryExplorer, ScoreExplorer, ThresholdExplorer
from facexai.views.gallery import read_sheet, shown_sum

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and shutil.which("chromedriver")), reason="needs chromium and chromedriver on the path"
)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --host-resolver-rules=MAP|*|~NOTFOUND"


@pytest.fixture
def browser(tmp_path: Path):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag.replace("|", " "))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    yield driver
    driver.quit()


def open_page(browser, path: Path, *explorers):
    content = "".join(explorer._repr_html_() for explorer in explorers)
    path.write_text(f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><body>{content}", encoding="utf-8")
    browser.get(path.as_uri())
    return browser.find_elements("css selector", ".facexai-explorer")


def test_explorers_move_and_agree_with_numpy(browser, tmp_path: Path, pair: FacePair, residuals, weights):
    from selenium.webdriver.common.keys import Keys

    maps = ThresholdExplorer(pair, residuals, weights, score=0.43, threshold=0.3, keep=4)
    other = ThresholdExplorer(pair, residuals, weights[::-1], score=0.43, start=0.01)
    scores = ScoreExplorer(np.linspace(0.2, 0.9, 40), np.linspace(-0.3, 0.4, 50), threshold=0.25)
    first, second, third = open_page(browser, tmp_path / "page.html", maps, other, scores)

    def number(element, name: str) -> float:
        return float(element.get_attribute(f"data-{name}"))

    for element, explorer in ((first, maps), (second, other)):
        assert abs(number(element, "sum") - explorer.sum_at(explorer.start)) <= explorer.error_bound(explorer.start)
    untouched = number(second, "sum")

    # The arrow keys move T by one step, and the picture with it.
    slider = first.find_element("css selector", "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT * 3)
    moved = number(first, "t")
    assert moved == pytest.approx(3 * maps.payload["range"]["step"])
    assert abs(number(first, "sum") - maps.sum_at(moved)) <= maps.error_bound(moved)
    assert number(second, "sum") == untouched, "explorers of a page do not touch one another"

    # A mark is reached exactly, also between the steps of the slider.
    first.find_elements("css selector", "button")[1].click()
    assert number(first, "t") == 0.3 / 12

    # One channel alone.
    channel = maps.payload["channels"][0]
    browser.execute_script(
        "const menu = arguments[0].querySelector('select'); menu.value = '0';menu.dispatchEvent(new Event('change'));",
        first,
    )
    alone = ((maps._weights - 0.3 / 12)[:, channel] * residuals[:, channel].sum((1, 2))).sum()
    assert number(first, "sum") == pytest.approx(alone, rel=0.01)
    assert first.get_attribute("data-channel") == str(channel)

    for value in (0.25, 0.31):
        browser.execute_script(
            "const slider = arguments[0].querySelector('input'); slider.value = arguments[1];"
            "slider.dispatchEvent(new Event('input'));",
            third,
            value,
        )
        expected = scores.at(value)
        assert {name: number(third, name) for name in expected} == pytest.approx(expected)
    assert f"{scores.at(0.31)['admitted']}" in third.text

    # Every slider and menu has a name.
    for control in browser.find_elements("css selector", "input, select"):
        assert control.accessible_name.strip()
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_the_threshold_of_the_scores_can_be_dragged(browser, tmp_path: Path):
    from selenium.webdriver.common.action_chains import ActionChains

    explorer = ScoreExplorer(np.linspace(0.2, 0.9, 40), np.linspace(-0.3, 0.4, 50), threshold=0.25)
    (element,) = open_page(browser, tmp_path / "page.html", explorer)
    plot = element.find_element("css selector", "svg")
    width = plot.size["width"]
    ActionChains(browser).move_to_element(plot).click_and_hold().move_by_offset(round(width / 4), 0).release().perform()
    span = explorer.payload["range"]
    value = float(element.get_attribute("data-t"))
    assert value == pytest.approx(span["low"] + 0.75 * (span["high"] - span["low"]), abs=3 * span["step"])
    assert float(element.get_attribute("data-far")) == explorer.at(value)["far"]


def test_the_gallery_is_walked_with_the_keyboard(browser, tmp_path: Path, pair: FacePair, saliency: Saliency):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    other = Saliency(saliency.signed.flip(0).abs(), 0.4321, "other()")
    gallery = GalleryExplorer([pair, pair.swapped()], {"signed": [saliency] * 2, "magnitude": [other] * 2})
    (element,) = open_page(browser, tmp_path / "page.html", gallery)
    WebDriverWait(browser, 10).until(lambda _: element.get_attribute("data-sum"))

    def expected(method: int, percent: float) -> float:
        sheet = read_sheet(gallery.payload["pairs"][0]["sheet"])
        return shown_sum(sheet[48 * (method + 1) : 48 * (method + 2)], percent)

    def shown() -> tuple[str, float, float]:
        method, percent, total = (element.get_attribute(f"data-{name}") for name in ("method", "t", "sum"))
        return method, float(percent), float(total)

    assert shown() == ("signed", 100, pytest.approx(expected(0, 100), abs=0.01))
    tiles = element.find_elements("css selector", "input[type=radio]")
    tiles[0].send_keys(Keys.ARROW_RIGHT)
    assert shown() == ("magnitude", 100, pytest.approx(expected(1, 100), rel=1e-3))
    assert "no sign" in element.text
    slider = element.find_element("css selector", "input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT * 4)
    assert shown() == ("magnitude", 80, pytest.approx(expected(1, 80), rel=1e-3))
    for control in element.find_elements("css selector", "input, select"):
        assert control.accessible_name.strip()
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_face_is_turned_with_the_keyboard(browser, tmp_path: Path, pair: FacePair):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    found = [explained(k, moved=k != 1) for k in range(3)]
    explorer = FrontalizationExplorer([pair] * 3, found, YAWS, threshold=0.2)
    (element,) = open_page(browser, tmp_path / "page.html", explorer)
    WebDriverWait(browser, 10).until(lambda _: element.get_attribute("data-sum"))

    def shown() -> tuple[str, float, float]:
        kind, yaw, total = (element.get_attribute(f"data-{name}") for name in ("kind", "t", "sum"))
        return kind, float(yaw), float(total)

    assert shown() == ("gain", 60.0, pytest.approx(explorer.sum_at(60.0, "gain"), rel=1e-3))
    assert f"{found[2].after.score:.3f}".lstrip("-") in element.text and "moves the embedding" in element.text
    slider = element.find_element("css selector", "input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT)
    assert shown()[1] == 0.0 and "lets it pass" in element.text
    slider.send_keys(Keys.ARROW_LEFT)
    browser.execute_script(
        "const menu = arguments[0].querySelector('select'); menu.value = '4';menu.dispatchEvent(new Event('change'));",
        element,
    )
    assert shown() == ("added", -60.0, pytest.approx(explorer.sum_at(-60.0, "added"), rel=1e-3))
    for control in browser.find_elements("css selector", "input, select"):
        assert control.accessible_name.strip()
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
