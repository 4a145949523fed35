"""`clsim.tune`: a search over options of one strategy on validation images, and its best shown on test images."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.csv_text import frame_text
from clsim.errors import ClsimError, RunError, storage_errors
from clsim.launch.arguments import split_overrides
from clsim.launch.comparison import Comparison, compare
from clsim.launch.jobs import Given, Request, check_request, jobs_of
from clsim.launch.prepared_jobs import alone, first_tasks, pool_of, prepare_states
from clsim.launch.progress import Progress, Speaking
from clsim.launch.search import Search, search_of
from clsim.launch.slots import divide
from clsim.launch.trial_course import Course
from clsim.launch.trials import Trial, Trials
from clsim.launch.tuning_file import tuning_of
from clsim.launch.variants import Entry, Variant, compose
from clsim.preparation import listening
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.running.run_identity import identity_of
from clsim.scenario import Scenario
from clsim.torchrun import refuse_ranks

if TYPE_CHECKING:
    import pandas as pd

    from clsim.launch.arguments import EngineLike, ScenarioLike, StrategyLike

TRIALS_FILE = "trials.csv"


@dataclass(frozen=True)
class Tuning:
    """A search and its best trial.

    Attributes:
        folder: of the search, `<out>/<name>`, with one folder per trial.
        trials: all of them, by number.
        best: the one with the highest objective on validation images.
        variant: the strategy with the values of the best, labelled as in the comparison.
        comparison: the strategy as it was given and as it was tuned, on test images with fresh seeds; None: not asked.
    """

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial
    variant: Variant
    comparison: Comparison | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row per trial: trial, state, value (the objective, percent), the keys of the search, reason."""
        return _frame(self.trials)


class TuningInterrupted(KeyboardInterrupt):
    """A search was asked to stop; the same call goes on with it."""


