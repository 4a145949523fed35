"""Quality of a memory's labels against the truth, counted by hand and in real runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clsim
from clsim.evaluation import memory_labels
from clsim.evaluation.loggers import MemoryFile
from clsim.evaluation.memory_labels import MemoryLabels, entry_states, label_blocks, label_quality, ones_beside
from clsim.evaluation.pictures import LABEL_COLOURS, label_block_image
from clsim.scenario import load_scenario
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.vocabulary import MEMORY_LABELS, STATES

TASKS = ((0, 2), (2, 3))
STORED_BY = np.array([0, 0, 1])
LABELS = np.array([[1, 0, 1], [0, 1, 0], [0.7, -1, 1]], dtype=np.float32)
PROVENANCE = np.array([[0, 0, 2], [0, 0, 2], [2, -1, 0]])
TRUTH = np.array([[1, 0, 1], [0, 1, 1], [0, 1, 1]], dtype=np.int8)
# relabelled: row 0 class 2 rightly present, row 1 class 2 wrongly absent, row 2 class 0 wrongly present; one unknown
STATE_NAMES = [["given", "given", "right"], ["given", "given", "wrong"], ["wrong", "unknown", "given"]]


def states() -> np.ndarray:
    return entry_states(LABELS, PROVENANCE, TRUTH)


def test_each_entry_is_given_right_wrong_or_unknown() -> None:
    assert [[STATES[state] for state in row] for row in states()] == STATE_NAMES


def test_a_relabelled_entry_without_a_truth_is_neither_right_nor_wrong() -> None:
    truth = TRUTH.copy()
    truth[0, 2] = truth[2, 0] = -1
    assert [STATES[state] for state in entry_states(LABELS, PROVENANCE, truth)[[0, 2], [2, 0]]] == ["unknown"] * 2


def test_quality_counts_relabelled_entries_only() -> None:
    quality = label_quality(LABELS, states(), TRUTH)
    assert quality["coverage"] == 75  # three of the four entries that nothing was given for
    assert quality["precision"] == 50  # of two that say present one is
    assert quality["FPR"] == 100  # of one that is absent
    assert quality["FNR"] == 50  # of two that are present


def test_divergence_is_from_the_true_classes_to_the_ones_shown() -> None:
    true, shown = np.array([1, 2, 3]) + 0.5, np.array([1.7, 1, 2]) + 0.5
    p, q = true / true.sum(), shown / shown.sum()
    assert label_quality(LABELS, states(), TRUTH)["KL"] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-6)


def test_a_memory_that_shows_the_truth_diverges_by_nothing() -> None:
    told = np.where(TRUTH == 1, 1, 0).astype(np.float32)
    perfect = label_quality(told, entry_states(told, PROVENANCE, TRUTH), TRUTH)
    assert perfect["KL"] == pytest.approx(0, abs=1e-12)
    assert (perfect["precision"], perfect["FPR"], perfect["FNR"]) == (100, 0, 0)


def test_without_relabelled_entries_there_is_no_precision() -> None:
    only_given = np.where(PROVENANCE == 0, 0, -1)
    labels = np.where(only_given == 0, TRUTH, -1).astype(np.float32)
    quality = label_quality(labels, entry_states(labels, only_given, TRUTH), TRUTH)
    assert quality["coverage"] == 0
    assert all(np.isnan(quality[name]) for name in ("precision", "FPR", "FNR"))


def test_ones_are_counted_on_their_side_of_the_diagonal() -> None:
    above = np.array([[False, False, True], [False, False, True], [False, False, False]])
    assert ones_beside(LABELS, PROVENANCE, TRUTH, above) == {
        "ones_above": 1,
        "hidden_above": 2,
        "ones_below": 1,
        "hidden_below": 1,
    }


def test_blocks_are_by_storing_task_and_task_of_the_class() -> None:
    blocks = label_blocks(states(), STORED_BY, TASKS)
    assert blocks.tolist() == [[[4, 0, 0, 0], [0, 1, 1, 0]], [[0, 0, 1, 1], [1, 0, 0, 0]]]


@settings(max_examples=30)
@given(st.integers(0, 9999), st.integers(0, 20))
def test_every_entry_is_in_one_block_and_one_state(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    provenance = rng.integers(-1, 3, (n, 3))
    labels = np.where(provenance < 0, -1, rng.integers(0, 2, (n, 3))).astype(np.float32)
    truth = rng.integers(-1, 2, (n, 3)).astype(np.int8)
    blocks = label_blocks(entry_states(labels, provenance, truth), rng.integers(0, 2, n), TASKS)
    assert blocks.sum() == 3 * n
    assert blocks[..., 0].sum() == (provenance == 0).sum()


# --- the picture


def test_the_picture_shows_given_relabelled_and_unknown_but_not_right_and_wrong() -> None:
    blocks = label_blocks(states(), STORED_BY, TASKS)
    swapped = blocks[..., [0, 2, 1, 3]]
    names = ["task 0", "task 1"]
    picture = label_block_image(blocks, names)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    np.testing.assert_array_equal(picture, label_block_image(swapped, names))
    assert (picture != label_block_image(blocks[..., [1, 0, 2, 3]], names)).any()


@pytest.mark.parametrize(("state", "colour"), [(0, "given"), (1, "relabelled"), (2, "relabelled"), (3, "unknown")])
def test_a_block_of_one_kind_is_filled_with_its_colour(state: int, colour: str) -> None:
    blocks = np.zeros((1, 1, 4), dtype=np.int64)
    blocks[0, 0, state] = 5
    picture = label_block_image(blocks, ["task 0"])
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    assert "#" + "".join(f"{value:02x}" for value in middle) == LABEL_COLOURS[colour].lower()


def test_blocks_count_every_entry_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    tasks = ((0, 3), (3, 3), (3, 4), (4, 9))  # the second task brings no new class
    found, stored_by = rng.integers(0, 4, (50, 9)).astype(np.int8), rng.integers(0, 4, 50)
    expected = [
        [np.bincount(found[stored_by == t, slice(*classes)].ravel(), minlength=4).tolist() for classes in tasks]
        for t in range(4)
    ]
    monkeypatch.setattr(memory_labels, "ROWS_AT_ONCE", 7)
    assert label_blocks(found, stored_by, tasks).tolist() == expected


def test_the_memory_file_is_written_after_the_last_task_alone(tmp_path: Path) -> None:
    memory = SimpleNamespace(rows=np.arange(3), stored_by=STORED_BY, labels=LABELS, provenance=PROVENANCE)
    metric = MemoryLabels(SimpleNamespace(memory=memory), TRUTH, TASKS)
    logger = MemoryFile(tmp_path / "memory.csv", ["a", "b,c", "d"], tasks=2)
    position = SimpleNamespace(task=1, started=False)
    template = SimpleNamespace(position=position, evaluator=SimpleNamespace(metrics=[metric]))
    logger.after_eval_exp(template, [object()])
    assert list(tmp_path.iterdir()) == []
    position.task = 2
    logger.after_eval_exp(template, [object()])
    lines = (tmp_path / "memory.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ['row,stored_by,a,"b,c",d', "0,0,1,0,1@1", "1,0,0,1,0@1", "2,1,0.7@1,,1"]


def test_a_state_of_nested_lists_is_read() -> None:
    metric = MemoryLabels(SimpleNamespace(memory=None), TRUTH, TASKS)
    for blocks in (label_blocks(states(), STORED_BY, TASKS), np.zeros((0, 0, 4), dtype=np.int64)):
        for state in (blocks.tolist(), torch.tensor(blocks)):
            metric.load_state_dict({"courses": {}, "blocks": state})
            np.testing.assert_array_equal(metric.blocks, blocks)


# --- real runs


@pytest.fixture(scope="module")
def relabelled(tiny_overrides: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose memory is relabelled with ones and zeros."""
    overrides = tiny_overrides | {"strategy.or.threshold": "prior"}
    return clsim.run("digits-b0c2", "er+or", overrides=overrides, out=tmp_path_factory.mktemp("labels")).folder


