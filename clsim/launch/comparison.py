"""`clsim.compare`: several strategies and seeds on exactly the same stream, each run in a process of its own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.errors import storage_errors
from clsim.launch.jobs import Job, Request, check_request, jobs_of, order_folder, with_file
from clsim.launch.prepared_comparison import write_prepared
from clsim.launch.prepared_jobs import alone, first_tasks, pool_of, prepare_states, state_of
from clsim.launch.preview import Preview
from clsim.launch.progress import Progress, Speaking, say_notes
from clsim.launch.replacement import set_aside
from clsim.launch.reuse import FolderState, classify_folder, lacking_metrics, lacking_scores
from clsim.launch.run_state import RunState, Status
from clsim.launch.slots import Division, divide
from clsim.preparation import listening
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.running.run_identity import identity_of
from clsim.torchrun import refuse_ranks

if TYPE_CHECKING:
    import pandas as pd

    from clsim.launch.arguments import EngineLike, ScenarioLike, StrategyLike
    from clsim.report.plot import Plot
    from clsim.report.results import Results

DRAWN = (
    "training.model.weights: none: each of the {} seeds draws a backbone of its own and computes the features of all "
    "images again; with weights they are computed once"
)
"""DECIDED: said, not changed. One backbone for all seeds would hide how much a result depends on the draw."""


@dataclass(frozen=True)
class Comparison:
    """Finished runs on one stream, or on one stream for each class order.

    Attributes:
        folder: `<out>/<name>`; the default name is that of the scenario.
        order: names of the strategies in the order of the call.
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

    @property
    def plot(self) -> Plot:
        """Figures of all runs, such as `plot.curves()`; see `clsim.report.plot`."""
        return self.results.plot

    def _repr_html_(self) -> str:
        from clsim.report.notebook import comparison_html

        return comparison_html(self.folder, self.results if self.any_finished else None, self.failed, self.interrupted)

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
        folders = [order_folder(self.folder, seed) for seed in self.order_seeds] or [self.folder]
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
    strategies: StrategyLike | Iterable[StrategyLike] | None = None,
    *,
    name: str | None = None,
    seeds: Iterable[int] | None = None,
    order_seeds: Iterable[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    gpus: str | int | Sequence[str | int] | None = None,
    per_gpu: int | None = None,
    engine: EngineLike | None = None,
    retry_out_of_memory: bool = False,
    prepare_only: bool = False,
    overwrite: bool = False,
    share_first_task: bool = True,
    progress: Progress | bool | None = None,
    baseline: StrategyLike | None = None,
) -> Comparison:
    """Train every strategy with every seed on the same stream.

    All input is checked before the first run starts. A run that fails does not stop the others. Finished runs of an
    earlier comparison are reused; interrupted and failed ones continue from their checkpoints, or begin again if they
    cannot be resumed. Both need equality of everything that fixes a run's numbers: scenario, options, seed, plan, data,
    threads, device, code and versions.

    Args:
        scenario: as in `clsim.run`; or a comparison as a file or a mapping, see `clsim.launch.comparison_file`. What
            is given beside it replaces what the file says; overrides and grid key by key.
        strategies: each as in `clsim.run`; one text may hold several, joined with commas, as in
            "er, er(selection=herding) as herding". Each counts once.
        name: of the folder below `out`; None: the scenario's.
        seeds: training seeds, a list or range of whole numbers, by default 0. Each counts once.
        order_seeds: seeds of the class order; needs `stream.order: seed`. Each gives a stream of its own, and each
            strategy meets all of them.
        overrides: as in `clsim.run`; a strategy option must fit at least one of the strategies.
        out: where run folders go.
        device: auto, cpu, cuda (all GPUs that are visible), cuda:N (one of them) or mps.
        workers: runs at a time; the cores are shared among them. By default, no run has less than one core, and on GPUs
            there are as many as `gpus` and `per_gpu` allow.
        gpus: "all", or names of GPUs as in CUDA_VISIBLE_DEVICES: [0, 2] or "GPU-8932f937". Each run sees one of them.
        per_gpu: runs at a time on each GPU; by default one.
        engine: what carries out the runs: "local" (this machine), "ray", "slurm", or a `clsim.RayEngine` or
            `clsim.SlurmEngine` with settings. No number depends on it.
        retry_out_of_memory: a run that is out of memory is tried once more, alone, after the others.
        prepare_only: make the folders of the runs and carry none out. `device` and `scenario.threads` must be said,
            because the machine that runs them may be another one.
        overwrite: train all of them anew and replace those that are there, finished or not. The old runs are removed
            once all new ones are prepared.
        share_first_task: runs whose first task is the same, to the last bit, train it once.
        progress: as in `clsim.run`.
        baseline: the strategy that tables and report compare the others with, seed by seed; by default `finetune`,
            else the first.

    Raises:
        ClsimError: bad input, a folder with another run or in use; then nothing has been run.
        ComparisonInterrupted: asked to stop; the runs at work have written checkpoints.
    """
    refuse_ranks("clsim compare")
    request = _request(
        scenario=scenario,
        strategies=strategies,
        name=name,
        seeds=seeds,
        order_seeds=order_seeds,
        overrides=overrides,
        grid=grid,
        baseline=baseline,
        out=out,
        device=device,
        workers=workers,
        gpus=gpus,
        per_gpu=per_gpu,
        engine=engine,
        retry_out_of_memory=retry_out_of_memory,
        prepare_only=prepare_only,
        overwrite=overwrite,
        share_first_task=share_first_task,
        progress=progress,
    )
    speaking = Speaking(request.progress)
    with listening(speaking):
        jobs = jobs_of(request)
    with storage_errors(request.home), alone(request.home), listening(speaking):
        division = _division(request, jobs)
        identities = {folder: identity_of(job.scenario, job.spec, division.threads) for folder, job in jobs.items()}
        earlier = _earlier(request, jobs)
        with set_aside(jobs if request.overwrite else ()):
            states = prepare_states(jobs, identities, division.threads)
        if request.progress is not None:
            keep = request.scenario.config.evaluation.keep_scores
            for folder in earlier:
                for text in [*lacking_metrics(folder, jobs[folder].metrics), *lacking_scores(folder, keep)]:
                    request.progress.say(text)
            say_notes(
                [jobs[folder].scenario for folder, state in states.items() if state.status == "waiting"],
                request.progress,
            )
            seeds = {jobs[folder].spec.seed for folder, state in states.items() if state.status == "waiting"}
            model = request.scenario.config.training.model
            if model.cache_features and model.weights == "none" and len(seeds) > 1:
                request.progress.say(DRAWN.format(len(seeds)))
        if request.prepare_only:
            write_prepared(request, jobs, identities, division.threads, _sections(request))
            return _comparison(request, jobs, states)
        with first_tasks(request.home):
            pool = pool_of(request, jobs, identities, states, division)
            pool.run(states)
    comparison = _comparison(request, jobs, states)
    if pool.interruption.requested:
        raise ComparisonInterrupted(comparison)
    return comparison


