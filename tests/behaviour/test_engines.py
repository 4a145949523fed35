"""Every engine carries runs out alike: small processes with each of them, and real runs with the marker `engines`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import psutil
import pytest

import clsim
from clsim.launch import engines
from clsim.launch.comparison import ComparisonInterrupted
from clsim.launch.engines import Engine
from clsim.launch.engines import slurm as slurm_module
from clsim.launch.engines.ray import RayEngine
from clsim.launch.engines.slurm import SlurmEngine
from clsim.launch.pool import Pool
from clsim.launch.run_state import RunState
from clsim.launch.slots import Hardware, Node
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.run_folder import RunFolder
from tests.fixtures.clusters import slurm_is_installed
from tests.fixtures.small_runs import AS_RUNS_DO, DEAF, RUN, Recorder, ends, interrupt, when_up

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")

NOTE_ORDER = '(folder / "order").open("a").write(arguments[2] + "\\n")\n'
KILL_STARTER = "os.kill(os.getppid(), signal.SIGKILL); time.sleep(0.5); sys.exit(130)"
"""The run's parent is the process that the engine has on the machine; the run notices and ends."""


@pytest.fixture(scope="module")
def code_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the module `small_run`; made before the clusters, whose processes search it."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "small_run.py").write_text(RUN)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    return folder


ENGINES = ["ray", "slurm", pytest.param("local slurm", marks=pytest.mark.engines)]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, code_of_runs: Path) -> Engine:
    """Each engine that starts runs by processes of its own, with one retry; local where there is no Slurm."""
    if request.param == "ray":
        return RayEngine(request.getfixturevalue("ray_cluster").address, retries=1)
    pytest.importorskip("submitit", reason="needs submitit: pip install 'clsim[slurm]'")
    if request.param == "slurm" and slurm_is_installed():
        request.getfixturevalue("real_slurm")
        return SlurmEngine({"time": 20}, retries=1)
    return SlurmEngine(cluster="local", retries=1)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[Path, RunState]]:
    """States of folders that wait, by what the process of each does."""
    monkeypatch.setattr(engines, "MODULE", "small_run")
    monkeypatch.setattr(slurm_module, "LOOK_EVERY", 0.3)
    monkeypatch.setattr(slurm_module, "RESULT_WITHIN", 1.0)

    def make(**codes: str) -> dict[Path, RunState]:
        states = {}
        for name, code in codes.items():
            folder = tmp_path / name / "seed0"
            folder.mkdir(parents=True)
            (folder / "code").write_text(code)
            states[folder] = RunState(4, 2, "waiting")
        return states

    return make


def test_runs_end_as_they_do_on_this_machine_and_lost_ones_are_tried_again(engine: Engine, jobs) -> None:
    states = jobs(
        lost=f'again = (folder / "first").exists(); (folder / "first").touch()\nif not again: {KILL_STARTER}\nfinish()',
        hopeless=NOTE_ORDER + KILL_STARTER,
        fails="print('no images'); sys.exit(3)",
        well='(folder / "saw").write_text(os.environ["OMP_NUM_THREADS"] + os.environ["PYTHONSAFEPATH"]); finish()',
    )
    lost, hopeless, fails, well = states
    recorder = Recorder()
    Pool(2, 1, recorder, engine=engine).run(states)
    assert [state.status for state in states.values()] == ["finished", "failed", "failed", "finished"]
    assert states[fails].reason == f"ended with exit code 3 and without a result; see {fails / 'output.txt'}"
    assert (fails / "output.txt").read_text() == "no images\n"
    assert (well / "saw").read_text() == "11"
    assert "2 times in all" in states[hopeless].reason
    attempts = (hopeless / "order").read_text().split()
    assert len(attempts) == 2
    assert len(set(attempts)) == 1, "one order, so that the second may take the lock of the first over"
    said = [text for text in recorder.said if text.startswith(str(lost))]
    assert len(said) == 1
    assert said[0].endswith("tried again, 1 of 1, from its last checkpoint")


