"""Runs as jobs of Slurm, submitted by submitit.

Each run is a job of its own, whose task starts the run as a child. Shortly before its time limit, or when it is
preempted, the run writes a checkpoint and the job goes back into the queue. The machines share the folder of the runs
and have the same installation.
"""

from __future__ import annotations

import getpass
import pickle
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from clsim.children import python_command
from clsim.errors import OUT_OF_MEMORY, RunError, did_you_mean
from clsim.launch.engines import LOST, Engine, Order, check_retries, refuse_gpus
from clsim.launch.engines.slurm_task import Task
from clsim.launch.slots import Hardware, Node, at_least_one
from clsim.running.interruption import INTERRUPTED

FOLDER = ".slurm"
"""Beside the runs: submitit's files of the jobs, as long as they are there."""
MOST_JOBS = 1000
"""Jobs in the queue at a time, unless `workers` says how many. DECIDED: what many clusters allow by default."""
MOST_REQUEUES = 1000
"""DECIDED: a run may reach its time limit often, because it is further on each time."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the queue."""
SUBMIT_EVERY = 30.0
"""Seconds between two attempts to submit a job that Slurm does not take now."""
RESULT_WITHIN = 60.0
"""Seconds in which the result of an ended job comes into view on a shared file system."""
DEVICES = ("auto", "cpu", "cuda")
GPU_KEYS = ("gres", "gpus_per_node", "gpus_per_task")
OURS = {"additional_parameters", "array_parallelism", "job_name", "nodes", "ntasks_per_node", "num_gpus"}
OURS |= {"stderr_to_stdout", "srun_args", "use_srun"}
"""Parameters of submitit that are not the user's."""
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_LONG = 60 * 24 * 365


