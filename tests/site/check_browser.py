"""Open the built book in headless Chromium with every other host unreachable: `python check_browser.py _build/html`.

A page passes when it asks no other host for anything, logs no severe line, draws all its plotly figures and typesets
its formulas, and when each explorer, moved to the slider values that it ships, shows the sums that numpy had.
"""

import functools
import http.server
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,2600",
    # No host but this machine has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
SUM_TOLERANCE = 1e-3  # of the largest sum: the browser adds float32 in another order than numpy

WAIT_UNTIL_DRAWN = """
const done = arguments[arguments.length - 1], start = Date.now();
(function look() {
  const figures = [...document.querySelectorAll('.plotly-graph-div')];
  const formulas = [...document.querySelectorAll('.math')];
  const waiting = figures.filter(f => !f.querySelector('.main-svg')).length
                + formulas.filter(f => !f.querySelector('mjx-container')).length
                + document.querySelectorAll('.facexai-explorer:not([data-sum])').length;
  if (!waiting || Date.now() - start > 15000) done(waiting); else setTimeout(look, 100);
})();
"""
MOVE_EXPLORER = """
const [explorer, value] = arguments, slider = explorer.querySelector('input[type=range]');
slider.value = value;
slider.dispatchEvent(new Event('input', {bubbles: true}));
return Number(explorer.dataset.sum);
"""


def missing_browser() -> str:
    """Why no browser can be started, or an empty string."""
    if not find_chromium():
        return "Chromium is not on the path"
    if not shutil.which("chromedriver"):
        return "chromedriver is not on the path"
    return ""


def find_chromium() -> str | None:
    """Path of Chromium, under one of its names."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a folder on this machine; yields its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            """Browsers ask for this file where a page names no icon; its absence is not worth a line."""
            if self.path == "/favicon.ico":
                self.send_response(http.HTTPStatus.NO_CONTENT)
                self.end_headers()
            else:
                super().do_GET()

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium in a fresh profile, logging requests and console lines."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = find_chromium() or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        driver.set_script_timeout(30)
        try:
            yield driver
        finally:
            driver.quit()


def problems_of_page(driver: Any, address: str) -> list[str]:
    """Open one page, wait until it is drawn, move what moves."""
    driver.get(address)
    waiting = driver.execute_async_script(WAIT_UNTIL_DRAWN)
    problems = [f"{waiting} figures, formulas or explorers not drawn after 15 s"] if waiting else []
    for explorer in driver.find_elements("css selector", ".facexai-explorer"):
        problems += problems_of_explorer(driver, explorer)
    hosts = {host for host in map(requested_host, driver.get_log("performance")) if host not in {None, "127.0.0.1"}}
    problems += [f"asks {host} for something" for host in sorted(map(str, hosts))]
    severe = [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]
    return problems + [f"console: {message[:200]}" for message in severe]


def problems_of_explorer(driver: Any, explorer: Any) -> list[str]:
    """Move the slider to each shipped value and compare the browser's sum with numpy's."""
    expected = json.loads(explorer.get_attribute("data-expected") or "[]")
    if len({total for _, total in expected}) < 2:
        return ["an explorer ships no expected sums that differ"]
    scale = max(abs(total) for _, total in expected)
    problems = []
    for value, total in expected:
        shown = driver.execute_script(MOVE_EXPLORER, explorer, value)
        if not abs(shown - total) <= SUM_TOLERANCE * scale:
            problems.append(f"an explorer at {value} shows the sum {shown}; numpy has {total}")
    return problems


def requested_host(entry: dict[str, str]) -> str | None:
    """Host of a request in Chromium's log, None for other entries and for what never leaves the browser."""
    message = json.loads(entry["message"])["message"]
    if message["method"] != "Network.requestWillBeSent":
        return None
    address = urlparse(message["params"]["request"]["url"])
    return address.hostname if address.scheme in {"http", "https"} else None


def check_browser(root: Path) -> list[str]:
    """All problems that Chromium meets on the pages of a built site."""
    pages = [path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts]
    problems = []
    with served(root) as address, browser() as driver:
        for page in pages:
            name = page.relative_to(root).as_posix()
            problems += [f"{name}: {problem}" for problem in problems_of_page(driver, f"{address}/{name}")]
    return problems


def main() -> int:
    """Print the problems; the status says whether there were any. Without a browser, say so and pass."""
    if reason := missing_browser():
        print(f"browser check skipped: {reason}")
        return 0
    problems = check_browser(Path(sys.argv[1]))
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"browser check: {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
