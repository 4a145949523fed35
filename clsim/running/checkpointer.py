"""When a run is saved, and with what it must agree to go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.files import GrowingFile
from clsim.running.checkpoint_files import Checkpoint, write_checkpoint
from clsim.running.interruption import Interruption
from clsim.running.run_identity import differences, without_versions
from clsim.scenario.schema import CheckpointSection
from clsim.training.template import MultiLabelTemplate

log = logging.getLogger("clsim")


class Checkpointer:
    """Called by the template wherever the run can be cut: after each step, and after the scores of a task.

    It writes a checkpoint at task ends and as often inside a task as the scenario says, and ends the run there when
    that has been asked for.

    Args:
        folder: the run folder.
        identity: what `check_identity` will be asked about when the run goes on.
        growing: files of the folder that are only added to.
        frequency: how often inside a task.
        interruption: whether to stop.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        growing: Sequence[GrowingFile],
        frequency: CheckpointSection,
        interruption: Interruption,
    ) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.growing = list(growing)
        self.frequency = frequency
        self.interruption = interruption
        self.obstacle: str | None = None
        self._restart_count()

    def _restart_count(self) -> None:
        self.steps = 0
        self.saved = time.monotonic()  # no clock that can be set

    def __call__(self, template: MultiLabelTemplate) -> None:
        self.steps += template.position.started
        if self.interruption.requested or self._due(template):
            self.save(template)
        if self.interruption.requested:
            at = template.position
            where = f"in task {at.task}, epoch {at.epoch}, step {at.step}" if at.started else f"before task {at.task}"
            raise KeyboardInterrupt(f"interrupted {where}; go on with: clsim resume {self.folder}")

    def _due(self, template: MultiLabelTemplate) -> bool:
        minutes, steps = self.frequency.minutes, self.frequency.steps
        return (
            not template.position.started
            or (steps is not None and self.steps >= steps)
            or (minutes is not None and time.monotonic() - self.saved >= 60 * minutes)
        )

    def save(self, template: MultiLabelTemplate) -> None:
        """Write a checkpoint; a run that has no complete state goes on without, and the log says why.

        Raises:
            RunError: a weight is not finite.
            OSError: it cannot be written.
        """
        self._restart_count()
        template.refuse_not_finite()
        try:
            state = template.state_dict()
        except RunError as error:
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


def check_identity(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """See that a run goes on with what it began with; the code may have changed, which the log then tells.

    Raises:
        RunError: naming each key that differs, versions aside.
    """
    before = checkpoint.header["identity"]
    if differing := differences(without_versions(before), without_versions(identity)):
        text = f"{checkpoint.path.parent.parent}: not resumed, because it is no longer the run that was interrupted:"
        raise RunError("\n".join([text, *(f"  {line}" for line in differing)]))
    if changed := [line for line in differences(before, identity) if line.startswith("code.")]:
        log.warning("resumed with other code, so the result may differ: %s", "; ".join(changed))
