"""Runs of several strategies on one stream, read back from their folders and summarised over seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clsim.errors import RunError
from clsim.report.run_result import (
    ANYTIME,
    AT_EACH_THRESHOLD,
    METRICS,
    ORDER_FOLDER,
    PREVALENCE,
    TRAIN_CPU,
    RunResult,
    read_if_there,
    unchanged_run,
)
from clsim.running.checksums import changed_since
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.vocabulary import AT_THRESHOLD

if TYPE_CHECKING:
    from clsim.report.plot import Plot

NO_VALUE = "\u2013"


@dataclass(frozen=True)
class Unfinished:
    """A run folder without a result, or with one that is no longer what the run wrote, and why."""

    folder: Path
    strategy: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Results:
    """All runs below one folder; `runs` in the order of the strategies, then of the seeds."""

    directory: Path
    runs: tuple[RunResult, ...]
    unfinished: tuple[Unfinished, ...]

    @cached_property
    def strategies(self) -> list[str]:
        return list(dict.fromkeys(run.strategy for run in self.runs))

    @cached_property
    def upper(self) -> str | None:
        """The upper reference (`joint`): what methods could reach at best; None: it was not run."""
        return next((run.strategy for run in self.runs if run.record.reference == "upper"), None)

    @cached_property
    def lower(self) -> str | None:
        """The lower reference (`finetune`): what methods must beat; None: it was not run."""
        return next((run.strategy for run in self.runs if run.record.reference == "lower"), None)

    @cached_property
    def methods(self) -> list[str]:
        """Strategies that are compared as equals: no upper reference, no control, none that sees hidden labels."""
        apart = {
            run.strategy
            for run in self.runs
            if run.record.reference == "upper" or run.record.derived_from or run.record.control
        }
        return [name for name in self.strategies if name not in apart]

    @property
    def plot(self) -> Plot:
        """Figures of the runs."""
        from clsim.report.plot import Plot

        return Plot(self)

    def of(self, strategy: str) -> list[RunResult]:
        """The runs of a strategy."""
        return list(self._by_strategy.get(strategy, ()))

    @cached_property
    def _by_strategy(self) -> dict[str, list[RunResult]]:
        found: dict[str, list[RunResult]] = {}
        for run in self.runs:
            found.setdefault(run.strategy, []).append(run)
        return found

    @cached_property
    def leaders(self) -> dict[str, tuple[str, bool]]:
        """Per metric the best method, and whether it is significantly better than each other one; see `leaders`."""
        from clsim.report.significance import leaders

        return leaders(self)

    @cached_property
    def stream_run(self) -> RunResult:
        """The run that describes the stream: the first one on the plan itself, not on one derived from it."""
        return next((run for run in self.runs if not run.record.derived_from), self.runs[0])

    @cached_property
    def task_names(self) -> list[str]:
        """The tasks as figures name them: their indices."""
        return [str(task.index) for task in self.stream_run.record.tasks]

    @cached_property
    def thresholds(self) -> list[str]:
        """Every threshold that a run recorded, ascending, as text."""
        return sorted({threshold for run in self.runs for threshold in run.record.thresholds}, key=float)

    @cached_property
    def own_metrics(self) -> list[str]:
        """Names of the values of metrics that the user brings, as any of the runs recorded them."""
        metrics = (metric for run in self.runs for metric in run.record.metrics.values())
        return list(dict.fromkeys(name for metric in metrics for name in metric.courses))

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics in `frame` and `summary`: METRICS, those that only some runs record, and the user's."""
        at = [f"{name}@{threshold}" for threshold in self.thresholds for name in AT_EACH_THRESHOLD]
        if any(run.record.at_prevalence.last for run in self.runs):
            at += [f"{name}@{PREVALENCE}" for name in AT_THRESHOLD]
        if any(run.record.anytime_mAP is not None for run in self.runs):
            at.append(ANYTIME)
        if any(line.train_cpu_seconds is not None for run in self.runs for line in run.timing):
            at.append(TRAIN_CPU)
        return [*METRICS, *at, *self.own_metrics]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per finished run: strategy, seed, order_seed, every metric (NaN for null), plan_sha256, derived_from.

        order_seed is NaN unless the class order is drawn. mAP in percent, forgetting and backward transfer in percent
        points, memory in rows and bytes, time in seconds.
        """
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        columns = ["strategy", "seed", "order_seed", *self.metrics, "plan_sha256", "derived_from"]
        return pd.DataFrame([run.row() for run in self.runs]).reindex(columns=columns)

    def summary(self) -> pd.DataFrame:
        """One row per strategy: `seeds` (their number), and per metric `<metric>_mean` and `<metric>_std`.

        The standard deviation is the sample's (n - 1), NaN for one seed.
        """
        return pd.DataFrame(self.summaries)

    @cached_property
    def summaries(self) -> list[dict[str, Any]]:
        """The rows of `summary`."""
        rows = []
        for strategy, runs in self._frame.groupby("strategy", sort=False):
            row: dict[str, Any] = {"strategy": strategy, "seeds": len(runs)}
            for metric in self.metrics:
                # DECIDED: a metric that one seed lacks has no mean, otherwise it would be over fewer seeds than stated.
                row[f"{metric}_mean"] = runs[metric].mean(skipna=False)
                row[f"{metric}_std"] = runs[metric].std(skipna=False)
            rows.append(row)
        return rows

    def values_by_pair(self, strategy: str, metric: str) -> dict[Hashable, float]:
        """A metric of a strategy's runs by `RunResult.pair`, NaN where it is undefined."""
        return {run.pair: float(run._row.get(metric, math.nan)) for run in self.of(strategy)}