def preview(
    scenario: ScenarioLike, strategies: StrategyLike | Iterable[StrategyLike] | None = None, **arguments: Any
) -> Preview:
    """Say what `compare` would do: check all input, and look at the runs that are there; nothing is run or written.

    Args:
        scenario, strategies, arguments: as of `compare`.

    Raises:
        ClsimError: what `compare` would raise before the first run.
    """
    asked = inspect.signature(compare).bind(scenario, strategies, **arguments)
    asked.apply_defaults()
    request = _request(**asked.arguments)
    with listening(Speaking(request.progress)):
        jobs = jobs_of(request)
        division = _division(request, jobs)
        found: dict[Path, FolderState] = dict.fromkeys(jobs, "new")
        if not request.overwrite:
            found = {
                folder: classify_folder(folder, identity_of(job.scenario, job.spec, division.threads))
                for folder, job in jobs.items()
            }
    states = {folder: state_of(folder, job, found[folder]) for folder, job in jobs.items()}
    return Preview(request.home, found, states, division.workers)


def _request(
    *,
    out: str | Path,
    device: str,
    workers: int | None,
    gpus: str | int | Sequence[str | int] | None,
    per_gpu: int | None,
    engine: EngineLike | None,
    retry_out_of_memory: bool,
    prepare_only: bool,
    overwrite: bool,
    share_first_task: bool,
    progress: Progress | bool | None,
    **given: Any,
) -> Request:
    """Return the arguments of `compare`, over those of a comparison file, checked."""
    return check_request(
        with_file(**given),
        out=out,
        device=device,
        workers=workers,
        gpus=gpus,
        per_gpu=per_gpu,
        engine=engine,
        retry_out_of_memory=retry_out_of_memory,
        prepare_only=prepare_only,
        overwrite=overwrite,
        share_first_task=share_first_task,
        progress=progress,
    )


def _earlier(request: Request, jobs: Iterable[Path]) -> list[Path]:
    """Return the folders of runs that are there, to be reused or continued."""
    return [] if request.overwrite else [folder for folder in jobs if folder.exists()]


def _division(request: Request, jobs: Mapping[Path, Job]) -> Division:
    """Return how the machine is divided among the runs."""
    return divide(request.hardware, request.scenario.config.threads, len(jobs), _earlier(request, jobs))


def _comparison(request: Request, jobs: Mapping[Path, Job], states: Mapping[Path, RunState]) -> Comparison:
    """Return what has become of the runs."""

    def folders(*statuses: Status) -> tuple[Path, ...]:
        return tuple(folder for folder, state in states.items() if state.status in statuses)

    return Comparison(
        request.home,
        tuple(request.entries),
        request.order_seeds,
        failed={folder: states[folder].reason for folder in folders("failed")},
        baseline=request.baseline,
        reused=folders("reused"),
        interrupted=folders("interrupted", "waiting"),
        sections=_sections(request),
    )


def _sections(request: Request) -> tuple[str, ...]:
    """Return references of the report sections that the strategies bring, each once."""
    return tuple(dict.fromkeys(name for each in request.entries.values() for name in each.composition.report_sections))


def _has_results(folder: Path) -> bool:
    return any(folder.glob(f"{SEED_FOLDERS}/{RunFolder.result}"))
