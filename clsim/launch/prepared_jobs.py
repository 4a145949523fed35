"""The runs of a comparison made ready: their folders and states, and the pool that carries them out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clsim.launch.first_task_groups import FOLDER as FIRST_TASKS
from clsim.launch.first_task_groups import first_task_key, shares
from clsim.launch.jobs import Job, Request
from clsim.launch.pool import Pool
from clsim.launch.replacement import set_aside
from clsim.launch.reuse import FolderState, classify_folder
from clsim.launch.run_state import MetricsTail, RunState, recorded_pace
from clsim.launch.slots import Division
from clsim.launch.starter import FORKABLE
from clsim.launch.starter import SUITED as STARTER_SUITED
from clsim.running.folder_lock import locked
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import RunFolder


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Make the folder of a comparison, and keep other comparisons out of it while the block runs."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home):
        yield


def prepare_states(
    jobs: Mapping[Path, Job], identities: Mapping[Path, Mapping[str, Any]], threads: int
) -> dict[Path, RunState]:
    """Return how far every run is, and make the folders of new runs; none is made unless all can be.

    Raises:
        RunError: a folder holds another run, is in use, or cannot be written.
    """
    found = {folder: classify_folder(folder, identity) for folder, identity in identities.items()}
    for folder, job in jobs.items():
        begins_again = found[folder] == "unfinished" and RunFolder(folder).obstacle is not None
        if begins_again or found[folder] == "new":
            with set_aside([folder] if begins_again else ()):
                prepare(folder, job.scenario, job.spec, threads, identities[folder])
    return {folder: state_of(folder, job, found[folder]) for folder, job in jobs.items()}


def state_of(folder: Path, job: Job, found: FolderState) -> RunState:
    """Return how far a run is that has not been started yet."""
    state = RunState.of(job.epochs, len(job.scenario.plan().tasks), "waiting")
    if found != "new":
        state.recorded_pace = recorded_pace(folder, state.epochs)
    if found == "finished":
        state.status, state.done = "reused", state.total
    elif found == "unfinished" and RunFolder(folder).obstacle is None:
        MetricsTail(folder, state).read()
    return state


@contextmanager
def first_tasks(home: Path) -> Iterator[None]:
    """Remove the shared first tasks after the block, and before it those of a comparison that was killed."""
    shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)


def pool_of(
    request: Request,
    jobs: Mapping[Path, Job],
    identities: Mapping[Path, Mapping[str, Any]],
    states: Mapping[Path, RunState],
    division: Division,
) -> Pool:
    """Return the pool that carries out the waiting runs."""
    several = sum(state.status == "waiting" for state in states.values()) > 1
    fork = STARTER_SUITED and several and all(job.spec.device in FORKABLE for job in jobs.values())
    share = shared_first_tasks(request, jobs, identities, states)
    return Pool(
        division.workers,
        division.threads,
        request.progress,
        share,
        fork=fork,
        gpus=division.slots,
        retry_out_of_memory=request.retry_out_of_memory,
        engine=request.engine,
        device=request.hardware.device,
    )


def shared_first_tasks(
    request: Request,
    jobs: Mapping[Path, Job],
    identities: Mapping[Path, Mapping[str, Any]],
    states: Mapping[Path, RunState],
) -> dict[Path, Path]:
    """Return run folder -> folder of the first task that it shares with other runs."""
    keys = {
        folder: first_task_key(job.first_task_part, identities[folder])
        for folder, job in jobs.items()
        if request.share_first_task and job.epochs
    }
    return shares(request.home, keys, states)
