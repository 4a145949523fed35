"""`clsim.compare`: several strategies and seeds on exactly the same stream, each run in a process of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.cores import usable_cores
from clsim.errors import RunError, ScenarioError, storage_errors
from clsim.evaluation.own_metrics import OwnMetric
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
from clsim.launch.replacement import set_aside
from clsim.launch.reuse import classify_folder, lacking_metrics, recorded_threads
from clsim.launch.run_state import MetricsTail, RunState, Status, recorded_pace
from clsim.launch.single_run import plan_run
from clsim.launch.starter import SUITED as STARTER_SUITED
from clsim.preparation import listening
from clsim.running.folder_lock import locked
from clsim.running.hardware import resolve_threads
from clsim.running.observers import check_observers
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.running.run_identity import identity_of
from clsim.running.run_spec import RunSpec, safe_name
from clsim.scenario import Scenario
from clsim.scenario.schema import ObjectSection
from clsim.training.composition import Composition, check_options, spec_of

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
        """The results of all runs, read from their folders; over all class orders."""
        from clsim.report.results import joined, load_results

        return joined(self.folder, [load_results(folder, self.order) for folder in self._folders()])

    @property
    def frame(self) -> pd.DataFrame:
        """One row per run: strategy, seed, order_seed and its final numbers (percent, points, seconds, bytes)."""
        return self.results.frame

    def table(self) -> str:
        """Return the final table in Markdown: mean and standard deviation over all seeds and class orders."""
        from clsim.report.tables import final_table, markdown

        return markdown(final_table(self.results))

    def report(self, path: str | Path | None = None) -> Path:
        """Write report.html, and tables as CSV, Markdown and LaTeX, into the folder `path`, by default beside the runs.

        Each class order has a report of its own, in `order<k>`, because classes and tasks differ. The report in the
        folder itself is over all orders.

        Returns:
            The path of the page; of several class orders of the one over all.
        """
        from clsim.report.writing import write_reports

        has_result = self.baseline in self.results.strategies  # one that failed must not cost the report of the others
        baseline = self.baseline if has_result else None
        return write_reports(self._folders(), path or self.folder, self.order, baseline, self.sections)

    @property
    def any_finished(self) -> bool:
        """Whether at least one run has a result."""
        return any(map(_has_results, self._folders()))

    def _folders(self) -> list[Path]:
        """Return one folder per stream; of several class orders those with a result, if there is any result."""
        folders = [_order_folder(self.folder, seed) for seed in self.order_seeds] or [self.folder]
        return [folder for folder in folders if _has_results(folder)] or folders


class ComparisonInterrupted(KeyboardInterrupt):
    """Ctrl-C, or a signal like it, has stopped a comparison; the same call continues it.

    Attributes:
        comparison: the runs so far.
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
        progress: told how the runs go on, e.g. `clsim.launch.progress.ConsoleProgress()`; None: silent. An error in it
            ends it, not the runs.
        baseline: the strategy that tables and report compare the others with, seed by seed; by default `finetune`,
            else the first.

    Raises:
        ClsimError: bad input, a folder with another run or in use; then nothing has been run.
        ComparisonInterrupted: asked to stop; the runs at work have written checkpoints.
    """
    request = _check_input(
        scenario,
        strategies,
        seeds=seeds,
        order_seeds=order_seeds,
        overrides=overrides,
        out=out,
        device=device,
        workers=workers,
        overwrite=overwrite,
        share_first_task=share_first_task,
        progress=progress,
        baseline=baseline,
    )
    speaking = Speaking(request.progress)
    with listening(speaking):
        jobs = _jobs(request)
    with storage_errors(request.home), _alone(request.home), listening(speaking):
        threads, workers = _divide_cores(request, jobs)
        identities = {folder: identity_of(job.scenario, job.spec, threads) for folder, job in jobs.items()}
        earlier = _earlier(request, jobs)
        with set_aside(jobs if request.overwrite else ()):
            states = _prepare_states(jobs, identities, threads)
        if request.progress is not None:
            for text in (text for folder in earlier for text in lacking_metrics(folder, jobs[folder].metrics)):
                request.progress.say(text)
        with _first_tasks(request.home):
            pool = _pool(request, jobs, identities, states, threads, workers)
            pool.run(states)
    comparison = _comparison(request, jobs, states)
    if pool.interruption.requested:
        raise ComparisonInterrupted(comparison)
    return comparison


@dataclass(frozen=True)
class _Request:
    """The arguments of `compare`, checked.

    Attributes:
        compositions: a strategy as it was given -> its parts.
        home: `<out>/<scenario>`.
    """

    scenario: Scenario
    compositions: Mapping[str, Composition]
    seeds: tuple[int, ...]
    order_seeds: tuple[int, ...]
    home: Path
    device: str
    workers: int | None
    overwrite: bool
    share_first_task: bool
    progress: Progress | None
    baseline: str | None


@dataclass(frozen=True)
class _Job:
    """One run of a comparison.

    Attributes:
        scenario: with the run's class order.
        epochs: per task; 0 for a run without.
        first_task_part: see `Composition.first_task_key`.
        metrics: that the user brings.
    """

    scenario: Scenario
    spec: RunSpec
    epochs: int
    first_task_part: str | None
    metrics: tuple[OwnMetric, ...]


def _check_input(
    scenario: ScenarioLike,
    strategies: StrategyLike | Iterable[StrategyLike],
    *,
    seeds: Iterable[int],
    order_seeds: Iterable[int],
    overrides: Mapping[str, Any] | None,
    out: str | Path,
    device: str,
    workers: int | None,
    overwrite: bool,
    share_first_task: bool,
    progress: Progress | None,
    baseline: StrategyLike | None,
) -> _Request:
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
    _refuse_objects(loaded)
    compositions = check_options(specs, options)
    return _Request(
        loaded,
        compositions,
        seeds,
        order_seeds,
        home=out / loaded.name,
        device=device,
        workers=workers,
        overwrite=overwrite,
        share_first_task=share_first_task,
        progress=progress,
        baseline=None if baseline is None else _baseline_name(spec_of(baseline, "baseline"), compositions),
    )


def _refuse_objects(scenario: Scenario) -> None:
    """Raise ScenarioError if the data are Python objects: the runs are other processes, which do not have them."""
    dataset = scenario.config.dataset
    if isinstance(dataset, ObjectSection):
        text = f"given {dataset.given!r}, a Python object, which the runs of a comparison, other processes, cannot have"
        advice = "name its class by a file, as dataset: {name: my_data.py:MyData}, or use clsim.run"
        raise ScenarioError([f"dataset.name: {text}; {advice}"])


def _baseline_name(spec: str, compositions: Mapping[str, Composition]) -> str:
    """Return the name of the strategy that is given by its name or as in `strategies`.

    Raises:
        RunError: it is none of them.
    """
    from clsim.report.significance import check_baseline

    names = {given: safe_name(each.name) for given, each in compositions.items()}
    name = names.get(spec, spec)
    check_baseline(name, list(names.values()))
    return name


def _jobs(request: _Request) -> dict[Path, _Job]:
    """Return the runs by their folders, each checked.

    Raises:
        ClsimError: as `plan_run`, or two runs would have the same folder.
    """
    from clsim.report.results import TAKEN_NAMES

    jobs: dict[Path, _Job] = {}
    for variant, home in _streams(request):
        metrics = check_observers(variant, TAKEN_NAMES)
        for seed in request.seeds:
            for composition in request.compositions.values():
                spec = plan_run(variant, composition, seed, request.device, composition.given)
                epochs = composition.training(variant.config.training).epochs
                folder = spec.folder(home)
                if folder in jobs:
                    raise RunError(f"{composition.spec}: another strategy of this comparison is also named {spec.name}")
                jobs[folder] = _Job(variant, spec, epochs, composition.first_task_key(), metrics)
    return jobs


def _streams(request: _Request) -> list[tuple[Scenario, Path]]:
    """Return the scenario under each class order, and the folder of its runs."""
    scenario, order_seeds = request.scenario, request.order_seeds
    if not order_seeds:
        return [(scenario, request.home)]
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
            _order_folder(request.home, seed),
        )
        for seed in order_seeds
    ]


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Make the folder of a comparison, and keep other comparisons out of it while the block runs."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home):
        yield


def _earlier(request: _Request, jobs: Iterable[Path]) -> list[Path]:
    """Return the folders of runs that are there, to be reused or continued."""
    return [] if request.overwrite else [folder for folder in jobs if folder.exists()]


def _divide_cores(request: _Request, jobs: Mapping[Path, _Job]) -> tuple[int, int]:
    """Return the threads of each run, which are part of its identity, and the number of runs at a time.

    With `threads: auto`, runs that are reused or continued give their number of threads to the new ones.
    """
    requested = request.scenario.config.threads
    recorded = recorded_threads(_earlier(request, jobs)) if requested == "auto" else None
    threads = recorded or resolve_threads(requested, min(request.workers or usable_cores(), len(jobs)))
    return threads, request.workers or max(1, usable_cores() // threads)


def _prepare_states(
    jobs: Mapping[Path, _Job], identities: Mapping[Path, Mapping[str, Any]], threads: int
) -> dict[Path, RunState]:
    """Return how far every run is, and make the folders of new runs; none is made unless all can be.

    Raises:
        RunError: a folder holds another run, is in use, or cannot be written.
    """
    found = {folder: classify_folder(folder, identity) for folder, identity in identities.items()}
    states = {}
    for folder, job in jobs.items():
        state = states[folder] = RunState.of(job.epochs, len(job.scenario.plan().tasks), "waiting")
        if found[folder] == "finished":
            state.status, state.done, state.recorded_pace = "reused", state.total, recorded_pace(folder, state.total)
            continue
        begins_again = found[folder] == "unfinished" and RunFolder(folder).obstacle is not None
        if begins_again or found[folder] == "new":
            with set_aside([folder] if begins_again else ()):
                prepare(folder, job.scenario, job.spec, threads)
        MetricsTail(folder, state).read()
    return states


@contextmanager
def _first_tasks(home: Path) -> Iterator[None]:
    """Remove the shared first tasks after the block, and before it those of a comparison that was killed."""
    shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(home / FIRST_TASKS, ignore_errors=True)


def _pool(
    request: _Request,
    jobs: Mapping[Path, _Job],
    identities: Mapping[Path, Mapping[str, Any]],
    states: Mapping[Path, RunState],
    threads: int,
    workers: int,
) -> Pool:
    """Return the pool that carries out the waiting runs."""
    keys = {
        folder: first_task_key(job.first_task_part, identities[folder])
        for folder, job in jobs.items()
        if request.share_first_task and job.epochs
    }
    several = sum(state.status == "waiting" for state in states.values()) > 1
    fork = STARTER_SUITED and several and all(job.spec.device == "cpu" for job in jobs.values())
    return Pool(workers, threads, request.progress, shares(request.home, keys, states), fork=fork)


def _comparison(request: _Request, jobs: Mapping[Path, _Job], states: Mapping[Path, RunState]) -> Comparison:
    """Return what has become of the runs."""

    def folders(*statuses: Status) -> tuple[Path, ...]:
        return tuple(folder for folder, state in states.items() if state.status in statuses)

    return Comparison(
        request.home,
        tuple(dict.fromkeys(job.spec.name for job in jobs.values())),
        request.order_seeds,
        failed={folder: states[folder].reason for folder in folders("failed")},
        baseline=request.baseline,
        reused=folders("reused"),
        interrupted=folders("interrupted", "waiting"),
        sections=tuple(dict.fromkeys(name for each in request.compositions.values() for name in each.report_sections)),
    )


def _has_results(folder: Path) -> bool:
    return any(folder.glob(f"{SEED_FOLDERS}/{RunFolder.result}"))


def _order_folder(home: Path, order_seed: int) -> Path:
    return home / f"order{order_seed}"
