"""`clsim.work`: carry out the runs of a prepared comparison, beside any number of workers on other machines."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from zlib import crc32

from clsim.cores import usable_cores
from clsim.errors import RunError, storage_errors
from clsim.launch.arguments import as_flag, as_path, as_progress
from clsim.launch.comparison import Comparison, ComparisonInterrupted
from clsim.launch.first_task_groups import FOLDER as FIRST_TASKS
from clsim.launch.first_task_groups import is_there
from clsim.launch.pool import IS_IN_USE, Pool
from clsim.launch.prepared_comparison import PreparedComparison, read_prepared
from clsim.launch.progress import Progress
from clsim.launch.run_state import MetricsTail, RunState
from clsim.launch.slots import Division, check_hardware
from clsim.launch.starter import FORKABLE
from clsim.launch.starter import SUITED as STARTER_SUITED
from clsim.opening import read_regular
from clsim.running.folder_lock import in_use
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import other_versions, read_identity
from clsim.torchrun import refuse_ranks

LOOK_EVERY = 10.0
"""Seconds between two looks for runs that can be taken."""
INTERRUPTED = "interrupted"
"""First word of the error of a run that was asked to stop, and so has not failed."""


def work(
    home: str | Path,
    *,
    until_empty: bool = False,
    workers: int | None = None,
    gpus: str | int | list[str | int] | None = None,
    per_gpu: int | None = None,
    retry_out_of_memory: bool = False,
    progress: Progress | bool | None = None,
) -> Comparison:
    """Carry out the runs that `clsim compare --prepare` has prepared and that no other worker has taken.

    Any number of workers may do so at once, on any machines that share the folder. If a run has shown no activity for
    ten minutes, its machine counts as lost: another worker takes the run over and continues it from its last
    checkpoint. Running workers do not repeat a run that fails.

    Args:
        home: folder of the comparison.
        until_empty: wait for runs that others have, and take over what they lose, until none is left; otherwise end as
            soon as none can be taken.
        workers: as in `clsim.compare`.
        gpus: as there, of the prepared kind of device.
        per_gpu: as there.
        retry_out_of_memory: as there.
        progress: as there.

    Returns:
        The comparison. Runs that others have are among its `interrupted`.

    Raises:
        ClsimError: no prepared comparison, or this machine lacks the device, the cores or the versions
            that it was prepared for.
        ComparisonInterrupted: asked to stop; the runs at work here have written checkpoints.
    """
    refuse_ranks("clsim work")
    home, told = as_path(home, "home"), as_progress(progress)
    until_empty = as_flag(until_empty, "until_empty")
    retry_out_of_memory = as_flag(retry_out_of_memory, "retry_out_of_memory")
    prepared = read_prepared(home)
    _refuse_other_versions(home, prepared)
    division = _division(prepared, workers, gpus, per_gpu)
    with storage_errors(home):
        worker = _Worker(home, prepared, division, told, retry_out_of_memory)
        while True:
            interrupted = worker.take_all()
            left = worker.left()
            if interrupted or not left or not (until_empty or worker.postponed):
                break
            time.sleep(LOOK_EVERY)
        if not left:
            shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)
    comparison = Comparison(
        home,
        prepared.strategies,
        prepared.order_seeds,
        failed=worker.failed(),
        baseline=prepared.baseline,
        interrupted=tuple(left),
        sections=prepared.sections,
    )
    if interrupted:
        raise ComparisonInterrupted(comparison)
    return comparison


class _Worker:
    """The runs as this process sees them.

    Attributes:
        postponed: at the last look, a run could not be taken because another process trains the first task it shares.
    """

    def __init__(
        self,
        home: Path,
        prepared: PreparedComparison,
        division: Division,
        progress: Progress | None,
        retry_out_of_memory: bool,
    ) -> None:
        self.home, self.division, self.progress = home, division, progress
        self.retry_out_of_memory = retry_out_of_memory
        self.runs = {home / run.folder: run for run in prepared.runs}
        self.fork = STARTER_SUITED and prepared.device in FORKABLE
        self.errors_before = {folder: _error_time(folder) for folder in self.runs}
        self.failed_here: dict[Path, str] = {}
        self.postponed = False

    def take_all(self) -> bool:
        """Carry out what can be taken; tell whether this process was asked to stop."""
        self.postponed = False
        left = self.left()
        open_runs = _from_own_place([folder for folder in left if not in_use(folder)])
        if not open_runs:
            return False
        states = {folder: self._state(folder) for folder in left}
        pool = Pool(
            self.division.workers,
            self.division.threads,
            self.progress,
            self._share(states),
            fork=self.fork and len(open_runs) > 1,
            gpus=self.division.slots,
            retry_out_of_memory=self.retry_out_of_memory,
        )
        pool.elsewhere = partial(self._is_elsewhere, pool)
        pool.run({folder: states[folder] for folder in open_runs})
        for folder in open_runs:
            state = states[folder]
            if state.status == "failed" and state.reason != IS_IN_USE:
                self.failed_here[folder] = state.reason
        return pool.interruption.requested

    def left(self) -> list[Path]:
        """Return the runs that have neither a result nor failed since this worker began."""
        return [folder for folder in self.runs if self._is_left(folder)]

    def failed(self) -> dict[Path, str]:
        """Return the runs that have failed here, or elsewhere since this worker began, with the reasons."""
        reasons = {folder: self._failure(folder) for folder in self.runs if not RunFolder(folder).finished}
        return {folder: reason for folder, reason in reasons.items() if reason is not None}

    def _is_left(self, folder: Path) -> bool:
        return not RunFolder(folder).finished and self._failure(folder) is None

    def _failure(self, folder: Path) -> str | None:
        """Return why a run without a result has failed since this worker began; None: it has not."""
        if folder in self.failed_here:
            return self.failed_here[folder]
        error = _error_time(folder)
        if error is None or error == self.errors_before[folder] or in_use(folder):
            return None
        text = read_regular(RunFolder(folder).error).decode(errors="replace").partition("\n")[0]
        return None if text.startswith(INTERRUPTED) else f"{text}; see {RunFolder(folder).run_log}"

    def _share(self, states: Mapping[Path, RunState]) -> dict[Path, Path]:
        """Return run folder -> folder of the first task that it shares with any other run, for those that need it."""
        times = Counter(run.first_task for run in self.runs.values())
        return {
            folder: self.home / FIRST_TASKS / run.first_task
            for folder, run in self.runs.items()
            if run.first_task is not None and times[run.first_task] > 1
            if folder in states and states[folder].task == 1
        }

    def _state(self, folder: Path) -> RunState:
        run = self.runs[folder]
        state = RunState.of(run.epochs, run.tasks, "waiting")
        MetricsTail(folder, state).read()
        return state

    def _is_elsewhere(self, pool: Pool, folder: Path) -> bool:
        """Tell whether another process has the run, has ended it, or trains the first task that it shares."""
        if not self._is_left(folder) or in_use(folder):
            return True
        share = pool.share.get(folder)
        if share is None or is_there(share):
            return False
        beside = [other for other, one in pool.share.items() if one == share and other not in {folder, *pool.running}]
        if any(in_use(other) for other in beside):
            self.postponed = True
            return True
        return False


def _from_own_place(folders: list[Path]) -> list[Path]:
    """Return the folders in their order, from a place on that differs from worker to worker.

    DECIDED: workers start at the same time; from the first run on, all of them would start the same runs over and over,
    of which one each goes on.
    """
    if not folders:
        return []
    place = crc32(f"{socket.gethostname()} {os.getpid()}".encode()) % len(folders)
    return [*folders[place:], *folders[:place]]


def _refuse_other_versions(home: Path, prepared: PreparedComparison) -> None:
    """Raise RunError if all runs would be refused here, each after its imports."""
    folder = next((home / run.folder for run in prepared.runs if not RunFolder(home / run.folder).finished), None)
    if folder is not None and (changed := other_versions(read_identity(folder))):
        text = f"{home}: not carried out here, where its runs would be others than the ones that were prepared:"
        raise RunError("\n".join([text, *(f"  {line}" for line in changed)]))


def _division(
    prepared: PreparedComparison, workers: int | None, gpus: str | int | list[str | int] | None, per_gpu: int | None
) -> Division:
    """Return how this machine is divided.

    Raises:
        RunError: it lacks the device or the cores.
    """
    cores = usable_cores()
    if prepared.threads > cores:
        raise RunError(f"the runs were prepared with {prepared.threads} threads each; this machine has {cores} cores")
    hardware = check_hardware(prepared.device, gpus, per_gpu, workers)
    at_a_time = hardware.workers or len(hardware.slots) or max(1, cores // prepared.threads)
    return Division(prepared.threads, at_a_time, hardware.slots)


def _error_time(folder: Path) -> int | None:
    try:
        return RunFolder(folder).error.stat().st_mtime_ns
    except FileNotFoundError:
        return None
