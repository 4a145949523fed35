"""The report in a real browser: everything is there and seen, nothing is loaded, it fits a phone and paper."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim.report.writing import write_report

TABLES = {
    *("final", "accuracy", "differences", "distance", "expected", "thresholds", "imbalances", "groups"),
    *("group-forgetting", "memory", "more", "classes", "cost", "tasks", "options", "environment", "unfinished"),
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


LOWEST_EDGE = """() => Math.max(...['.result', '#table-final', '#figure-curves svg'].map(
  name => document.querySelector(name).getBoundingClientRect().bottom))"""
SCROLLED = """() => [...document.querySelectorAll('.scroll, .plot')].filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.id || e.getAttribute('aria-label') || e.closest('figure').id)"""
SIZES_OF_TEXT = """selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility())
  .map(e => parseFloat(getComputedStyle(e).fontSize))"""


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
    chromium: Any,
) -> Iterator[Opened]:
    """The report of runs that have everything a run can have."""
    root = rebalanced_runs(labelled_runs(tmp_path_factory.mktemp("browser")))
    accuracy = {"last_all": 50.0, "average": 55.0, "last_many": 70.0, "last_medium": 40.0, "last_few": 30.0}
    make_run(root, "a-strategy-with-a-name-too-long-for-a-phone", accuracy=accuracy)
    (root / "lwf" / "seed3").mkdir(parents=True)
    path = write_report(root)
    found = Opened(chromium.new_page(viewport={"width": 1280, "height": 900}), path)
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(path.as_uri())
    found.page.evaluate("() => document.querySelectorAll('details').forEach(e => { e.open = true; })")
    yield found
    found.page.close()


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


def test_the_first_screen_shows_the_sentence_the_table_and_the_curves(
    make_run: Callable[..., Path], tmp_path: Path, chromium: Any
) -> None:
    for strategy in ("finetune", "er", "lwf", "lwf+er", "rebll"):
        for seed in range(2):
            make_run(tmp_path, strategy, seed)
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(write_report(tmp_path).as_uri())
    assert page.evaluate(LOWEST_EDGE) <= 900
    page.close()


def test_what_scrolls_on_a_phone_shows_an_arrow_until_its_end(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    assert {"Final table", "figure-curves", "Cost"} <= set(opened.page.evaluate(SCROLLED))
    box = opened.page.locator("#final .scroll")
    assert arrow_pixels(box) > 20
    box.evaluate("e => { e.scrollLeft = e.scrollWidth; }")
    assert arrow_pixels(box) == 0
    box.evaluate("e => { e.scrollLeft = 0; }")


def arrow_pixels(box: Any) -> int:
    """Count the pixels in the colour of the arrow at the right edge of a box."""
    pixels = np.asarray(Image.open(io.BytesIO(box.screenshot())).convert("RGB"), dtype=int)[:, -16:]
    return int((np.abs(pixels - [0x0B, 0x5F, 0x94]).sum(axis=-1) < 30).sum())


def test_it_prints_with_nothing_cut_off_no_empty_page_and_notes_no_larger_than_tables(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 718, "height": 1000})  # A4 less margins of 1 cm
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(WIDER_THAN_PAPER) == []
    cells = opened.page.evaluate(SIZES_OF_TEXT, "td, th, td *, th *:not(sub)")
    notes = opened.page.evaluate(SIZES_OF_TEXT, "figcaption, .under, .note, .byline")
    assert min(cells) >= max(notes)
    pdf = opened.page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "1cm"))
    opened.page.emulate_media(media="screen")
    pages = drawn_pages(pdf)
    assert len(pages) >= 3
    assert min(map(len, pages)) > 1000


def drawn_pages(pdf: bytes) -> list[bytes]:
    """Return what is drawn on each page of a PDF, as PDF operators; an empty page has a few dozen bytes of them."""
    found = []
    for number in re.findall(rb"/Type /Page\n.*?/Contents (\d+) 0 R", pdf, flags=re.DOTALL):
        stream = re.search(rb"\n%s 0 obj\n.*?stream\r?\n(.*?)\r?\nendstream" % number, pdf, flags=re.DOTALL)
        assert stream is not None
        found.append(zlib.decompressobj().decompress(stream[1]))
    return found
