from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from clsim.launch.run_state import MetricsTail, RunState, recorded_pace
from clsim.preparation import tell, training_begins
from clsim.running.preparation_file import preparation_file
from clsim.running.run_folder import RunFolder
from clsim.vocabulary import SEEN_MAP

LINES = [
    {"phase": "train", "step": 3, "values": {"loss/total": 1.0}},
    {"phase": "eval", "step": 1, "values": {"mAP/seen": 40.0}},
    {"phase": "train", "step": 4, "values": {"loss/total": 1.0}},
    {"phase": "epoch-eval", "step": 4, "values": {"epoch/mAP_seen": 30.0}},
]


def text(*lines: dict) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def epochs(*steps: int) -> str:
    return text(*({"phase": "train", "step": step} for step in steps))


def test_a_pass_inside_a_task_is_neither_progress_nor_a_result(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(text(*LINES) + '{"phase": "tr')
    state = RunState(6, 2)
    MetricsTail(tmp_path, state).read()
    assert (state.done, state.total, state.task, state.seen_map) == (4, 6, 2, 40.0)


def test_only_what_is_new_is_read_and_half_a_line_waits_for_its_other_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.jsonl"
    state = RunState(6)
    taken: list[int] = []
    monkeypatch.setattr(state, "take", lambda line: taken.append(line["step"]))
    tail = MetricsTail(tmp_path, state)
    tail.read()
    whole = epochs(1, 2, 3)
    for stop in range(0, len(whole) + 1, 7):
        file.write_text(whole[:stop])
        tail.read()
    file.write_text(whole)
    tail.read()
    tail.read()
    assert taken == [1, 2, 3]


def test_a_damaged_line_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(epochs(1) + "\0\0\n[]\n{}\n" + epochs(2))
    state = RunState(6)
    MetricsTail(tmp_path, state).read()
    assert state.done == 2


def test_a_file_that_was_cut_back_to_a_checkpoint_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(epochs(1, 2, 3))
    state = RunState(6, status="waiting")
    tail = MetricsTail(tmp_path, state)
    tail.read()
    state.start()
    assert (state.done, state.before) == (3, 3)
    os.truncate(file, len(epochs(1)))
    tail.read()
    assert (state.done, state.before) == (1, 1)
    file.write_text(epochs(1, 2))
    tail.read()
    assert (state.done, state.before) == (2, 1)


def test_the_pace_counts_only_epochs_that_this_process_has_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    state = RunState(10, 5, "waiting", done=4)
    assert (state.elapsed, state.pace) == (None, None)
    state.start()
    assert state.pace is None
    clock[0] = 106.0
    state.take({"phase": "train", "step": 6})
    clock[0] = 107.0
    assert (state.pace, state.elapsed, state.task) == (3.0, 7.0, 4)
    state.end("finished")
    clock[0] = 200.0
    assert state.elapsed == 7.0


def test_work_that_is_done_once_is_not_in_the_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    state = RunState(10, 5, "waiting")
    tail = MetricsTail(tmp_path, state)
    with preparation_file(tmp_path):
        tell("decoding", 3, 9)
        tail.read()
        assert state.work is None  # of a run that is not at work: left by a process that was killed
        state.start()
        tail.read()
        assert (str(state.work), state.trains) == ("decoding 3 of 9 images", False)
        clock[0] = 90.0
        tell("features", 9, 9)
        tail.read()
        assert str(state.work) == "features 9 of 9 images"
        training_begins()
        tail.read()
        assert (state.work, state.trains, state.pace) == (None, True, None)
        clock[0] = 95.0
        (tmp_path / "metrics.jsonl").write_text(epochs(1))
        tail.read()
        assert (state.pace, state.elapsed) == (5.0, 95.0)
    assert not RunFolder(tmp_path).preparation.exists()
    state.start()
    assert not state.trains


def test_a_damaged_report_of_work_counts_for_nothing(tmp_path: Path) -> None:
    state = RunState(10, 5)
    for text in ("", "{", "{}", "[]", '{"what": "x", "done": "y", "total": 1}'):
        RunFolder(tmp_path).preparation.write_text(text)
        MetricsTail(tmp_path, state).read()
        assert (state.work, state.trains) == (None, False)


def test_epochs_of_a_shared_first_task_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    state = RunState(10, 5, "waiting")
    state.start(shared=2)
    clock[0] = 8.0
    state.take({"phase": "train", "step": 2})
    assert state.pace is None
    state.take({"phase": "train", "step": 4})
    assert state.pace == 4.0


def test_the_pace_of_a_finished_run_is_read_from_its_times(tmp_path: Path) -> None:
    assert recorded_pace(tmp_path, 2) is None
    times = ({"train_seconds": 5.0, "eval_seconds": 1.0}, {"train_seconds": 6.0, "eval_seconds": 2.0})
    (tmp_path / "timing.jsonl").write_text(text(*times))
    assert recorded_pace(tmp_path, 2) == 3.5
    (tmp_path / "timing.jsonl").write_text("{}\n")
    assert recorded_pace(tmp_path, 2) is None


def test_a_run_without_epochs_counts_its_scored_tasks() -> None:
    state = RunState.of(0, 5)
    assert (state.total, state.epochs, state.task, state.unit) == (5, 1, 1, "tasks")
    state.take({"phase": "eval", "step": 1, "values": {SEEN_MAP: 50.0}})
    assert (state.done, state.task, state.seen_map) == (1, 2, 50.0)
    assert state.pace is not None
    with_epochs = RunState.of(3, 5)
    assert (with_epochs.total, with_epochs.epochs, with_epochs.unit) == (15, 3, "epochs")