def test_one_ctrl_c_saves_and_a_second_one_kills(engine: Engine, jobs) -> None:
    states = jobs(saves=AS_RUNS_DO, deaf=DEAF, waits="finish()")
    saves, deaf, waits = states

    def twice() -> None:
        when_up(saves, lambda: None).join()
        interrupt()
        for _ in range(200):
            if (saves / "checkpoint").exists():
                break
            time.sleep(0.05)
        assert psutil.pid_exists(int((deaf / "pid").read_text()))
        interrupt()

    thread = when_up(deaf, twice)
    pool = Pool(2, 1, engine=engine)
    pool.run(states)
    thread.join()
    assert pool.interruption.at_once
    assert [state.status for state in states.values()] == ["interrupted", "interrupted", "waiting"]
    assert (saves / "checkpoint").exists()
    assert ends(int((deaf / "pid").read_text()))
    assert ends(int((deaf / "child").read_text()))
    assert not (waits / "pid").exists()


def test_runs_on_ray_share_a_gpu_and_the_cluster_says_which_there_are(ray_cluster, code_of_runs: Path, jobs) -> None:
    saw = '(folder / "saw").write_text(os.environ["CUDA_VISIBLE_DEVICES"]); finish()'
    states = jobs(one=saw, other=saw)
    half = RayEngine(ray_cluster.address, gpus_per_run=0.5)
    assert half.slots("auto", "auto", workers=None, gpus=None, per_gpu=None) == Hardware(
        "cuda", nodes=(Node(1, 2),) * 2
    )
    Pool(2, 1, engine=half, device="cuda").run(states)
    assert {(folder / "saw").read_text() for folder in states} <= {"0", "1"}


def put_back(name: str, number: str) -> None:
    """Do to the job of a run what Slurm does before its time ends (USR2), or when it preempts it (TERM)."""
    command = ["squeue", "--noheader", f"--name=clsim-{name}-seed0"]
    job = subprocess.check_output([*command, "--format=%i"], text=True).strip()
    subprocess.check_call(["scancel", f"--signal={number}", job])
    if number == "TERM":  # at the end of the grace time
        time.sleep(3)
        subprocess.check_call(["scontrol", "requeue", job])
    for _ in range(600):  # Slurm lets a job wait for two minutes that comes back
        if subprocess.check_output([*command, "--format=%T"]) == b"PENDING\n":
            subprocess.check_call(["scontrol", "update", f"JobId={job}", "StartTime=now"])
            return
        time.sleep(0.1)


@pytest.mark.engines
@pytest.mark.parametrize("number", ["USR2", "TERM"])
def test_slurm_saves_what_it_puts_back_into_the_queue(real_slurm: Path, code_of_runs: Path, jobs, number: str) -> None:
    states = jobs(run=NOTE_ORDER + 'if (folder / "checkpoint").exists():\n  finish()\nelse:' + indent(AS_RUNS_DO, "  "))
    (folder,) = states
    thread = when_up(folder, lambda: put_back("run", number))
    recorder = Recorder()
    Pool(1, 1, recorder, engine=SlurmEngine({"time": 20}, retries=0)).run(states)
    thread.join()
    assert (states[folder].status, recorder.said) == ("finished", [])
    assert (folder / "checkpoint").exists()
    orders = (folder / "order").read_text().split()
    assert len(orders) > 1
    assert len(set(orders)) == 1, "the second attempt takes the lock of the first over"


# real runs


