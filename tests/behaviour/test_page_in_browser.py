"""The report in a real browser: everything is there and seen, nothing is loaded, it fits a phone and paper."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clsim.report.writing import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH; Debian: apt-get install chromium")

FLAGS = (  # a fresh user data folder and headless are the driver's
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
TABLES = {
    *("final", "accuracy", "differences", "distance", "expected", "thresholds", "imbalances", "groups"),
    *("group-forgetting", "memory", "more", "cost", "tasks", "options", "environment", "unfinished"),
}
FIGURES = {
    *("intransigence", "ratios", "curves", "matrices", "forgetting", "groups", "group-courses", "labels"),
    *("more-courses", "more-layers", "more-classes", "classes"),
}
SEEN = """() => [...document.querySelectorAll('table, figure, svg')].map(e => {
  const box = e.getBoundingClientRect();
  return [e.id || e.getAttribute('aria-label'), e.checkVisibility() && box.width > 20 && box.height > 20];
})"""
OUT_OF_PAGE = """() => [...document.querySelectorAll('main *')].filter(
  e => !e.closest('.scroll, .plot, pre') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""
WIDER_THAN_PAPER = """() => [...document.querySelectorAll('table, svg')].filter(
  e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.id || e.getAttribute('aria-label'))"""
TITLE_UNDER_POINTER = """path => {
  path.scrollIntoView({block: 'center'});
  const at = path.getPointAtLength(path.getTotalLength() / 4).matrixTransform(path.getScreenCTM());
  return document.elementFromPoint(at.x, at.y + 2).closest('g')?.querySelector('title')?.textContent;
}"""


@dataclass
class Opened:
    """A page and what the browser said while it was open."""

    page: Any
    path: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def opened(
    make_run: Callable[..., Path],
    labelled_runs: Callable[[Path], Path],
    rebalanced_runs: Callable[[Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Opened]:
    """The report of runs that have everything a run can have."""
    root = rebalanced_runs(labelled_runs(tmp_path_factory.mktemp("browser")))
    accuracy = {"last_all": 50.0, "average": 55.0, "last_many": 70.0, "last_medium": 40.0, "last_few": 30.0}
    make_run(root, "a-strategy-with-a-name-too-long-for-a-phone", accuracy=accuracy)
    (root / "lwf" / "seed3").mkdir(parents=True)
    path = write_report(root)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        found = Opened(browser.new_page(viewport={"width": 1280, "height": 900}), path)
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.goto(path.as_uri())
        found.page.evaluate("() => document.querySelectorAll('details').forEach(e => { e.open = true; })")
        yield found
        browser.close()


def test_every_table_and_figure_is_seen(opened: Opened) -> None:
    seen = opened.page.evaluate(SEEN)
    ids = {name for name, _ in seen}
    assert {f"table-{name}" for name in TABLES} == {name for name in ids if name.startswith("table-")}
    assert {f"figure-{name}" for name in FIGURES} == {name for name in ids if name.startswith("figure-")}
    assert [name for name, visible in seen if not visible] == []


def test_it_loads_nothing_and_complains_of_nothing(opened: Opened) -> None:
    assert opened.requests == [opened.path.as_uri()]
    assert opened.complaints == []


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_it_fits_the_width_of_the_screen(opened: Opened, width: int) -> None:
    opened.page.set_viewport_size({"width": width, "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate(OUT_OF_PAGE) == []


def test_the_numbers_of_a_line_show_where_the_pointer_rests(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    for line in opened.page.query_selector_all(".panels .hit")[:3]:
        assert ": 60.0, 80.0, 50.0" in line.evaluate(TITLE_UNDER_POINTER)


def test_it_prints_with_nothing_cut_off(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 718, "height": 1000})  # A4 less margins of 1 cm
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(WIDER_THAN_PAPER) == []
    pdf = opened.page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "1cm"))
    opened.page.emulate_media(media="screen")
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") >= 3
