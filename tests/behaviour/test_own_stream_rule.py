"""A stream rule from a user's file: planned, run, derived from; what is wrong with one is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clsim
from clsim.errors import ScenarioError
from clsim.running.run_identity import read_identity
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.planning import joint_plan
from clsim.scenario.stream_schema import OwnRule

RULE = """
import numpy as np


def few(labels, tasks, seed, *, most: int = 2):
    assert labels.dtype == np.int8
    order = np.random.default_rng(seed).permutation(len(labels))
    shows = [(labels[:, start:stop] == 1).any(axis=1) & ((labels == 1).sum(axis=1) <= most) for start, stop in tasks]
    return [order[show[order]] for show in shows]
"""
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_stream_rule.py"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_rule.py").write_text(RULE)
    return tmp_path / "my_rule.py"


def scenario(overrides: dict[str, Any], file: Path, name: str = "few", **options: Any) -> Scenario:
    return load_scenario(
        "digits-b0c2", overrides | {"stream.assignment": {"rule": f"{file}:{name}", "options": options}}
    )


def test_the_rule_says_who_is_in_a_task(file: Path, tiny: Scenario, tiny_overrides: dict[str, Any]) -> None:
    own = scenario(tiny_overrides, file, most=1)
    positives = (own.truth() == 1).sum(axis=1)
    for task, overlap in zip(own.plan().tasks, tiny.plan().tasks, strict=True):
        np.testing.assert_array_equal(task.samples, overlap.samples[positives[overlap.samples] == 1])
        np.testing.assert_array_equal(
            task.columns, np.arange(*task.classes)
        )  # what is visible stays a matter of labels
    joint = joint_plan(own.plan(), own.truth())
    assert (positives[joint.tasks[-1].samples] == 1).all()


def test_a_rule_fills_a_task_that_brings_no_class(tmp_path: Path, tiny_overrides: dict[str, Any]) -> None:
    (tmp_path / "halves.py").write_text("def halves(labels, tasks, seed):\n    return [range(30)] * len(tasks)\n")
    back = {"stream.increment": None, "stream.sizes": [10, 0], "stream.repetition": {"probability": 1.0}}
    plan = scenario(tiny_overrides | back, tmp_path / "halves.py", "halves").plan()
    assert [task.of_classes.current.tolist() for task in plan.tasks] == [list(range(10))] * 2
    assert [task.samples.tolist() for task in plan.tasks] == [list(range(30))] * 2


def test_a_rule_that_does_the_same_as_a_shipped_one_makes_the_same_plan(
    file: Path, tiny: Scenario, tiny_overrides: dict[str, Any]
) -> None:
    assert scenario(tiny_overrides, file, most=99).plan().sha256 == tiny.plan().sha256


def test_rows_that_show_no_class_of_their_task_are_counted(file: Path, tiny_overrides: dict[str, Any]) -> None:
    file.write_text(
        "import numpy as np\n\n\ndef all(labels, tasks, seed):\n    return [np.arange(len(labels))] * len(tasks)\n"
    )
    own = scenario(tiny_overrides, file, "all")
    for told, task in zip(describe(own.plan(), own.truth())["tasks"], own.plan().tasks, strict=True):
        shows = (own.truth()[task.samples, slice(*task.classes)] == 1).any(axis=1)
        assert told["rows_without_positive"] == (~shows).sum() > 0


@pytest.mark.slow
def test_a_run_is_told_apart_by_what_the_rule_gives(file: Path, tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    def identity(out: str, path: Path = file) -> dict[str, Any]:
        own = tiny_overrides | {"stream.assignment": {"rule": f"{path}:few"}}
        return read_identity(clsim.run("digits-b0c2", "er", overrides=own, out=tmp_path / out, device="cpu").folder)

    first = identity("first")
    assert first["stream.assignment.rule"] == "few"
    assert str(tmp_path) not in str(first)
    assert not any(key.startswith("code.stream") for key in first)
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text(f"# mine\nUNUSED = 1\n{RULE}")
    assert identity("moved", elsewhere) == first
    file.write_text(RULE.replace("<= most", "< most"))
    changed = identity("changed")
    assert {key for key in first if first[key] != changed[key]} == {"plan_sha256"}


def test_a_file_stands_relative_to_the_scenario(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    content = load_scenario("digits-b0c2").config.model_dump(mode="json")
    content["stream"]["assignment"] = {"rule": "my_rule.py:few"}
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    assignment = load_scenario(tmp_path / "mine.yaml").config.stream.assignment
    assert isinstance(assignment, OwnRule)
    assert assignment.rule == f"{file}:few"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return None", "returned NoneType, expected a list of one array of row positions, int [n], per task"),
        ("return r[:-1]", "returned 2 arrays for 3 tasks"),
        ("return [*r[:2], r[2] / 1]", "returned float64 [2] for task 2"),
        ("return [*r[:2], r[2][None]]", "returned int64 [1, 2] for task 2"),
        ("return [*r[:2], [[1], [1, 2]]]", "returned list for task 2: ValueError"),
        ("return [*r[:2], labels[:, 9] == 1]", "per task; np.flatnonzero makes positions of a mask"),
        ("return [*r[:2], []]", "gave task 2 no row"),
        ("return [*r[:2], [*r[2], len(labels)]]", r"gave task 2 row 120, allowed: 0 ... 119"),
        ("return [[*r[0], -1], *r[1:]]", r"gave task 0 row -1, allowed: 0 ... 119"),
        ("return [r[0], [*r[1], r[1][0]], r[2]]", "more than once"),
        ("return [r[0], np.flatnonzero(~(labels[:, 4:8] == 1).any(axis=1)), r[2]]",
         "gave task 1 no row that shows one of its classes"),
        ("calls.append(1); return [rows[: len(calls)] for rows in r]", "when called again; draw from its `seed` only"),
        ("return 1 / 0", r"failed: ZeroDivisionError: division by zero \(.*my_rule\.py:8\)"),
    ],
)  # fmt: skip
def test_a_bad_rule_meets_one_line(body: str, problem: str, file: Path, tiny_overrides: dict[str, Any]) -> None:
    file.write_text(
        "import numpy as np\n\ncalls = []\n\n\ndef bad(labels, tasks, seed):\n"
        f"    r = [np.flatnonzero((labels[:, a:b] == 1).any(axis=1))[:2] for a, b in tasks]\n    {body}\n"
    )
    own = scenario(tiny_overrides | {"dataset.train": 120}, file, "bad")
    with pytest.raises(ScenarioError) as caught:
        own.plan()
    (line,) = caught.value.problems
    assert re.search(problem if "\\" in problem else re.escape(problem), line), line
    assert f"stream.assignment.rule: {file}:bad " in line


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ({"rule": "{file}:fw"}, "stream.assignment.rule: .*defines no 'fw', did you mean 'few'"),
        ({"rule": "few"}, "unknown stream-rule 'few'; available: file.py:Name"),
        ({"rule": "{file}:few", "options": {"mst": 1}}, "stream.assignment.options.mst: .*did you mean 'most'"),
        ({"rule": "{file}:few", "options": {"most": "x"}}, "stream.assignment.options.most: given 'x'"),
        ({"rule": "{file}:few", "optoins": {}}, "stream.assignment.optoins: unknown key, did you mean 'options'"),
        ({"rule": "{file}:few", "disjoint": "first"}, "one of them, not several"),
        ({"rulle": "{file}:few"}, "did you mean 'rule'"),
        ({"disjoint": "first", "options": {}}, "stream.assignment.options: unknown key"),
        ({"rule": "{file}:np"}, "stream.assignment.rule: .*:np failed: TypeError: 'module' object is not callable"),
    ],
)
def test_a_bad_section_meets_one_line(
    assignment: dict[str, Any], problem: str, file: Path, tiny_overrides: dict[str, Any]
) -> None:
    given = {key: value.format(file=file) if isinstance(value, str) else value for key, value in assignment.items()}
    with pytest.raises(ScenarioError, match=problem) as caught:
        load_scenario("digits-b0c2", tiny_overrides | {"stream.assignment": given}).plan()
    assert len(caught.value.problems) == 1


def test_the_example_plans(tiny: Scenario, tiny_overrides: dict[str, Any]) -> None:
    rows, overlap = (one.plan().n_train_rows for one in (scenario(tiny_overrides, EXAMPLE, "by_size"), tiny))
    assert len(scenario(tiny_overrides, EXAMPLE, "by_size", most=0).truth()) <= rows < overlap
