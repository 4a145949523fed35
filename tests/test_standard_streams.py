"""Output that is lost costs text, never a run or its report."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clsim.standard_streams import Lossy

CLSIM = f"{sys.executable} -m clsim"
SAFE = {"LC_ALL": "C.UTF-8"}


class Full(io.StringIO):
    """A stream on a full device."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Latin(io.TextIOWrapper):
    """A strict Latin-1 stream."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="latin-1", write_through=True)


def test_an_error_is_kept_and_nothing_more_is_written() -> None:
    stream = Lossy(Full())
    assert (stream.write("abc"), stream.write("d")) == (3, 1)
    stream.flush()
    assert isinstance(stream.lost, OSError)
    closed = io.StringIO()
    closed.close()
    stream = Lossy(closed)
    stream.writelines(["a"])
    stream.flush()
    assert isinstance(stream.lost, ValueError)


def test_what_an_encoding_cannot_say_is_escaped() -> None:
    stream = Lossy(latin := Latin())
    stream.write("±2 ─ 🙂")
    assert latin.buffer.getvalue() == "±2 \\u2500 \\U0001f642".encode("latin-1")  # type: ignore[attr-defined]
    assert stream.lost is None


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=cwd,
        env=os.environ | SAFE | environment,
        capture_output=True,
        text=True,
        timeout=300,
        encoding="latin-1",
    )


def options(overrides: dict[str, Any]) -> str:
    return " ".join(f"--set {key}={value}" for key, value in (overrides | {"training.epochs": 1}).items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "code", "environment"),
    [
        ("| head -1", 0, {}),
        ("2>&1 | true", 0, {}),
        ("<&- >&- 2>&-", 0, {}),
        (">/dev/full 2>&1", 2, {}),
        ("2>&1", 0, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    ],
)
def test_a_comparison_and_its_report_do_not_depend_on_who_listens(
    ends: str, code: int, environment: dict[str, str], tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    done = shell(
        f"{CLSIM} compare digits-b0c2 --strategies finetune --seeds 0,1 {options(tiny_overrides)} {ends}",
        tmp_path,
        **environment,
    )
    home = tmp_path / "runs" / "digits-b0c2"
    assert len(list(home.glob("finetune/seed*/result.json"))) == 2
    assert (home / "report.html").is_file()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for path in home.glob("*/*/output.txt"):
        assert "Traceback" not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("ends", "code"), [("2>&1 | true", 0), (">&- 2>&-", 0), (">/dev/full", 2)])
def test_a_run_does_not_depend_on_who_listens(
    ends: str, code: int, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    done = shell(f"{CLSIM} run digits-b0c2 --strategy loud.py:Loud {options(tiny_overrides)} {ends}", tmp_path)
    folder = tmp_path / "runs" / "digits-b0c2" / "loud" / "seed0"
    assert (folder / "result.json").is_file(), done.stderr
    assert done.returncode == code
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)


LOUD = """
import os, sys
import clsim
from avalanche.training.plugins import SupervisedPlugin


class Prints(SupervisedPlugin):
    def after_training_epoch(self, strategy, **kwargs):
        print("an epoch", flush=True)
        print("an epoch", file=sys.stderr, flush=True)
        for number in (1, 2):
            try:
                os.write(number, b"from a library")
            except OSError:
                pass

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Loud(clsim.Strategy):
    name = "loud"

    def plugins(self, context):
        return [Prints()]
"""


def test_lost_output_of_other_commands_is_an_error_unless_nobody_wanted_more(tmp_path: Path) -> None:
    full = shell(f"{CLSIM} schema >/dev/full", tmp_path)
    assert (full.returncode, full.stderr) == (2, "standard output: No space left on device\n")
    assert shell(f"{CLSIM} schema | head -1", tmp_path).stderr == ""
    assert shell(f"{CLSIM} schema | true", tmp_path).returncode == 0


def test_input_errors_are_told_by_the_code_where_nothing_can_be_said(tmp_path: Path) -> None:
    assert shell(f"{CLSIM} plan nowhere.yaml 2>/dev/full", tmp_path).returncode == 2
    assert shell(f"{CLSIM} plan nowhere.yaml >&- 2>&-", tmp_path).returncode == 2