@pytest.fixture(scope="module")
def arguments() -> dict[str, Any]:
    """Of a comparison whose runs share their first task, and write a checkpoint at each step."""
    overrides = {"dataset.train": 60, "dataset.test": 40, "stream.increment": 4, "training.batch_size": 16}
    overrides |= {"training.epochs": 3, "training.model.image_size": 28, "threads": 1, "checkpoint.steps": 1}
    return {"strategies": "finetune,er", "overrides": overrides, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def undisturbed(arguments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the comparison on this machine."""
    return files_of(clsim.compare("digits-b0c2", out=tmp_path_factory.mktemp("local"), **arguments))


def files_of(comparison: clsim.Comparison) -> dict[str, bytes]:
    """Everything that is the same for equal runs."""
    assert not comparison.failed
    names = (RunFolder.metrics, RunFolder.class_values, RunFolder.trained_model)
    names += (RunFolder.result, RunFolder.identity, RunFolder.plan)
    return {
        f"{folder.parent.name} {name}": (folder / name).read_bytes()
        for folder in comparison.folder.glob("*/seed0")
        for name in names
    }


def run_process(folder: Path) -> psutil.Process:
    """The process that holds a run's folder."""
    return psutil.Process(json.loads(RunFolder(folder).lock.read_text())["pid"])


def when_saved(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Act as soon as the run is in its second task and has a checkpoint there."""

    def wait() -> None:
        for _ in range(4000):
            checkpoint = newest_checkpoint(folder)
            if checkpoint is not None and checkpoint.header["position"]["task"] >= 1:
                return act()
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def log(folder: Path) -> str:
    return RunFolder(folder).run_log.read_text()


@pytest.mark.engines
def test_a_killed_worker_changes_no_number(engine: Engine, arguments, undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "digits-b0c2" / "er" / "seed0"
    thread = when_saved(folder, lambda: run_process(folder).parent().kill())
    recorder = Recorder()
    comparison = clsim.compare("digits-b0c2", out=tmp_path, **(arguments | {"engine": engine, "progress": recorder}))
    thread.join()
    assert sum("tried again, 1 of 1" in text for text in recorder.said) == 1
    assert "goes on from" in log(folder)
    assert files_of(comparison) == undisturbed
    results = [json.loads(path.read_text()) for path in comparison.folder.glob("*/seed0/result.json")]
    assert sum(one["first_task"] is not None for one in results) == 1, "the other took the first task"
    assert {path.name for path in comparison.folder.iterdir()} <= {"er", "finetune", ".slurm"}


@pytest.mark.engines
def test_ctrl_c_saves_and_another_engine_goes_on(engine: Engine, arguments, undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "digits-b0c2" / "er" / "seed0"
    thread = when_saved(folder, interrupt)
    with pytest.raises(ComparisonInterrupted) as stop:
        clsim.compare("digits-b0c2", out=tmp_path, **(arguments | {"engine": engine}))
    thread.join()
    assert folder in stop.value.comparison.interrupted
    assert not stop.value.comparison.failed
    assert not RunFolder(folder).lock.exists()
    assert files_of(clsim.compare("digits-b0c2", out=tmp_path, **arguments)) == undisturbed
    assert "goes on from" in log(folder)


@pytest.mark.engines
def test_a_run_whose_machine_is_lost_goes_on_elsewhere(ray_cluster, arguments, undisturbed, tmp_path: Path) -> None:
    """The raylet, the worker and the run die at once, as with the power."""
    ray_cluster.add_node(num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20)
    raylets = {node.all_processes["raylet"][0].process.pid for node in ray_cluster.worker_nodes}
    folders = [tmp_path / "digits-b0c2" / name / "seed0" for name in ("finetune", "er")]
    lost: list[Path] = []

    def lose() -> None:
        """Lose the machine of the first run that has a checkpoint and is not on the head."""
        for folder in folders * 10000:
            if RunFolder(folder).lock.exists() and newest_checkpoint(folder) is not None:
                process = run_process(folder)
                machine = [each for each in process.parents() if each.pid in raylets]
                if machine:
                    lost.append(folder)
                    for each in (process, process.parent(), *machine):
                        each.kill()
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=lose)
    thread.start()
    engine = RayEngine(ray_cluster.address)
    recorder = Recorder()
    comparison = clsim.compare("digits-b0c2", out=tmp_path, **(arguments | {"engine": engine, "progress": recorder}))
    thread.join()
    assert [f"{folder}: its machine was lost; tried again, 1 of 3, from its last checkpoint" for folder in lost] == [
        text for text in recorder.said if "lost" in text
    ]
    assert files_of(comparison) == undisturbed
    assert "goes on from" in log(lost[0])


@pytest.mark.engines
def test_slurm_saves_a_run_whose_time_ends_and_goes_on_with_it(
    real_slurm: Path, arguments, undisturbed, tmp_path: Path
) -> None:
    folder = tmp_path / "digits-b0c2" / "er" / "seed0"
    thread = when_saved(folder, lambda: put_back("er", "USR2"))
    recorder = Recorder()
    engine = SlurmEngine({"time": 20}, retries=0)
    comparison = clsim.compare("digits-b0c2", out=tmp_path, **(arguments | {"engine": engine, "progress": recorder}))
    thread.join()
    assert recorder.said == []
    assert files_of(comparison) == undisturbed
    assert "goes on from" in log(folder)
    assert "interrupted and saved" in log(folder)
