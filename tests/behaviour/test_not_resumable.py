"""A run with a plugin that cannot be saved says so, and begins again."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import RunError
from clsim.running.execution import execute
from clsim.running.run_folder import RunFolder
from tests.fixtures import prepared_runs
from tests.fixtures.prepared_runs import prepared

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")
settings = prepared_runs.settings

FORGETFUL = """
import clsim
from avalanche.core import SupervisedPlugin


class Forgetful(clsim.Strategy):
    name = "forgetful"

    def plugins(self, context):
        return [Amnesia()]


class Amnesia(SupervisedPlugin):
    pass
"""


class Watching:
    """A progress that remembers in what order things came, and interrupts the run after so many updates."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.events: list[str] = []
        self.interrupt_at = interrupt_at

    def update(self, folder: Path, state: Any) -> None:
        self.events.append(state.status)
        if self.events.count("running") == self.interrupt_at:
            signal.raise_signal(signal.SIGTERM)

    def say(self, text: str) -> None:
        self.events.append(text)

    def close(self) -> None:
        pass


@pytest.fixture
def forgetful(settings: dict[str, Any], tmp_path: Path) -> tuple[Path, str, Watching, str]:
    """Folder and strategy of an interrupted run that cannot be resumed, who watched it, and what it said in the end."""
    (tmp_path / "own.py").write_text(FORGETFUL)
    strategy, watching = f"{tmp_path}/own.py:Forgetful", Watching(4)
    with pytest.raises(KeyboardInterrupt) as stop:
        clsim.run("digits-b0c2", strategy, overrides=settings, out=tmp_path / "runs", progress=watching)
    return tmp_path / "runs" / "digits-b0c2" / "forgetful" / "seed0", strategy, watching, str(stop.value)


def test_a_run_that_cannot_be_resumed_says_so_when_it_starts_by_the_plugins_name(
    forgetful: tuple[Path, str, Watching, str],
) -> None:
    folder, _, watching, _ = forgetful
    reason = "not resumable: plugin Amnesia has no state_dict"
    assert watching.events[:2] == [f"{folder}: {reason}; if it is interrupted, it must begin again", "running"]
    assert (folder / "run.log").read_text().count(f"WARNING {reason}") == 1


def test_nothing_promises_that_it_goes_on(
    forgetful: tuple[Path, str, Watching, str], settings: dict[str, Any], tmp_path: Path
) -> None:
    folder, strategy, _, said = forgetful
    reason = "not resumable: plugin Amnesia has no state_dict"
    assert re.fullmatch(f"interrupted (at|before) task .*, and not saved: {reason}", said)
    assert (folder / "error.txt").read_text() == said + "\n"
    with pytest.raises(RunError, match="there already; use --overwrite"):
        clsim.run("digits-b0c2", strategy, overrides=settings, out=tmp_path / "runs")
    with pytest.raises(RunError, match="not resumable: plugin Amnesia has no state_dict"):
        clsim.resume(folder)


def test_a_comparison_begins_it_again_and_says_so(
    forgetful: tuple[Path, str, Watching, str], settings: dict[str, Any], tmp_path: Path
) -> None:
    folder, strategy, _, _ = forgetful
    watching = Watching()
    comparison = clsim.compare(
        "digits-b0c2", [strategy], overrides=settings, out=tmp_path / "runs", workers=1, progress=watching
    )
    assert comparison.failed == {}
    reason = "not resumable: plugin Amnesia has no state_dict"
    told = f"{folder}: {reason}; if it is interrupted, the same comparison begins it again"
    assert watching.events.count(told) == 1
    assert watching.events.index(told) < watching.events.index("finished")


def test_one_that_was_stopped_before_it_could_say_so_begins(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FORGETFUL)
    folder = prepared(tmp_path / "run", settings, f"{tmp_path}/own.py:Forgetful")
    (folder / "environment.json").write_text("{}")
    execute(folder)


def test_a_strategy_that_has_been_mended_begins_again(
    forgetful: tuple[Path, str, Watching, str], tmp_path: Path
) -> None:
    folder, *_ = forgetful
    mended = FORGETFUL.replace("    pass\n", "    def state_dict(self):\n        return {}\n")
    (tmp_path / "own.py").write_text(f"raise SystemExit('executed')\n{mended}")
    with pytest.raises(RunError, match=r"own\.py: its code is none that identity\.json has"):
        clsim.resume(folder)
    (tmp_path / "own.py").write_text(mended)
    clsim.resume(folder, changed_code=True)
    assert RunFolder(folder).obstacle is None
