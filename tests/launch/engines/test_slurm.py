"""Settings of the engine for Slurm, and how the end of a job is told. Its runs: tests/behaviour/test_engines.py."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clsim.errors import OUT_OF_MEMORY, RunError
from clsim.launch.engines import LOST, Order
from clsim.launch.engines import slurm as slurm_module
from clsim.launch.engines.slurm import SlurmEngine, minutes
from clsim.launch.slots import Division, Node, divide
from clsim.running.interruption import INTERRUPTED

submitit = pytest.importorskip("submitit", reason="needs submitit: pip install 'clsim[slurm]'")
HERE: dict[str, Any] = {"workers": None, "gpus": None, "per_gpu": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), (5, 5), ("90:30", 91), ("4:00:00", 240), ("1-0", 1440), ("1-2:30", 1590), ("0:0:1", 1)],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(text: str | int, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partion": "gpu", "time": 1}, "slurm: no key 'partion', did you mean 'partition'[?]; allowed: account, "),
        ({"nodes": 2, "time": 1}, "slurm: no key 'nodes'.*; allowed"),
        ({"partition": "gpu"}, "slurm: time is missing, the limit of each job; such as time=4:00:00"),
        ("partition=gpu", "slurm: given 'partition=gpu', expected keys and values such as"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        SlurmEngine(settings)


def test_the_settings_say_device_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(slurm_module, "_ask", lambda *command, given="": asked.append(given))
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda cls: 2))
    engine = SlurmEngine({"time": "1:00:00", "gres": "gpu:1", "cpus-per-task": "6", "mem": "16GB"})
    found = engine.slots("auto", "auto", **HERE)
    assert (found.device, set(found.nodes)) == ("cuda", {Node(6, 1)})
    assert divide(found, "auto", 5, []) == Division(6, 1000)
    assert divide(engine.slots("auto", 2, **HERE | {"workers": 3}), 2, 5, []) == Division(2, 3)
    lines = asked[0].splitlines()
    assert {f"#SBATCH --{one}" for one in ("time=60", "gres=gpu:1", "cpus-per-task=6", "mem=16GB")} <= set(lines)
    assert "#SBATCH --gpus-per-node=1" not in lines
    SlurmEngine({"time": 5}).slots("cuda", 2, **HERE)
    assert {"#SBATCH --gpus-per-node=1", "#SBATCH --cpus-per-task=2"} <= set(asked[-1].splitlines())
    assert SlurmEngine({"time": 5}).slots("auto", 2, **HERE).device == "cpu"
    with pytest.raises(RunError, match="threads: auto, but a job's cores are not said; give --slurm cpus_per_task=4"):
        SlurmEngine({"time": 5}).slots("cpu", "auto", **HERE)
    with pytest.raises(RunError, match="slurm: cpus_per_task: given 6, but each run has 8 threads"):
        engine.slots("cuda", 8, **HERE)
    with pytest.raises(RunError, match="per_gpu: given 2, but Slurm gives each run its GPU"):
        engine.slots("cuda", 2, **HERE | {"per_gpu": 2})


def test_without_submitit_or_slurm_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match=r'^engine slurm: Could not detect "srun", are you indeed on a slurm cluster\?$'):
        SlurmEngine({"time": 5}).slots("cpu", 1, **HERE)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RunError, match=r"^engine slurm: submitit is not installed: pip install 'clsim\[slurm\]'$"):
        SlurmEngine({"time": 5})


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """The engine, with jobs that are numbers, in the state that `states` says; and `full`: the queue takes no job."""
    monkeypatch.setattr(slurm_module, "RESULT_WITHIN", 0.0)
    slurm = SimpleNamespace(
        engine=SlurmEngine({"time": 5}, retries=1), states={}, numbers=iter("123456789"), full=False
    )

    def submit(_: SlurmEngine, order: Order) -> Any:
        if slurm.full:
            raise RunError("engine slurm: not submitted: too many jobs")
        number = next(slurm.numbers)
        paths = SimpleNamespace(result_pickle=tmp_path / ".slurm" / f"{number}_0_result.pkl", stdout="its log")
        paths.result_pickle.parent.mkdir(exist_ok=True)
        return SimpleNamespace(job_id=number, paths=paths)

    monkeypatch.setattr(SlurmEngine, "submit", submit)
    monkeypatch.setattr(SlurmEngine, "state", lambda _, job, submitted: slurm.states.get(job.job_id))
    return slurm


def order(folder: Path) -> Order:
    return Order(folder / "er" / "seed0", None, 1)


def test_the_end_of_a_job_is_told_by_its_result_or_its_state(slurm: SimpleNamespace, tmp_path: Path) -> None:
    states = slurm.states
    states |= {"1": "PENDING", "2": "RUNNING", "3": "CANCELLED", "4": "OUT_OF_MEMORY", "5": "RUNNING", "6": "RUNNING"}
    pending, done, cancelled, short, broken, lost = (slurm.engine.start(order(tmp_path)) for _ in range(6))
    assert [job.poll() for job in (pending, done)] == [None, None]
    (tmp_path / ".slurm" / "2_0_result.pkl").write_bytes(pickle.dumps(("success", 3)))
    (tmp_path / ".slurm" / "2_submission.sh").touch()
    (tmp_path / ".slurm" / "5_0_result.pkl").write_bytes(pickle.dumps(("error", "Traceback\nImportError: no clsim\n")))
    assert done.poll() == done.poll() == 3
    assert not list((tmp_path / ".slurm").glob("2_*"))
    assert (cancelled.poll(), cancelled.reason) == (INTERRUPTED, "")
    assert (short.poll(), short.reason.partition(":")[0]) == (OUT_OF_MEMORY, "out of memory")
    assert (broken.poll(), broken.reason) == (LOST, "its job failed: ImportError: no clsim")
    states |= {"6": "NODE_FAIL", "7": "RUNNING"}
    assert lost.poll() is None
    assert lost.notes == ["its job 6 was lost (NODE_FAIL); tried again, 1 of 1, from its last checkpoint"]
    del states["7"]
    assert lost.poll() == LOST
    assert lost.reason == "its job was lost (its job is gone), 2 times in all; see its log"


def test_a_job_that_slurm_does_not_take_now_is_submitted_later(
    slurm: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.full = True
    job = slurm.engine.start(order(tmp_path))
    assert job.poll() is None
    assert job.notes == ["engine slurm: not submitted: too many jobs; tried again every 30 s"]
    slurm.full = False
    slurm.states["1"] = "RUNNING"
    monkeypatch.setattr(slurm_module, "SUBMIT_EVERY", 0.0)
    assert job.poll() is None
    assert job.poll() is None
    assert next(slurm.numbers) == "2"
    slurm.full = True
    waits = slurm.engine.start(order(tmp_path))
    waits.stop()
    assert waits.poll() == INTERRUPTED