@dataclass(frozen=True)
class SlurmEngine(Engine):
    """A Slurm cluster, used from a machine where `sbatch` works.

    Args:
        settings: of each job, as of sbatch; `time` must be among them: {"partition": "gpu", "time": "4:00:00"}.
        retries: times that a run is tried again whose job is lost; it goes on from its checkpoint. A job that Slurm
            requeues does not count.
        cluster: slurm; or local, processes of this machine, which shows the rest without Slurm.

    Raises:
        RunError: a key that is none, or a value that cannot be.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 3
    cluster: str = "slurm"
    _queue: _Queue = field(default_factory=lambda: _Queue(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_retries(self.retries)
        if self.cluster not in ("slurm", "local"):
            raise RunError(f"cluster: given {self.cluster!r}, allowed: slurm, local")
        if not isinstance(self.settings, Mapping):
            raise RunError(f"slurm: given {self.settings!r}, expected keys and values such as {{'partition': 'gpu'}}")
        allowed = sorted(set(_submitit().slurm.slurm._get_default_parameters()) - OURS)
        for key in self.settings:
            if _name(key) not in allowed:
                nearest = did_you_mean(_name(key), allowed)
                raise RunError(f"slurm: no key {key!r}{nearest}; allowed: {', '.join(allowed)}")
        if self.cluster == "slurm" and "time" not in self.settings:
            raise RunError("slurm: time is missing, the limit of each job; such as time=4:00:00")

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings as submitit takes them, whole numbers as numbers and the time in minutes."""
        found = {_name(key): value for key, value in self.settings.items()}
        found = {key: int(value) if str(value).isdecimal() else value for key, value in found.items()}
        return found | ({"time": minutes(found["time"])} if "time" in found else {})

    def slots(
        self,
        device: str,
        threads: str | int,
        *,
        workers: int | None,
        gpus: str | int | Sequence[str | int] | None,
        per_gpu: int | None,
    ) -> Hardware:
        """Return what jobs may use.

        `device: auto` is cuda if the settings ask for GPUs; `threads: auto` is `cpus_per_task`. A job that Slurm would
        not take is refused here.
        """
        refuse_gpus("Slurm", "--slurm gpus_per_node=1", gpus=gpus, per_gpu=per_gpu)
        jobs, given = at_least_one(workers, "workers") or MOST_JOBS, self.parameters
        if device not in DEVICES:
            raise RunError(f"device: given {device!r}, but the runs are jobs of Slurm; allowed: {', '.join(DEVICES)}")
        if device == "auto":
            device = "cuda" if any(key in given for key in GPU_KEYS) else "cpu"
        cores = int(given.get("cpus_per_task", 0 if threads == "auto" else threads))
        if not cores:
            raise RunError(
                "threads: auto, but a job's cores are not said; give --slurm cpus_per_task=4 or --set threads=4"
            )
        if threads != "auto" and cores < int(threads):
            raise RunError(f"slurm: cpus_per_task: given {cores}, but each run has {threads} threads")
        if self.cluster == "slurm":
            text = self._executor(Path("clsim"), device, cores, "clsim")._make_submission_file_text("true", "clsim")
            _ask("sbatch", "--test-only", given=text)
        return Hardware(device, workers=workers, nodes=(Node(cores, 1),) * jobs)

    def start(self, order: Order) -> _Job:
        """Submit a run as a job."""
        return _Job(order.absolute(), self)

    def submit(self, order: Order) -> Any:
        """Return submitit's job of a run.

        Raises:
            RunError: Slurm does not take it.
        """
        folder, name = order.folder.parents[1] / FOLDER, f"clsim-{order.folder.parent.name}-{order.folder.name}"
        executor = self._executor(folder, order.device, order.threads, name)
        try:
            return executor.submit(Task(order))
        except Exception as error:  # of submitit, of sbatch, of the file system
            raise RunError(f"engine slurm: not submitted: {_last_line(error)}") from None

    def state(self, job: Any, submitted: float) -> str | None:
        """Return the state of a job in Slurm's words; None: Slurm does not know it any more."""
        if self.cluster == "local":
            return "RUNNING" if job.state == "RUNNING" else None
        return self._queue.state(job.job_id, submitted)

    def signal(self, job: Any, kill: bool) -> None:
        """Have a job end after a checkpoint, or at once; one that waits is taken out of the queue."""
        if self.cluster == "local":
            job._process.send_signal(signal.SIGINT if kill else signal.SIGTERM)
            return
        with suppress(RunError):  # it has ended
            _ask("scancel", "--state=PENDING", job.job_id)
        with suppress(RunError):
            _ask("scancel", f"--signal={'KILL' if kill else 'INT'}", job.job_id)

    def _executor(self, folder: Path, device: str, threads: int, name: str) -> Any:
        """Return submitit's executor for jobs with the settings.

        Raises:
            RunError: there is no Slurm here.
        """
        submitit, python, given = _submitit(), shlex.join(python_command()), self.parameters
        try:
            if self.cluster == "local":
                executor = submitit.LocalExecutor(folder, max_num_timeout=MOST_REQUEUES, python=python)
                executor.update_parameters(timeout_min=given.get("time", _LONG))
                return executor
            if device == "cuda" and not any(key in given for key in GPU_KEYS):
                given["gpus_per_node"] = 1
            given["cpus_per_task"] = max(threads, given.get("cpus_per_task", 1))
            executor = submitit.SlurmExecutor(folder, max_num_timeout=MOST_REQUEUES, python=python)
            executor.update_parameters(**given, job_name=name, stderr_to_stdout=True)
        except Exception as error:
            raise RunError(f"engine slurm: {_last_line(error)}") from None
        return executor


