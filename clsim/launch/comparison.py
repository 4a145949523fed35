"""`clsim.compare`: several strategies and seeds on exactly the same stream, each run in a process of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.cores import usable_cores
from clsim.errors import RunError, ScenarioError, storage_errors
from clsim.launch.arguments import (
    as_flag,
    as_path,
    as_progress,
    as_scenario,
    as_seed,
    as_seeds,
    as_specs,
    split_overrides,
)
from clsim.launch.first_task_groups import FOLDER as FIRST_TASKS
from clsim.launch.first_task_groups import first_task_key, shares
from clsim.launch.pool import Pool
from clsim.launch.progress import Progress, Speaking
from clsim.launch.reuse import lacking_metrics, standing, threads_there
from clsim.launch.run_state import MetricsTail, RunState, recorded_pace
from clsim.launch.single_run import plan_run
from clsim.launch.starter import SUITED as STARTER_SUITED
from clsim.preparation import listening
from clsim.running.folder import (
    RunSpec,
    identity_of,
    obstacle,
    prepare,
    resolve_threads,
    safe_name,
    set_aside,
)
from clsim.running.lock import locked
from clsim.running.observers import check_observers
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.scenario import Scenario
from clsim.training.composition import check_options, spec_of

if TYPE_CHECKING:
    import pandas as pd

    from clsim.launch.arguments import ScenarioLike, StrategyLike
    from clsim.report.results import Results


@dataclass(frozen=True)
class Comparison:
    """Finished runs on one stream, or on one stream for each class order.

    Attributes:
        folder: `<out>/<scenario>`.
        order: strategies as they were asked for.
        order_seeds: seeds of the class orders; empty: the scenario's own order.
        failed: folder -> reason of the runs that did not finish.
        baseline: strategy that tables compare the others with; None: see `clsim.report.significance`.
        reused: folders of the runs that an earlier comparison had finished.
        interrupted: folders of the runs that were stopped, or not started, on request.
        sections: references of the report sections that the strategies bring.
    """

    folder: Path
    order: tuple[str, ...]
    order_seeds: tuple[int, ...] = ()
    failed: dict[Path, str] = field(default_factory=dict)
    baseline: str | None = None
    reused: tuple[Path, ...] = ()
    interrupted: tuple[Path, ...] = ()
    sections: tuple[str, ...] = ()

    @property
    def results(self) -> Results:
        """The run folders, read back; over all class orders."""
        from clsim.report.results import joined, load_results

        return joined(self.folder, [load_results(folder, self.order) for folder in self._folders()])

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run: strategy, seed, order_seed and its final numbers (percent, points, seconds, bytes)."""
        return self.results.frame

    def table(self) -> str:
        """The final table in Markdown: mean and standard deviation over all seeds and class orders."""
        from clsim.report.tables import final_table, markdown

        return markdown(final_table(self.results))

    def report(self, path: str | Path | None = None) -> Path:
        """Write report.html, and tables as CSV, Markdown and LaTeX, into the folder `path`, by default beside the runs.

        With several class orders there is a report for each, in `order<k>`, because classes and tasks differ; the
        tables in the folder itself are over all of them. Returns the (last) page.
        """
        from clsim.report.writing import write_reports

        finished = self.baseline in self.results.strategies  # one that failed must not cost the report of the others
        baseline = self.baseline if finished else None
        return write_reports(self._folders(), path or self.folder, self.order, baseline, self.sections)

    @property
    def any_finished(self) -> bool:
        """Whether there is a run to report on."""
        return any(map(_has_results, self._folders()))

    def _folders(self) -> list[Path]:
        """Of the streams; of those of several class orders, the ones with a finished run if there is any."""
        folders = [_order_folder(self.folder, seed) for seed in self.order_seeds] or [self.folder]
        return [folder for folder in folders if _has_results(folder)] or folders


