"""A checkpoint is begun without waiting for the process that scores, and whole once its part is there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clsim.errors import RunError
from clsim.running.checkpoint_files import newest_checkpoint, scores_of, write_part
from clsim.running.checkpointer import Checkpointer
from clsim.running.run_folder import RunFolder
from clsim.running.scoring.messages import Answer
from clsim.scenario.schema import CheckpointSection
from clsim.training.learner import Position


class SlowScorer:
    """Writes its part only when it is waited for, or let go on; `error` is what it then raises."""

    wanted: Any = None
    error: Exception | None = None

    def __init__(self) -> None:
        self.held: list[tuple[Answer, Path]] = []

    def later(self, what: str, path: Path, growing: list[Path]) -> Answer:
        assert what == "save"
        self.held.append((Answer(self._take), path))
        return self.held[-1][0]

    def _take(self, wait: bool) -> None:
        if wait:
            self.go_on()

    def go_on(self) -> None:
        """Answer what it was asked first."""
        answer, path = self.held.pop(0)
        if self.error is not None:
            raise self.error
        answer.value = write_part(scores_of(path), {"scored": path.stem}), {RunFolder.metrics: 0}
        answer.known = True

    def tell(self, what: str, *content: Any) -> None: ...
    def ask(self, what: str, *content: Any) -> Any: ...
    def close(self) -> None: ...


class Run:
    """A run of which only the cuts are there."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.scorer = SlowScorer()
        self.stop = SimpleNamespace(requested=False)
        section = CheckpointSection(minutes=None)
        self.checkpointer = Checkpointer(folder, {}, self.scorer, section, self.stop, **more)

    def cut(self, task: int, step: int = 0) -> None:
        """Come to where the run can be cut, inside a task if `step` is not 0."""
        template: Any = SimpleNamespace(
            position=Position(task, 0, step, started=bool(step)),
            refuse_not_finite=lambda: None,
            state_dict=lambda: {"at": torch.tensor([task, step])},
        )
        self.checkpointer(template)

    def come_to_its_end(self, *tasks: int, error: Exception | None = None) -> None:
        """Train tasks, and fail in the one after if there is an error."""
        with self.checkpointer.completing():
            for task in tasks:
                self.cut(task)
            if error is not None:
                raise error

    @property
    def whole(self) -> list[int] | None:
        """Where the newest whole checkpoint was taken; both of its parts are of the same one."""
        found = newest_checkpoint(self.folder)
        if found is None:
            return None
        assert found.scores() == {"scored": found.path.stem}
        at: list[int] = found.state()["at"].tolist()
        assert [found.header["position"][key] for key in ("task", "step")] == at
        return at


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_training_goes_on_and_the_checkpoint_is_whole_at_the_first_cut_after_its_second_part(run: Run) -> None:
    run.cut(1)
    run.cut(1, 1)
    assert [path.name for path in (run.folder / RunFolder.checkpoint).iterdir()] == ["000001.pt"]
    run.scorer.go_on()
    assert run.whole is None
    run.cut(1, 2)
    assert run.whole == [1, 0]


def test_the_next_one_and_the_end_wait_for_the_one_before(run: Run) -> None:
    run.cut(1)
    run.cut(2)
    assert run.whole == [1, 0]
    run.come_to_its_end()
    assert run.whole == [2, 0]


def test_a_request_to_stop_waits(run: Run) -> None:
    run.cut(1)
    run.stop.requested = True
    with pytest.raises(KeyboardInterrupt, match="saved at task 1, epoch 0, step 2"):
        run.cut(1, 2)
    assert run.whole == [1, 2]


def test_a_request_that_comes_while_the_one_before_becomes_whole_is_for_the_next_cut(tmp_path: Path) -> None:
    def check() -> None:
        run.stop.requested = True

    run = Run(tmp_path, hold=SimpleNamespace(look=lambda: None, check=lambda: None))
    run.cut(1)
    run.scorer.go_on()
    run.checkpointer.hold.check = check  # type: ignore[union-attr,method-assign]
    run.cut(1, 1)
    assert run.whole == [1, 0]
    with pytest.raises(KeyboardInterrupt, match="saved at task 1, epoch 0, step 2"):
        run.cut(1, 2)
    assert run.whole == [1, 2]


def test_an_error_of_the_training_that_follows_loses_no_checkpoint(run: Run) -> None:
    with pytest.raises(RunError, match="a plugin fails"):
        run.come_to_its_end(1, error=RunError("a plugin fails"))
    assert run.whole == [1, 0]


@pytest.mark.parametrize(("error", "said"), [(None, "No space left"), (RunError("an earlier one"), "an earlier one")])
def test_one_whose_second_part_fails_is_not_there(run: Run, error: Exception | None, said: str) -> None:
    run.cut(1)
    run.scorer.go_on()
    run.scorer.error = OSError(28, "No space left on device", "000002.scores")
    with pytest.raises((RunError, OSError), match=said):
        run.come_to_its_end(2, error=error)
    assert run.whole == [1, 0]


def test_a_folder_that_another_machine_has_taken_over_gets_no_header(tmp_path: Path) -> None:
    class Lost(Exception): ...

    def check() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise Lost

    checks: list[int] = []
    run = Run(tmp_path, hold=SimpleNamespace(look=lambda: None, check=check))
    run.cut(1)
    run.scorer.go_on()
    with pytest.raises(Lost):
        run.cut(1, 1)
    assert run.whole is None
