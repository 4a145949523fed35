"""`clsim.compare`: several strategies and seeds on exactly the same stream, each run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from clsim.errors import RunError
from clsim.experiment.folder import claim, prepare, resolve_threads, split_overrides
from clsim.experiment.progress import Progress, read_state
from clsim.experiment.single import as_scenario, plan_run
from clsim.scenario import Scenario
from clsim.training.composition import check_options

if TYPE_CHECKING:
    import pandas as pd

    from clsim.experiment.results import Results

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Comparison:
    """Finished runs on one stream.

    Attributes:
        folder: `<out>/<scenario>`.
        order: strategies as they were asked for.
        failed: folder -> reason of the runs that did not finish.
    """

    folder: Path
    order: tuple[str, ...]
    failed: dict[Path, str] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        """The run folders, read back."""
        from clsim.experiment.results import load_results

        return load_results(self.folder, self.order)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run: strategy, seed and its final numbers (percent, percent points, seconds, bytes)."""
        return self.results.frame

    def table(self) -> str:
        """The final table in Markdown: mean and standard deviation over seeds."""
        from clsim.experiment.results import markdown_table

        return markdown_table(self.results)

    def report(self, path: str | Path | None = None) -> Path:
        """Write report.html, results.csv and results.md into the folder `path`, by default beside the runs."""
        from clsim.experiment.report import write_report

        return write_report(self.folder, path, self.order)


def compare(
    scenario: Scenario | str | Path,
    strategies: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train every strategy with every seed on the same stream.

    All input is checked before the first run starts. A run that fails does not stop the others.

    Args:
        scenario: a loaded scenario, a path, or a shipped name.
        strategies: names, compositions such as "lwf+er", or path/to/file.py:Class.
        seeds: training seeds.
        overrides: as in `clsim.run`; a strategy option must fit at least one of the strategies.
        out: where run folders go.
        device: auto, cpu or cuda.
        workers: runs at a time, by default as many as there are cores; the cores are shared among them.
        overwrite: replace run folders that are there.
        progress: what to tell while runs go on, e.g. `clsim.experiment.progress.ConsoleProgress()`; None is silent.

    Raises:
        ClsimError: bad input or a taken folder; then nothing has been run.
    """
    keys, options = split_overrides(overrides or {})
    loaded = as_scenario(scenario, keys)
    if not strategies or not seeds:
        raise RunError("nothing to compare: give at least one strategy and one seed")
    if workers is not None and workers < 1:
        raise RunError(f"workers: given {workers}, must be at least 1")
    composed = check_options(list(dict.fromkeys(strategies)), options)
    jobs = {}
    for seed in dict.fromkeys(seeds):
        for composition in composed.values():
            folder, spec = plan_run(loaded, composition, seed, Path(out), device, composition.given)
            if folder in jobs:
                raise RunError(f"{composition.spec}: another strategy of this comparison is also named {spec.name}")
            jobs[folder] = spec
    claim(list(jobs), overwrite)
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    threads = resolve_threads(loaded.config.threads, workers)
    for folder, spec in jobs.items():
        prepare(folder, loaded, spec, threads)
    epochs = loaded.config.training.epochs * len(loaded.plan().tasks)
    failed = _Pool(workers, threads).run(list(jobs), epochs, progress)
    order = tuple(dict.fromkeys(spec.name for spec in jobs.values()))
    return Comparison(Path(out) / loaded.name, order, failed)


class _Pool:
    """Runs prepared folders as processes, a few at a time."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers = workers
        self.environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
        self.running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self.failed: dict[Path, str] = {}

    def run(self, folders: list[Path], epochs: int, progress: Progress | None) -> dict[Path, str]:
        """Folder -> reason of those that failed; `epochs` is the length of each run."""
        waiting = list(folders)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.workers:
                    self._start(waiting.pop(0))
                time.sleep(0.2)
                for folder in list(self.running):
                    if progress is not None:
                        progress.update(folder, read_state(folder, epochs))
                    if self.running[folder][0].poll() is not None:
                        self._finish(folder, progress)
        finally:
            for process, _ in self.running.values():
                process.terminate()
            for folder in list(self.running):
                self._finish(folder, progress)
            if progress is not None:
                progress.close()
        return self.failed

    def _start(self, folder: Path) -> None:
        output = (folder / "output.txt").open("wb")
        command = [sys.executable, "-m", "clsim.experiment.execution", str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment
        )
        self.running[folder] = (process, output)

    def _finish(self, folder: Path, progress: Progress | None) -> None:
        process, output = self.running.pop(folder)
        code = process.wait()
        output.close()
        if code:
            self.failed[folder] = _reason(folder, code)
        if progress is not None:
            progress.finish(folder, self.failed.get(folder))


def _reason(folder: Path, code: int) -> str:
    """Why a process ended with `code`: its own last word, else the signal or exit code."""
    path = folder / "error.txt"
    if not path.is_file():
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        path.write_text(f"{how}; see {folder / 'output.txt'}\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").splitlines()[0]