def tune(
    scenario: ScenarioLike,
    strategy: StrategyLike | None = None,
    ranges: Mapping[str, Any] | None = None,
    *,
    trials: int | None = None,
    seeds: Iterable[int] | None = None,
    test_seeds: Iterable[int] | None = None,
    validation: float | None = None,
    objective: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    batch: int | None = None,
    seed: int | None = None,
    name: str | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    gpus: str | int | Sequence[str | int] | None = None,
    per_gpu: int | None = None,
    engine: EngineLike | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Search for good values of a strategy's options on validation images, and show the best on test images.

    Runs of the search never score a test image. The same call continues a search that was stopped or killed; with more
    `trials` it extends a search. The result depends on `seed` and `batch`, not on the number of workers.

    Args:
        scenario: as in `clsim.run`; or a search as a file or a mapping, see `clsim.launch.tuning_file`. What is given
            beside it replaces what the file says; overrides and ranges key by key.
        strategy: as in `clsim.run`.
        ranges: {"strategy.akd.gamma": {"log_uniform": [0.1, 4]}}, of strategy options and keys of `training` and
            `memory`; see `clsim.launch.tuning_ranges`.
        trials: how many; by default 20.
        seeds: training seeds of each trial, by default 0; the objective is their mean.
        test_seeds: training seeds on test images, none of `seeds`; by default five new ones; empty: no comparison.
        validation: share of the training images that is held out in the search alone; None: the scenario's.
        objective: avg_mAP (default), last_mAP, or head_last_mAP, medium_last_mAP, tail_last_mAP.
        overrides: as in `clsim.run`.
        batch: trials that are chosen at a time, by default 4.
        seed: of the choices, by default 0.
        name: of the folder below `out`; None: `<scenario>-tuning`. The comparison goes to `<name>-test`.
        out: where run folders go.
        device: as in `clsim.compare`.
        workers: as in `clsim.compare`.
        gpus: as in `clsim.compare`.
        per_gpu: as in `clsim.compare`.
        engine: as in `clsim.compare`.
        progress: as in `clsim.compare`.

    Raises:
        ClsimError: bad input; a search on test images; no trial that could be carried out.
        TuningInterrupted: asked to stop; the runs at work have written checkpoints.
    """
    refuse_ranks("clsim tune")
    search = search_of(
        tuning_of(scenario) or {"scenario": scenario},
        strategy=strategy,
        ranges=ranges,
        trials=trials,
        seeds=seeds,
        test_seeds=test_seeds,
        validation=validation,
        objective=objective,
        overrides=overrides,
        batch=batch,
        seed=seed,
        name=name,
    )
    machine: dict[str, Any] = {"device": device, "workers": workers, "gpus": gpus, "per_gpu": per_gpu, "engine": engine}
    request = _request(search, out, machine, progress)
    with storage_errors(request.home), listening(Speaking(request.progress)):
        _check_ends(search, request)
        with alone(request.home), first_tasks(request.home):
            found = _carry_out(search, request)
    best = found.best
    if best is None:
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in found.all if trial.reason)) or "none was completed"
        raise RunError(f"{request.home}: no trial has a value: {reasons}")
    variant = search.tuned(best)
    comparison = None
    if search.test_seeds:
        scenario, overrides = _given(search.scenario, {**search.overrides, "evaluation.on": "test"})
        comparison = compare(
            scenario,
            [search.variant, variant],
            name=f"{request.home.name}-test",
            seeds=search.test_seeds,
            overrides=overrides,
            baseline=search.variant,
            out=out,
            progress=progress,
            **machine,
        )
    return Tuning(request.home, tuple(found.all), best, variant, comparison)


def _given(scenario: Any, overrides: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Return scenario and overrides as `clsim.compare` takes them; a loaded scenario has its keys changed at once."""
    if not isinstance(scenario, Scenario):
        return scenario, overrides
    keys, options = split_overrides(overrides)
    return scenario.with_overrides(keys), {f"strategy.{key}": value for key, value in options.items()}


def _request(search: Search, out: str | Path, machine: Mapping[str, Any], progress: Progress | None) -> Request:
    """Return the search's runs on validation images as a comparison whose strategies are still to come.

    Raises:
        ClsimError: the scenario holds nothing out; as `clsim.compare`.
    """
    scenario, overrides = _given(search.scenario, search.validated)
    request = check_request(
        Given(scenario, [search.variant], search.name, search.seeds, overrides=overrides, origins=search.origins),
        out=out,
        overwrite=False,
        share_first_task=True,
        progress=progress,
        **machine,
    )
    if not request.scenario.config.dataset.validation:
        raise RunError(
            "dataset.validation: 0, so that there is nothing to search on; hold out a share of the training images "
            "in the search, such as --validation 0.25"
        )
    home = request.home if search.name is not None else request.home.with_name(f"{request.home.name}-tuning")
    return replace(request, home=home)


def _check_ends(search: Search, request: Request) -> None:
    """Raise ClsimError if the strategy or the scenario does not take the ends of a range, or one of its choices."""
    for key, values in search.ranges.items():
        for value in values.values:
            try:
                jobs_of(_batch_request(search, request, {"end": {key: value}}))
            except ClsimError as error:
                raise RunError(f"range {key}: {error}") from None


def _batch_request(search: Search, request: Request, points: Mapping[str, Mapping[str, Any]]) -> Request:
    """Return the comparison of some trials, by their names."""
    options = split_overrides(search.validated)[1]
    entries: list[Entry] = compose([search.at(params, name) for name, params in points.items()], options)
    return replace(request, entries={entry.name: entry for entry in entries})


def _carry_out(search: Search, request: Request) -> Trials:
    """Carry out all trials and return them.

    Raises:
        TuningInterrupted: asked to stop.
    """
    runs_at_a_time, earlier = search.batch * len(search.seeds), request.home.glob(SEED_FOLDERS)
    division = divide(request.hardware, request.scenario.config.threads, runs_at_a_time, earlier)
    threads = division.threads
    (job, *_) = jobs_of(request).values()
    whole = identity_of(job.scenario, replace(job.spec, seed=0), threads)
    fixed = {key: value for key, value in whole.items() if key not in search.ranges and key != "seed"}
    what = {
        **fixed,
        "search.ranges": {key: [one.kind, list(one.values)] for key, one in search.ranges.items()},
        "search.objective": search.objective,
        "search.seeds": list(search.seeds),
        "search.batch": search.batch,
        "search.seed": search.seed,
        "search.device": request.hardware.device,
    }
    trials = Trials(request.home, what, search.ranges, search.seed, search.batch)
    while batch := trials.next_batch(search.trials):
        points = {trial.name: trial.params for trial in batch}
        own = _batch_request(search, request, points)
        jobs = jobs_of(own)
        runs = {trial.name: [one for one in jobs if RunFolder(one).strategy == trial.name] for trial in batch}
        tasks = len(own.scenario.plan().tasks)
        courses = {one.name: Course(runs[one.name], tasks, partial(trials.prunes, one.number)) for one in batch}
        identities = {folder: identity_of(job.scenario, job.spec, threads) for folder, job in jobs.items()}
        states = prepare_states(jobs, identities, threads)
        pool = pool_of(own, jobs, identities, states, division)
        pool.given_up = partial(_given_up, courses)
        pool.run(states)
        if pool.interruption.requested:
            raise TuningInterrupted(f"{request.home}: interrupted; the same command goes on with the search")
        for trial in batch:
            folders = runs[trial.name]
            if courses[trial.name].look():
                trials.prune(trial.number)
            elif failed := next((folder for folder in folders if not RunFolder(folder).finished), None):
                trials.fail(trial.number, states[failed].reason)
            else:
                _record_value(trials, trial, folders, search.objective)
        _write_trials(request.home, trials.all)
        if request.progress is not None and (best := trials.best) is not None:
            done = len(trials.all)
            request.progress.say(
                f"{done}/{search.trials} trials; best {best.name}: {search.objective} {best.value:.2f}"
            )
    return trials


def _given_up(courses: Mapping[str, Course], folder: Path) -> bool:
    return courses[RunFolder(folder).strategy].look()


def _record_value(trials: Trials, trial: Trial, folders: list[Path], objective: str) -> None:
    from clsim.report.run_result import read_run

    values = [read_run(folder).row()[objective] for folder in folders]
    mean = statistics.fmean(values)
    if mean == mean:
        trials.complete(trial.number, mean)
    else:
        trials.fail(trial.number, f"{objective} is undefined")


def _frame(trials: Iterable[Trial]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {"trial": one.number, "state": one.state, "value": one.value, **one.params, "reason": one.reason}
        for one in trials
    ]
    return pd.DataFrame(rows)


def _write_trials(home: Path, trials: Iterable[Trial]) -> None:
    from clsim.files import write_atomically

    write_atomically(home / TRIALS_FILE, frame_text(_frame(trials)))