class ComparisonInterrupted(KeyboardInterrupt):
    """Ctrl-C, or a signal like it, has stopped a comparison; the same call continues it.

    Attributes:
        comparison: what is finished of it.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        super().__init__()


def compare(
    scenario: ScenarioLike,
    strategies: StrategyLike | Iterable[StrategyLike],
    *,
    seeds: Iterable[int] = (0,),
    order_seeds: Iterable[int] = (),
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    share_first_task: bool = True,
    progress: Progress | None = None,
    baseline: StrategyLike | None = None,
) -> Comparison:
    """Train every strategy with every seed on the same stream.

    All input is checked before the first run starts. A run that fails does not stop the others. Of an earlier
    comparison finished runs are reused, and interrupted and failed ones continued from their checkpoints, if everything
    that fixes a run's numbers is equal: scenario, options, seed, plan, data, threads, device, code and versions. Those
    that cannot be resumed begin again.

    Args:
        scenario: as in `clsim.run`.
        strategies: each as in `clsim.run`; one text may hold several, joined with commas. Each counts once.
        seeds: training seeds, a list or range of whole numbers. Each counts once.
        order_seeds: seeds of the class order; needs `stream.order: seed`. Each gives a stream of its own, and each
            strategy meets all of them.
        overrides: as in `clsim.run`; a strategy option must fit at least one of the strategies.
        out: where run folders go.
        device: auto, cpu or cuda.
        workers: runs at a time; the cores are shared among them, and by default none has less than one.
        overwrite: train all of them anew and replace those that are there, finished or not. The old runs are removed
            once all new ones are prepared.
        share_first_task: runs whose first task is the same, to the last bit, train it once.
        progress: what to tell while runs go on, e.g. `clsim.launch.progress.ConsoleProgress()`; None is silent.
            An error of its own ends it, not the runs.
        baseline: the strategy that tables and report compare the others with, seed by seed; by default `finetune`,
            else the first.

    Raises:
        ClsimError: bad input, a folder with another run or in use; then nothing has been run.
        ComparisonInterrupted: asked to stop; what runs has then been told to write a checkpoint.
    """
    from clsim.report.results import TAKEN_NAMES

    seeds, order_seeds = as_seeds(seeds, "seeds"), as_seeds(order_seeds, "order_seeds")
    out, progress = as_path(out, "out"), as_progress(progress)
    overwrite, share_first_task = as_flag(overwrite, "overwrite"), as_flag(share_first_task, "share_first_task")
    specs = as_specs(strategies)
    if not specs or not seeds:
        raise RunError("nothing to compare: give at least one strategy and one seed")
    if workers is not None and (workers := as_seed(workers, "workers")) < 1:
        raise RunError(f"workers: given {workers}, must be at least 1")
    keys, options = split_overrides(overrides)
    loaded = as_scenario(scenario, keys)
    composed = check_options(specs, options)
    home = out / loaded.name
    if baseline is not None:
        baseline = _baseline(
            spec_of(baseline, "baseline"), {spec: safe_name(each.name) for spec, each in composed.items()}
        )
    jobs: dict[Path, tuple[Scenario, RunSpec]] = {}
    parts: dict[Path, str | None] = {}
    speaking = Speaking(progress)
    for variant, folder in _streams(loaded, home, order_seeds):
        metrics = check_observers(variant, TAKEN_NAMES)
        for seed in seeds:
            for composition in composed.values():
                with listening(speaking):
                    spec = plan_run(variant, composition, seed, device, composition.given)
                if spec.folder(folder) in jobs:
                    raise RunError(f"{composition.spec}: another strategy of this comparison is also named {spec.name}")
                jobs[spec.folder(folder)] = variant, spec
                parts[spec.folder(folder)] = composition.first_task_key()
    with storage_errors(home), _alone(home), listening(speaking):
        there = () if overwrite else [folder for folder in jobs if folder.exists()]
        threads, workers = _division(loaded.config.threads, workers, len(jobs), there)
        identities = {folder: identity_of(variant, spec, threads) for folder, (variant, spec) in jobs.items()}
        with set_aside(jobs if overwrite else ()):
            states = _states(jobs, identities, threads)
        if progress is not None:
            for text in (text for folder in there for text in lacking_metrics(folder, metrics)):
                progress.say(text)
        shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)  # of a comparison that was killed
        first_tasks = {folder: first_task_key(parts[folder], identities[folder]) for folder in jobs if share_first_task}
        several = sum(state.status == "waiting" for state in states.values()) > 1
        fork = STARTER_SUITED and several and all(spec.device == "cpu" for _, spec in jobs.values())
        pool = Pool(workers, threads, progress, shares(home, first_tasks, states), fork=fork)
        try:
            pool.run(states)
        finally:
            shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)
    order = tuple(dict.fromkeys(spec.name for _, spec in jobs.values()))
    stopped = ("interrupted", "waiting")
    comparison = Comparison(
        home,
        order,
        order_seeds,
        failed={folder: state.reason for folder, state in states.items() if state.status == "failed"},
        baseline=baseline,
        reused=tuple(folder for folder, state in states.items() if state.status == "reused"),
        interrupted=tuple(folder for folder, state in states.items() if state.status in stopped),
        sections=tuple(dict.fromkeys(name for each in composed.values() for name in each.report_sections)),
    )
    if pool.interruption.requested:
        raise ComparisonInterrupted(comparison)
    return comparison


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Inside it no other comparison writes to the folder, which is made."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home):
        yield


def _baseline(given: str, names: Mapping[str, str]) -> str:
    """Name of a strategy that was given by it or as it was asked for; RunError if it is none of them."""
    from clsim.report.significance import check_baseline

    name = names.get(given, given)
    check_baseline(name, list(names.values()))
    return name


def _division(asked: str | int, workers: int | None, n_runs: int, there: Iterable[Path]) -> tuple[int, int]:
    """Return the threads of each run and the runs at a time, before the first starts: threads identify a run.

    Args:
        there: folders of earlier runs to reuse or to go on with.
    """
    known = threads_there(there) if asked == "auto" else None
    threads = known or resolve_threads(asked, min(workers or usable_cores(), n_runs))
    return threads, workers or max(1, usable_cores() // threads)


def _states(
    jobs: Mapping[Path, tuple[Scenario, RunSpec]], identities: Mapping[Path, Mapping[str, Any]], threads: int
) -> dict[Path, RunState]:
    """Every run as it stands, its folder made if it is new; none is made unless all can be.

    Raises:
        RunError: a folder holds another run, is in use, or cannot be written.
    """
    found = {folder: standing(folder, identity) for folder, identity in identities.items()}
    states = {}
    for folder, (variant, spec) in jobs.items():
        tasks = len(variant.plan().tasks)
        total = variant.config.training.epochs * tasks
        if found[folder] == "finished":
            pace = recorded_pace(folder, total)
            states[folder] = RunState(total, tasks, "reused", done=total, recorded_pace=pace)
            continue
        begins_again = found[folder] == "unfinished" and obstacle(folder) is not None
        if begins_again or found[folder] == "new":
            with set_aside([folder] if begins_again else ()):
                prepare(folder, variant, spec, threads)
        states[folder] = RunState(total, tasks, "waiting")
        MetricsTail(folder, states[folder]).read()
    return states


def _streams(scenario: Scenario, home: Path, order_seeds: Sequence[int]) -> list[tuple[Scenario, Path]]:
    """The scenario under each class order, and the folder of its runs."""
    if not order_seeds:
        return [(scenario, home)]
    stream = scenario.config.stream
    if stream.order != "seed":
        raise ScenarioError([f"order_seeds: given, but stream.order is {stream.order!r}; it must be seed"])
    if min(order_seeds) < 0:
        raise ScenarioError([f"order_seeds: given {min(order_seeds)}, must be 0 or more"])
    return [
        (
            Scenario(
                scenario.config.model_copy(update={"stream": stream.model_copy(update={"order_seed": seed})}),
                scenario.source,
                scenario.document,
            ),
            _order_folder(home, seed),
        )
        for seed in order_seeds
    ]


def _has_results(folder: Path) -> bool:
    return any(folder.glob(f"{SEED_FOLDERS}/{RunFolder.result}"))


def _order_folder(home: Path, order_seed: int) -> Path:
    return home / f"order{order_seed}"
