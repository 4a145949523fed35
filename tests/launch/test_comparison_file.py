"""A comparison as a YAML file: what it says is what is run, and what it cannot say is refused with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import ClsimError
from clsim.launch.jobs import Request, check_request, jobs_of, with_file

FILE = """\
comparison:
  scenario: mine.yaml
  name: herding
  overrides: {training.epochs: 2, strategy.er.replay: paired}
  seeds: 0-2
  strategies:
    - er
    - er(selection=my.py:pick) as picked
    - {strategy: lwf+er, label: strong, options: {lwf.weight: 2}, seeds: [7]}
  groups:
    asl:
      overrides: {training.loss.name: asl}
      strategies: er, er(selection=herding)
      seeds: [0]
  baseline: picked
"""
SCENARIO = """\
name: small
dataset: {name: digits, train: 60, test: 40}
stream: {increment: 5}
memory: {budget: {per_class: 2}}
training: {epochs: 1, optimizer: {lr: 0.001}}
"""
PICK = "import clsim.kit\n\n\ndef pick(*_):\n    return []\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        (tmp_path / "mine.yaml").write_text(SCENARIO)
        (tmp_path / "my.py").write_text(PICK)
        path = tmp_path / "comparison.yaml"
        path.write_text(text)
        return path

    return written


def request_of(scenario: Any, **given: Any) -> Request:
    return check_request(
        with_file(scenario, **given),
        out="runs",
        device="cpu",
        workers=1,
        overwrite=False,
        share_first_task=True,
        progress=None,
    )


def test_a_file_holds_everything_that_a_comparison_is(write: Callable[[str], Path], tmp_path: Path) -> None:
    request = request_of(write(FILE))
    jobs = jobs_of(request)
    assert sorted(str(folder) for folder in jobs) == sorted(
        [
            *(f"runs/herding/{name}/seed{seed}" for name in ("er", "picked") for seed in range(3)),
            "runs/herding/strong/seed7",
            *(f"runs/herding/{name}, asl/seed0" for name in ("er", "er(selection=herding)")),
        ]
    )
    assert request.baseline == "picked"
    picked = jobs[Path("runs/herding/picked/seed1")]
    assert picked.spec.options == {"er.replay": "paired", "selection": f"{tmp_path / 'my.py'}:pick"}
    assert picked.scenario.config.training.epochs == 2
    asl = jobs[Path("runs/herding/er, asl/seed0")]
    assert (asl.scenario.config.training.loss.name, picked.scenario.config.training.loss.name) == ("asl", "bce")
    assert asl.scenario.plan() is picked.scenario.plan()


def test_what_is_given_beside_the_file_replaces_what_it_says(write: Callable[[str], Path]) -> None:
    request = request_of(
        write(FILE), strategies="er, joint", seeds=[5], overrides={"training.epochs": 3}, baseline="joint", name="other"
    )
    assert list(request.entries) == ["er", "joint"]
    assert (request.seeds, request.baseline, request.home.name) == ((5,), "joint", "other")
    assert request.scenario.config.training.epochs == 3
    assert request.entries["er"].composition.given == {"er.replay": "paired"}


def test_the_content_of_a_file_is_given_as_a_mapping_too() -> None:
    content = {"scenario": "digits-b0c2", "strategies": ["er", "lwf"], "grid": {"training.epochs": [1, 2]}}
    assert list(request_of({"comparison": content}).entries) == [
        f"{name}(training.epochs={epochs})" for name in ("er", "lwf") for epochs in (1, 2)
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  seeds: 0-2", "  sedes: 0-2", "comparison.yaml:5: comparison.sedes: unknown key, did you mean 'seeds'"),
        ("  seeds: 0-2", "  seeds: 2-0", "comparison.yaml:5: seeds 2-0: expected whole numbers"),
        ("    - er\n", "    - er as a/b\n", "comparison.yaml:7: label: given 'a/b'"),
        ("    - er\n", "    - erx\n", "comparison.yaml:7: unknown strategy 'erx', did you mean 'er'"),
        ("lwf.weight", "lwf.weigth", "comparison.yaml:9: unknown strategy option 'lwf.weigth', did you mean"),
        ("training.epochs: 2", "training.epocs: 2", "comparison.yaml:4: training.epocs: unknown key"),
        ("training.loss.name: asl", "training.loss.name: als", "comparison.yaml:11: training.loss.name: given 'als'"),
        ("training.loss.name: asl", "stream.base: 5", "comparison.yaml:11: overrides stream.base: is one for all runs"),
        ("mine.yaml", "other.yaml", "other.yaml: cannot be read"),
        ("baseline: picked", "baseline: piked", "baseline: given 'piked', allowed: .*, did you mean 'picked'"),
    ],
)
def test_errors_name_file_and_line(write: Callable[[str], Path], old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(ClsimError, match=message) as raised:
        jobs_of(request_of(write(FILE.replace(old, new, 1))))
    assert "\n" not in str(raised.value)


def test_a_scenario_alone_needs_strategies() -> None:
    with pytest.raises(ClsimError, match=r"^strategies: none are given, and the scenario is no comparison file"):
        clsim.compare("digits-b0c2")
