"""The memory section: numbers of the table, places and names in the label block matrix."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clsim
from clsim.report.results import load_results
from clsim.report.sections.memory import LEGEND, block_bars, label_figures, memory_table
from clsim.vocabulary import STATES

MakeRun = Callable[..., Path]


def described(svg: str) -> str:
    found = re.search('aria-label="([^"]*)"', svg)
    assert found
    return found[1]


def test_table_has_a_row_for_each_strategy_with_memory_labels(labelled: Path) -> None:
    heading, control, rebll = memory_table(load_results(labelled))
    assert heading[0] == "Strategy"
    assert control == ("er+identity", "70.0", "60.0", "5.0", "40.0", "0.250", "11", "13", "17", "19")
    assert rebll[0] == "rebll"
    assert rebll[6:] == ("12.0 ± 1.4", "13.0 ± 0.0", "19.0 ± 2.8", "19.0 ± 0.0")


def test_without_memory_labels_there_is_neither_table_nor_figure(runs: Path) -> None:
    results = load_results(runs)
    assert memory_table(results) == []
    assert label_figures(results) == []


def test_a_figure_sums_the_entries_of_all_seeds_and_says_them_by_place(labelled: Path) -> None:
    """Above: blocks (0, 1), (0, 2), (1, 2) of two seeds; below: (1, 0), (2, 0), (2, 1)."""
    (first, _), (second, svg) = label_figures(load_results(labelled))
    assert (first, second) == ("er+identity", "rebll")
    assert described(svg) == (
        "Labels in the memory of rebll, entries: on the diagonal 24 given, 0 right, 0 wrong, 0 unknown; "
        "above it 0 given, 11 right, 4 wrong, 9 unknown; below it 0 given, 4 right, 10 wrong, 2 unknown"
    )


def test_a_bar_is_divided_as_the_entries_of_its_block() -> None:
    blocks = np.zeros((2, 2, 4), dtype=np.int64)
    blocks[0, 1] = [0, 1, 3, 0]
    blocks[1, 0] = [5, 0, 0, 5]
    given, right, wrong, unknown = block_bars(blocks)
    np.testing.assert_allclose(right, [[1.06, 0.12, 0.22, 0.76]])  # right of the left edge, a quarter of 0.88 wide
    np.testing.assert_allclose(wrong, [[1.28, 0.12, 0.66, 0.76]])  # begins where right ends
    np.testing.assert_allclose(given, [[0.06, 1.12, 0.44, 0.76]])
    np.testing.assert_allclose(unknown, [[0.50, 1.12, 0.44, 0.76]])


def test_only_wrong_labels_are_hatched_in_figure_and_legend(labelled: Path) -> None:
    (_, without_wrong), (_, with_wrong) = label_figures(load_results(labelled))
    assert "<pattern" not in without_wrong
    pattern = with_wrong[with_wrong.index("<pattern") :]
    assert "#d55e00" in pattern
    assert "#56b4e9" not in pattern[: pattern.index("</pattern>")]
    assert [name for name, style in LEGEND if "gradient" in style] == ["relabelled wrong"]
    assert "#D55E00" in dict(LEGEND)["relabelled wrong"]
    assert dict(LEGEND)["relabelled right"] == "#56B4E9"


def test_a_strategy_one_of_whose_seeds_lacks_the_blocks_has_no_figure(labelled: Path) -> None:
    path = labelled / "rebll" / "seed1" / "result.json"
    result = json.loads(path.read_text())
    del result["memory"]["labels"]
    path.write_text(json.dumps(result))
    results = load_results(labelled)
    assert [strategy for strategy, _ in label_figures(results)] == ["er+identity"]
    assert memory_table(results)[2] == ("rebll", *["–"] * 9)  # noqa: RUF001


def test_forty_tasks_stay_few_elements_with_some_of_their_numbers(make_run: MakeRun, tmp_path: Path) -> None:
    names = [f"class {t}" for t in range(40)]
    tasks = [{"index": t, "classes": [names[t]], "columns": [t, t + 1], "train_images": 9} for t in range(40)]
    blocks = np.tile([1, 2, 3, 4], (40, 40, 1)).tolist()
    memory = {"rows": 40, "bytes": 1, "labels": {"blocks": blocks}}
    scalars = {"mAP": [1.0] * 40, "R": [[1.0] * 40] * 40, "AP": None, "groups": None}
    make_run(tmp_path, "er", class_names=names, tasks=tasks, memory=memory, **scalars)
    ((_, svg),) = label_figures(load_results(tmp_path))
    assert svg.count("<path") < 60
    assert re.findall(r">(\d+)</text>", svg) == [str(t) for t in range(0, 40, 3)] * 2


@pytest.fixture(scope="module")
def identity_run(tiny_overrides: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("identity")
    return clsim.run("digits-b0c2", "er+identity", overrides=tiny_overrides, out=out).folder


def test_a_real_control_is_right_wherever_it_relabelled(identity_run: Path) -> None:
    """It knows every label there is, so that right and wrong cannot be taken for each other on the way."""
    labels = json.loads((identity_run / "result.json").read_text())["memory"]["labels"]
    assert tuple(labels["states"]) == STATES
    results = load_results(identity_run.parents[1])
    ((_, svg),) = label_figures(results)
    places = re.findall(r"(\d+) given, (\d+) right, (\d+) wrong, (\d+) unknown", described(svg))
    diagonal, above, below = ([int(count) for count in place] for place in places)
    assert diagonal[0] > 0
    assert diagonal[1:] == [0, 0, 0]
    for place in (above, below):
        assert place[1] > 0
        assert place[0] == place[2] == place[3] == 0
    row = results.frame.iloc[0]
    assert (row["memory_precision"], row["memory_FNR"]) == (100, 0)
    assert (row["memory_ones_above"], row["memory_ones_below"]) == (
        row["memory_hidden_above"],
        row["memory_hidden_below"],
    )
    assert row["predicted_old@0.5"] == pytest.approx(results.runs[0].record.at("0.5").courses["predicted_old"][-1])
    assert 0 < row["present_old"] < 100