def test_a_run_records_what_its_last_memory_file_says(relabelled: Path, tiny_overrides: dict) -> None:
    recorded = json.loads((relabelled / "result.json").read_text())["memory"]["labels"]
    assert set(recorded) == {*MEMORY_LABELS, "states", "blocks"}
    plan = StreamPlan.from_bytes((relabelled / "plan.json.gz").read_bytes())
    truth = load_scenario("digits-b0c2", tiny_overrides).truth()[plan.row_samples]
    with (relabelled / "memory.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    told = [
        (float(cell.split("@")[0]) > 0.5, truth[int(line["row"]), column])
        for line in table
        for column, name in enumerate(plan.class_names)
        if "@" in (cell := line[name])
    ]
    assert len(told) > 20
    says, present = np.array([said for said, _ in told]), np.array([true == 1 for _, true in told])
    assert 0 < says.sum() < len(says)
    assert recorded["coverage"][-1] == 100
    assert recorded["precision"][-1] == pytest.approx(100 * (says & present).sum() / says.sum())
    assert recorded["FPR"][-1] == pytest.approx(100 * (says & ~present).sum() / (~present).sum())
    assert recorded["FNR"][-1] == pytest.approx(100 * (~says & present).sum() / present.sum())
    assert recorded["ones_above"][-1] + recorded["ones_below"][-1] == says.sum()
    assert np.sum(recorded["blocks"]) == len(table) * plan.n_classes


def test_the_memory_file_tells_given_from_relabelled(relabelled: Path) -> None:
    plan = StreamPlan.from_bytes((relabelled / "plan.json.gz").read_bytes())
    with (relabelled / "memory.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [int(line["stored_by"]) for line in table] == sorted(int(line["stored_by"]) for line in table)
    for line in table:
        task = int(line["stored_by"])
        start, stop = plan.tasks[task].classes
        within = int(line["row"]) - plan.row_offsets[task]
        for column, name in enumerate(plan.class_names):
            cell = line[name]
            if start <= column < stop:
                assert cell == f"{plan.tasks[task].values[within, column - start]}"
            else:  # above the diagonal by the task that brought the class, below it by the one that stored the row
                newer = next(t for t, other in enumerate(plan.tasks) if column < other.classes[1])
                assert cell.endswith(f"@{max(task, newer)}")


def test_curves_have_a_value_after_each_task_and_the_picture_lies_beside(relabelled: Path) -> None:
    lines = [json.loads(line) for line in (relabelled / "metrics.jsonl").read_text().splitlines()]
    evaluations = [line for line in lines if line["phase"] == "eval"]
    recorded = json.loads((relabelled / "result.json").read_text())["memory"]["labels"]
    for name in ("coverage", "precision", "FPR", "FNR", "KL", "ones_above", "hidden_below"):
        assert [line["values"][f"memory/{name}"] for line in evaluations] == recorded[name]
