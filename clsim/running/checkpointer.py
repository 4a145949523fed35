"""When checkpoints are written, and what must be equal when a run goes on."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from clsim.errors import NotResumable, RunError
from clsim.files import GrowingFile
from clsim.running.checkpoint_files import Checkpoint, finish_checkpoint, next_checkpoint, write_part
from clsim.running.folder_lock import Hold
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import differences, without_versions
from clsim.running.scoring.hand_in import Scorer
from clsim.running.scoring.messages import Answer
from clsim.scenario.schema import CheckpointSection
from clsim.torchrun import this_process
from clsim.training.template import MultiLabelTemplate

log = logging.getLogger("clsim")


class StopRequest(Protocol):
    """Whether to stop: an `Interruption`, or what several ranks have agreed on."""

    @property
    def requested(self) -> bool: ...


@dataclass(frozen=True)
class _Pending:
    """A checkpoint that lacks its header, because the process that scores may still be writing its part.

    Attributes:
        path: of the state of what trains.
        facts: of the header, without what that process knows.
        scored: the SHA-256 of its part, and the lengths of its files.
        seconds: spent on it so far.
    """

    path: Path
    facts: dict[str, Any]
    scored: Answer
    seconds: float


class Checkpointer:
    """Called by the template wherever the run can be cut: after each step, and after the scores of a task.

    It writes a checkpoint at task ends and as often inside a task as the scenario says, and ends the run there when
    that has been asked for. It does not wait for the process that scores: a checkpoint becomes whole, by its header, at
    the first cut at which the part of that process is there; at the latest before the next checkpoint or the end.

    Args:
        folder: the run folder.
        identity: compared by `check_identity` when the run goes on.
        scorer: writes its part of each checkpoint.
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
        scorer: Scorer,
        frequency: CheckpointSection,
        interruption: StopRequest,
        hold: Hold | None = None,
        at_task_end: Callable[[MultiLabelTemplate], None] | None = None,
    ) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.scorer = scorer
        self.frequency = frequency
        self.interruption = interruption
        self.hold = hold
        self.at_task_end = at_task_end
        self.obstacle: str | None = None
        self._pending: _Pending | None = None
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
        stopping = self.interruption.requested  # asked once: what comes after this is for the next cut
        if stopping or self._is_due(template):
            self.save(template)
        if stopping or (self._pending is not None and self._pending.scored.ready()):
            self.complete()
        if stopping:
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
        """Begin a checkpoint, which `complete` makes whole, once the one before is whole.

        Without a complete state none is written, and the log says why.

        Raises:
            LockLost: another machine has taken the folder over.
            RunError: a weight is not finite.
            OSError: it cannot be written.
        """
        self.complete()
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
        files, path = RunFolder(self.folder), next_checkpoint(self.folder)
        scored = self.scorer.later("save", path, files.growing_with_scores)
        facts = {
            "identity": self.identity,
            "position": asdict(template.position),
            "files": {files.timing.name: GrowingFile(files.timing).sync()},
            "state_sha256": write_part(path, state),
        }
        self._pending = _Pending(path, facts, scored, time.perf_counter() - began)

    def complete(self) -> None:
        """Wait until the checkpoint that was begun is whole, if there is one.

        Raises:
            LockLost: another machine has taken the folder over.
            Exception: what has failed in the process that scores; there is no such checkpoint then.
            OSError: it cannot be written.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        began = time.perf_counter()
        digest, lengths = pending.scored.get()
        if self.hold is not None:
            self.hold.check()
        facts = pending.facts | {"files": pending.facts["files"] | lengths, "scores_sha256": digest}
        finish_checkpoint(pending.path, facts)
        at, size = facts["position"], pending.path.stat().st_size
        where = "task {task}, epoch {epoch}, step {step}".format(**at)
        log.info("checkpoint: %s; %d bytes, %.3f s", where, size, pending.seconds + time.perf_counter() - began)

    @contextmanager
    def completing(self) -> Iterator[None]:
        """Complete the last checkpoint after the block, and after an error in it; not where it is left at once."""
        try:
            yield
        except Exception:
            with suppress(Exception):  # the first error counts
                self.complete()
            raise
        self.complete()


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