def load_results(directory: str | Path, order: Sequence[str] | None = None) -> Results:
    """Read every `<strategy>/seed<k>/` below `directory`; refuse runs whose streams differ.

    Strategies come in the given `order`; those it does not name follow by name, the upper reference (`joint`) last.
    """
    directory = Path(directory)
    runs, unfinished = [], []
    for files in map(RunFolder, sorted(directory.glob(SEED_FOLDERS))):
        if files.seed is None or not files.path.is_dir():
            continue
        if not files.result.exists():
            unfinished.append(Unfinished(files.path, files.strategy, files.seed, _unfinished_reason(files)))
        elif (reason := changed_since(files)) is not None:
            unfinished.append(Unfinished(files.path, files.strategy, files.seed, f"left out: {reason}"))
        else:
            runs.append(unchanged_run(files))
    if not runs:
        raise RunError(_nothing_found(directory, unfinished))
    _check_comparable(runs)
    ranks = {name: rank for rank, name in enumerate(order or [])}

    upper = {run.strategy for run in runs if run.record.reference == "upper"}

    def place(strategy: str) -> tuple[int, bool, str]:
        return ranks.get(strategy, len(ranks)), strategy in upper, strategy

    runs.sort(key=lambda run: (place(run.strategy), run.seed))
    unfinished.sort(key=lambda run: (place(run.strategy), run.seed))
    return Results(directory, tuple(runs), tuple(unfinished))


def order_folders(directory: Path) -> list[Path]:
    """The folders `order<k>` below `directory`, one per class order, by k."""
    numbered = ((ORDER_FOLDER.fullmatch(folder.name), folder) for folder in directory.glob("order*"))
    return [folder for _, folder in sorted((int(number[1]), folder) for number, folder in numbered if number)]


def joined(directory: Path, parts: Sequence[Results]) -> Results:
    """The runs of several class orders as one; each order is a stream of its own."""
    names = dict.fromkeys(name for part in parts for name in part.strategies)
    runs = tuple(run for name in names for part in parts for run in part.of(name))
    return Results(directory, runs, tuple(run for part in parts for run in part.unfinished))


def _unfinished_reason(files: RunFolder) -> str:
    try:
        lines = read_if_there(files.error).decode("utf-8", errors="replace").strip().splitlines()
    except RunError as error:
        return str(error)
    return lines[0] if lines else f"no {RunFolder.result}: still running or interrupted"


def _nothing_found(directory: Path, unfinished: Sequence[Unfinished]) -> str:
    lines = [f"no finished run in {directory}: expected <strategy>/seed<k>/{RunFolder.result} below it"]
    lines += [f"  {run.strategy}/seed{run.seed}: {run.reason}" for run in unfinished]
    below = sorted({str(path.parents[2]) for path in directory.glob(f"*/{SEED_FOLDERS}/{RunFolder.result}")})
    return "\n".join(lines + [f"  runs were found in {folder}: give this folder" for folder in below])


def _check_comparable(runs: Sequence[RunResult]) -> None:
    streams: dict[str, list[str]] = {}
    folders: dict[str, Path] = {}
    for run in runs:
        streams.setdefault(run.stream, []).append(str(run.folder))
        if run.name in folders:
            raise RunError(f"{run.folder} and {folders[run.name]} both hold {run.name}")
        folders[run.name] = run.folder
    if len(streams) > 1:
        lines = [f"  plan {stream}: {', '.join(names)}" for stream, names in streams.items()]
        raise RunError("\n".join(["these runs met different streams and cannot be compared:", *lines]))
