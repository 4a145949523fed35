"""TensorBoard in a real browser: what the links of `clsim tensorboard` open says who is who, and what matters first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import summary

from clsim.evaluation import tensorboard as curves
from clsim.evaluation.event_file import EventFile
from clsim.report.tensorboard_server import links, runs_below, start
from clsim.report.writing import write_report
from clsim.running.run_folder import RunFolder

STRATEGIES = ("akd", "er", "ewc", "finetune", "herding", "joint", "lwf", "lwf+er", "rebll")  # TensorBoard has 7 colours
TAGS = {
    "backward_transfer/mean": -3.0,
    "forgetting/mean": 4.0,
    "mAP/average": 40.0,
    "mAP/seen": 30.0,
    "mAP/task_00": 5.0,
}
PATIENCE = 60_000
COLOURS_OF_ROWS = """rows => Object.fromEntries(rows.map(row => [
  row.textContent.trim(), getComputedStyle(row.querySelector('.run-color-swatch, .isolator'))[COLOUR]]))"""


@pytest.fixture(scope="module")
def addresses(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The links to runs of nine strategies with two seeds each."""
    home = tmp_path_factory.mktemp("tensorboard") / "toy"
    for place, strategy in enumerate(STRATEGIES):
        for seed in range(2):
            write_events(RunFolder(make_run(home, strategy, seed)), strategy, seed, place)
    write_report(home)
    return links(start(home), home, runs_below(home))


def write_events(files: RunFolder, strategy: str, seed: int, place: int) -> None:
    """Write curves of three tasks as a run does."""
    lines = [{tag: value * step + place + seed for tag, value in TAGS.items()} for step in (1, 2, 3)]
    rows = [{"phase": "eval", "task": step, "step": step + 1, "values": line} for step, line in enumerate(lines)]
    files.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    events = EventFile(files.events)
    events.begin()
    settings = {"scenario": "toy", "strategy": strategy, "seed": seed, "labels.visible": "task", "memory.budget": 4}
    charts = summary.custom_scalars({"clsim": curves._charts(inside=None, single_label=False)})
    for head in (charts, *curves._hparams(settings)):
        events.add(head)
    for step, line in enumerate(lines, start=1):
        for tag, value in line.items():
            events.add(summary.scalar(tag, value), step)


@pytest.fixture
def page(chromium: Any) -> Any:
    found = chromium.new_page(viewport={"width": 1280, "height": 900})
    found.set_default_timeout(PATIENCE)
    yield found
    found.close()


def colours(rows: Any, of: str) -> dict[str, str]:
    """Return the colour of each run in a list of runs."""
    found: dict[str, str] = rows.evaluate_all(COLOURS_OF_ROWS.replace("COLOUR", repr(of)))
    return found


def test_the_curves_are_one_mean_per_strategy_in_its_colour_unsmoothed_and_mAP_first(
    addresses: dict[str, str], page: Any
) -> None:
    page.goto(addresses["curves"])
    page.locator("card-view").first.get_by_text("akd/mean").first.wait_for()
    assert "".join(page.locator("card-view").first.inner_text().split()).startswith("mAP/seen")
    of_runs = colours(page.locator("runs-data-table tb-data-table-content-row"), "backgroundColor")
    assert set(of_runs) == {f"{strategy}/mean" for strategy in STRATEGIES}
    assert len(set(of_runs.values())) == len(STRATEGIES)
    assert page.locator(".scalars-smoothing input.slider-input").input_value() == "0"
    assert not page.get_by_role("checkbox", name="Ignore outliers in chart scaling").is_checked()


@pytest.mark.parametrize("filtered", [True, False])
def test_custom_scalars_miss_no_tag_and_give_each_strategy_its_colour(
    addresses: dict[str, str], page: Any, filtered: bool
) -> None:
    page.goto(addresses["spread"] if filtered else addresses["spread"].partition("&")[0])
    page.get_by_text(f"Matches ({len(STRATEGIES)})").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.get_by_text("Missing Tags").count() == 0
    of_runs = colours(page.locator("tf-multi-checkbox .name-row"), "color")
    assert len(of_runs) == len(STRATEGIES) * (1 if filtered else 3)
    of_strategies = {(name.rpartition("/")[0], colour) for name, colour in of_runs.items()}
    assert len(of_strategies) == len({colour for _, colour in of_strategies}) == len(STRATEGIES)


def test_hparams_opens_with_strategy_seed_and_the_final_metrics(addresses: dict[str, str], page: Any) -> None:
    page.goto(addresses["hparams"])
    page.get_by_text("rebll/seed1").first.wait_for()
    cells = [text.strip() for text in page.locator("vaadin-grid-cell-content").all_inner_texts()]
    headings = ["seed", "strategy", *curves.FINAL_METRICS]
    first = cells.index("seed")
    assert cells[first : first + len(headings)] == headings
