"""The course of a trial is the mean over its seeds after each task that all of them have done."""

from __future__ import annotations

import json
from pathlib import Path

from clsim.launch.trial_course import Course


def write(folder: Path, *scores: float | None) -> None:
    folder.mkdir(exist_ok=True)
    lines = [
        line
        for score in scores
        for line in ({"phase": "train", "values": {}}, {"phase": "eval", "values": {"mAP/seen": score}})
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_task_counts_once_every_seed_has_done_it_and_the_last_one_never(tmp_path: Path) -> None:
    folders = [tmp_path / "seed0", tmp_path / "seed1"]
    seen: list[list[float]] = []
    course = Course(folders, tasks=3, prunes=lambda scores: bool(seen.append(scores)))
    assert not course.look()
    write(folders[0], 60, 50)
    assert not course.look()
    assert seen == []
    write(folders[1], 40)
    course.look()
    course.look()
    write(folders[1], 40, 30)
    course.look()
    write(folders[0], 60, 50, 40)
    write(folders[1], 40, 30, 20)
    course.look()
    assert seen == [[50.0], [50.0, 40.0]]


def test_a_trial_given_up_stays_so_and_an_undefined_score_is_no_reason(tmp_path: Path) -> None:
    write(tmp_path / "a", None, 10)
    assert not Course([tmp_path / "a"], 3, lambda _: True).look()
    write(tmp_path / "b", 10)
    course = Course([tmp_path / "b"], 3, lambda _: True)
    assert course.look()
    course.prunes = lambda _: False
    assert course.look()
