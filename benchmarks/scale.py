"""What a comparison of many runs costs besides the runs: `python -m benchmarks.scale [RUNS]`, for docs/scale.md.

The runs are stubs with the folders of real ones (`benchmarks.stub_runs`); every part is a process of its own. CPU time
without what waits for a disk or a file server.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import stub_runs
from benchmarks.timing import peak_memory

SEEDS = 20


def prepare(out: Path, strategies: int) -> None:
    """Make the folders of the runs, as `clsim compare --prepare`."""
    stub_runs.compare(out, strategies, SEEDS, prepare_only=True)


def reuse(out: Path, strategies: int) -> None:
    """Find that all runs are finished, as `clsim compare` does before it reports."""
    assert len(stub_runs.compare(out, strategies, SEEDS).reused) == strategies * SEEDS


def report(out: Path, strategies: int) -> None:
    """Write the report."""
    from clsim.report.writing import write_report

    write_report(out / stub_runs.SCENARIO)


def worker_look(out: Path, strategies: int) -> None:
    """Look once for runs that can be taken, as a worker of `clsim work` does every ten seconds."""
    from clsim.launch.prepared_comparison import read_prepared
    from clsim.launch.slots import Division
    from clsim.launch.work import _Worker
    from clsim.running.folder_lock import in_use

    home = out / stub_runs.SCENARIO
    worker = _Worker(home, read_prepared(home), Division(1, 1), None, False)
    began = time.process_time()
    left = worker.left()
    assert not [folder for folder in left if in_use(folder)]
    _say(seconds=time.process_time() - began)


def locks(out: Path, strategies: int) -> None:
    """Take and leave the lock of each run."""
    from clsim.running.folder_lock import locked

    folders = sorted((out / stub_runs.SCENARIO).glob("*/seed*"))
    began = time.process_time()
    for folder in folders:
        with locked(folder) as hold:
            hold.beat()
    _say(seconds=time.process_time() - began)


def progress(out: Path, strategies: int) -> None:
    """Read the lines of all runs and show them once, as a comparison does when it begins."""
    from rich.console import Console

    from clsim.launch.progress import ConsoleProgress
    from clsim.launch.run_state import MetricsTail, RunState

    shown = ConsoleProgress(Console(file=open(os.devnull, "w"), force_terminal=False))  # noqa: SIM115
    began = time.process_time()
    for folder in sorted((out / stub_runs.SCENARIO).glob("*/seed*")):
        state = RunState.of(1, 5, "waiting")
        MetricsTail(folder, state).read()
        shown.update(folder, state)
    read = time.process_time() - began
    shown.table()
    _say(seconds=read, table=time.process_time() - began - read)


PARTS: dict[str, Callable[[Path, int], None]] = {
    part.__name__: part for part in (prepare, worker_look, reuse, report, locks, progress)
}


def _say(**found: float) -> None:
    print(json.dumps(found))


def measure(out: Path, strategies: int, parts: Iterable[str] = PARTS) -> dict[str, dict[str, Any]]:
    """Measure parts on strategies x SEEDS runs below `out`; `prepare` below a folder of its own.

    Returns:
        part -> CPU seconds of the process, those of the work alone where it says them, peak memory in bytes.
    """
    stub_runs.make(out, strategies, SEEDS)
    found = {}
    for name in parts:
        home = out / "prepared" if name in ("prepare", "worker_look") else out
        command = [sys.executable, "-m", "benchmarks.scale", "part", name, str(home), str(strategies)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        said = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        found[name] = {key: value for line in said for key, value in line.items()}
    shutil.rmtree(out / "prepared", ignore_errors=True)
    return found


def folder_size(folder: Path) -> tuple[int, int]:
    """Return the number of files of a run, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def main(arguments: list[str]) -> None:
    """Measure one part, or all of them and print a table."""
    if arguments[:1] == ["part"]:
        began = time.process_time()
        PARTS[arguments[1]](Path(arguments[2]), int(arguments[3]))
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole = time.process_time() - began + children.ru_utime + children.ru_stime
        _say(whole=whole, peak=peak_memory())
        return
    for runs in map(int, arguments or ["100", "500", "1000"]):
        with tempfile.TemporaryDirectory() as home:
            found = measure(Path(home), runs // SEEDS)
            files, size = folder_size(next(Path(home, stub_runs.SCENARIO).glob("er-*/seed0")))
        for name, values in found.items():
            seconds, peak = values.get("seconds", values["whole"]), values["peak"] / 2**20
            row = (runs, name, f"{seconds:.2f}", f"{1e3 * seconds / runs:.1f}", f"{peak:.0f}")
            print("|", " | ".join(map(str, row)), "|", f"table {values['table']:.3f} s" * ("table" in values))
        print(f"a run: {files} files, {size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
