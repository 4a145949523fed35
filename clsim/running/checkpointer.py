"""When checkpoints are written, and what must be equal when a run goes on."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from clsim.errors import NotResumable, RunError
from clsim.files import GrowingFile
from clsim.running.checkpoint_files import Checkpoint, write_checkpoint
from clsim.running.folder_lock import Hold
from clsim.running.run_identity import differences, without_versions
from clsim.scenario.schema import CheckpointSection
from clsim.torchrun import this_process
from clsim.training.template import MultiLabelTemplate

log = logging.getLogger("clsim")


class StopRequest(Protocol):
    """Whether to stop: an `Interruption`, or what several ranks have agreed on."""

    @property
    def requested(self) -> bool: ...


class Checkpointer:
    """Called by the template wherever the run can be cut: after each step, and after the scores of a task.

    It writes a checkpoint at task ends and as often inside a task as the scenario says, and ends the run there when
    that has been asked for.

    Args:
        folder: the run folder.
        identity: compared by `check_identity` when the run goes on.
        growing: files of the folder that are only added to.
        frequency: how often inside a task.
        interruption: whether to stop.
        hold: of the folder, looked at before anything is written; None: nobody else can have it.
        at_task_end: called with the template before the checkpoint at a task end, so that what it writes is there when
            the run goes on behind that task; None: nothing to do.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        growing: Sequence[GrowingFile],
        frequency: CheckpointSection,
        interruption: StopRequest,
        hold: Hold | None = None,
        at_task_end: Callable[[MultiLabelTemplate], None] | None = None,
    ) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.growing = list(growing)
        self.frequency = frequency
        self.interruption = interruption
        self.hold = hold
        self.at_task_end = at_task_end
        self.obstacle: str | None = None
        self._restart_count()

    def _restart_count(self) -> None:
        self.steps = 0
        self.saved = time.monotonic()  # no clock that can be set

    def __call__(self, template: MultiLabelTemplate) -> None:
        self.steps += template.position.started
        if self.hold is not None:
            self.hold.look()
        if self.at_task_end is not None and not template.position.started:
            self.at_task_end(template)
        if self.interruption.requested or self._is_due(template):
            self.save(template)
        if self.interruption.requested:
            where = place(asdict(template.position))
            if self.obstacle is not None:
                raise KeyboardInterrupt(f"interrupted {where}, and not saved: {self.obstacle}")
            raise KeyboardInterrupt(f"interrupted and saved {where}; go on with: {resume_command(self.folder)}")

    def _is_due(self, template: MultiLabelTemplate) -> bool:
        minutes, steps = self.frequency.minutes, self.frequency.steps
        return (
            not template.position.started
            or (steps is not None and self.steps >= steps)
            or (minutes is not None and time.monotonic() - self.saved >= 60 * minutes)
        )

    def save(self, template: MultiLabelTemplate) -> None:
        """Write a checkpoint; without a complete state none is written, and the log says why.

        Raises:
            LockLost: another machine has taken the folder over.
            RunError: a weight is not finite.
            OSError: it cannot be written.
        """
        self._restart_count()
        if self.hold is not None:
            self.hold.check()
        template.refuse_not_finite()
        try:
            state = template.state_dict()
        except NotResumable as error:
            if self.obstacle != str(error):
                log.warning("no checkpoint: %s", error)
            self.obstacle = str(error)
            return
        began = time.perf_counter()
        facts = {
            "identity": self.identity,
            "position": asdict(template.position),
            "files": {file.path.name: file.sync() for file in self.growing},
        }
        path = write_checkpoint(self.folder, state, facts)
        at, seconds, size = template.position, time.perf_counter() - began, path.stat().st_size
        log.info("checkpoint: task %d, epoch %d, step %d; %d bytes, %.3f s", at.task, at.epoch, at.step, size, seconds)


def place(position: Mapping[str, Any]) -> str:
    """Return in words where a checkpoint was written, from the `position` in its header."""
    if not position["started"]:
        return f"before task {position['task']}"
    return "at task {task}, epoch {epoch}, step {step}".format(**position)


def resume_command(folder: Path) -> str:
    """Return the command that goes on with the run of a folder, with as many ranks as this process belongs to."""
    process = this_process()
    launcher = ["torchrun", "--nproc-per-node", str(process.local_count), "--no-python"] if process.count > 1 else []
    return shlex.join([*launcher, "clsim", "resume", str(folder)])


def check_identity(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Compare a run with its checkpoint; changed code is only a warning in the log.

    Raises:
        RunError: naming each key that differs, versions aside.
    """
    before = checkpoint.header["identity"]
    if differing := differences(without_versions(before), without_versions(identity)):
        text = f"{checkpoint.path.parent.parent}: not resumed, because it is no longer the run that was interrupted:"
        raise RunError("\n".join([text, *(f"  {line}" for line in differing)]))
    if changed := [line for line in differences(before, identity) if line.startswith("code.")]:
        log.warning("resumed with other code, so the result may differ: %s", "; ".join(changed))