class _Job:
    """A run in this process's view, as a `Handle`. One whose job is lost is tried again, up to `retries` times."""

    def __init__(self, order: Order, engine: SlurmEngine) -> None:
        self._order, self._engine = order, engine
        self._lost = 0
        self._code: int | None = None
        self._job: Any = None
        self._stopped = self._killed = False
        self._submitted = 0.0
        self._ended_at: float | None = None
        self.reason = ""
        self.notes: list[str] = []
        self._submit()

    def poll(self) -> int | None:
        """Return the exit code; None: the run is in the queue, at work, or is tried again."""
        if self._code is None and self._job is None:
            self._code = self._poll_submission()
        elif self._code is None:
            self._code = self._poll_job()
        return self._code

    def stop(self) -> None:
        """Have the run write a checkpoint and end; one that waits for a place is taken back."""
        self._stopped = True
        if self._job is not None:
            self._engine.signal(self._job, kill=False)

    def kill(self) -> None:
        """Kill the run."""
        if not self._killed and self._job is not None:
            self._engine.signal(self._job, kill=True)
        self._killed = True

    def _submit(self) -> None:
        """Submit the job; if Slurm does not take it now, because of a limit or as it is down, it is tried again."""
        self._submitted, self._ended_at = time.monotonic(), None
        try:
            self._job = self._engine.submit(self._order)
        except RunError as error:
            self._job = None
            self.notes.append(f"{error}; tried again every {SUBMIT_EVERY:.0f} s")

    def _poll_submission(self) -> int | None:
        if self._stopped or self._killed:
            return INTERRUPTED
        if time.monotonic() - self._submitted > SUBMIT_EVERY:
            self._submit()
        return None

    def _poll_job(self) -> int | None:
        if (code := self._result()) is not None:
            return code
        state = self._engine.state(self._job, self._submitted)
        if state in _LIVING:
            self._ended_at = None
            return None
        self._ended_at = self._ended_at or time.monotonic()
        if self._killed:
            return -signal.SIGKILL
        if state == "CANCELLED":
            return INTERRUPTED
        if state == "OUT_OF_MEMORY":
            self.reason = "out of memory: Slurm ended the job; give it more by --slurm mem=..."
            return OUT_OF_MEMORY
        may_come = state in _MAY_HAVE_RESULT and self._engine.cluster == "slurm"
        if may_come and time.monotonic() - self._ended_at < RESULT_WITHIN:
            return None
        if (code := self._result()) is not None:
            return code
        return INTERRUPTED if self._stopped else self._after_loss(state or "its job is gone")

    def _result(self) -> int | None:
        """Return the exit code that the job has left; None: there is none."""
        path = self._job.paths.result_pickle
        try:
            word, value = pickle.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        if word == "success":
            for file in path.parent.glob(f"{self._job.job_id}_*"):
                file.unlink(missing_ok=True)
            for link in path.parent.glob(".submission_file_*"):
                if not link.exists():
                    link.unlink(missing_ok=True)
            with suppress(OSError):  # of other jobs
                path.parent.rmdir()
            return int(value)
        self.reason = f"its job failed: {_last_line(value)}"
        return LOST

    def _after_loss(self, state: str) -> int | None:
        """Return the exit code of a run whose job is gone; None: it is submitted again."""
        self._lost += 1
        log = self._job.paths.stdout
        if self._lost > self._engine.retries:
            self.reason = f"its job was lost ({state}), {self._lost} times in all; see {log}"
            return LOST
        again = f"tried again, {self._lost} of {self._engine.retries}, from its last checkpoint"
        self.notes.append(f"its job {self._job.job_id} was lost ({state}); {again}")
        self._submit()
        return None


_LIVING = {"CONFIGURING", "COMPLETING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RUNNING"}
_LIVING |= {"RESV_DEL_HOLD", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED"}
_MAY_HAVE_RESULT = {None, "COMPLETED", "FAILED"}


class _Queue:
    """The states of this user's jobs, asked of Slurm for all of them at once, and not too often."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._looked = float("-inf")
        self._tried = float("-inf")

    def state(self, job: str, submitted: float) -> str | None:
        """Return the state of a job that was submitted at a time of `time.monotonic`."""
        if time.monotonic() - self._tried > LOOK_EVERY:
            self._tried = time.monotonic()
            with suppress(RunError):  # Slurm may be down for a while; jobs go on
                text = _ask("squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T")
                self._states = dict(line.split("|", 1) for line in text.split() if "|" in line)
                self._looked = self._tried
        return self._states.get(job) if self._looked > submitted else "PENDING"


def minutes(given: str | int) -> int:
    """Return a time limit as sbatch takes it, in whole minutes.

    Raises:
        RunError: it is none.
    """
    match = _TIME.fullmatch(str(given).strip())
    if match is None:
        raise RunError(f"slurm: time: given {given!r}, expected minutes, hours:minutes:seconds, or days-hours")
    days, *parts = (None if group is None else int(group) for group in match.groups())
    first, second, third = (part or 0 for part in parts)
    if days is None and parts[2] is None:  # minutes, or minutes:seconds
        days, first, second, third = 0, 0, first, second
    seconds = (((days or 0) * 24 + first) * 60 + second) * 60 + third
    return max(1, -(-seconds // 60))


def _ask(*command: str, given: str = "") -> str:
    """Return what a command of Slurm prints.

    Raises:
        RunError: it is not installed, fails, or does not answer.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"engine slurm: {command[0]}: {error}") from None
    if done.returncode:
        raise RunError(f"engine slurm: {_last_line(done.stderr) or f'{command[0]} ends with {done.returncode}'}")
    return done.stdout


def _submitit() -> ModuleType:
    """Import submitit.

    Raises:
        RunError: it is not installed.
    """
    try:
        import submitit
        import submitit.slurm.slurm
    except ImportError:
        raise RunError("engine slurm: submitit is not installed: pip install 'clsim[slurm]'") from None
    return submitit


def _name(key: object) -> str:
    return str(key).replace("-", "_")


def _last_line(text: object) -> str:
    return next((line.strip() for line in reversed(str(text).splitlines()) if line.strip()), type(text).__name__)
