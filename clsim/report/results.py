"""Runs of several strategies on one stream, read back from their folders and summarised over seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clsim.errors import RunError
from clsim.experiment.run_folder import SEED_FOLDERS, RunFolder
from clsim.strict_json import parse_object, read_lines, read_object
from clsim.vocabulary import AT_THRESHOLD, AT_THRESHOLD_BY_BLOCK, BLOCKS, GROUPS, MEMORY_LABELS, SHOTS

FORMAT = 1
JOINT = "joint"
METRICS = (
    *("last_mAP", "avg_mAP", "forgetting", "backward_transfer"),  # percent, percent points
    *(f"{group}_last_mAP" for group in GROUPS),
    *(f"{group}_forgetting" for group in GROUPS),
    *("memory_rows", "memory_bytes", "train_seconds", "eval_seconds", "samples_per_second", "peak_memory_bytes"),
    *(f"memory_{name}" for name in MEMORY_LABELS),
    *(f"present_{block}" for block in BLOCKS),  # percent of the entries of old and new classes, after the last task
    *("last_accuracy", "avg_accuracy"),  # top-1, percent; only single-label data has them
    *(f"{shots}_last_accuracy" for shots in SHOTS),
)
AT_EACH_THRESHOLD = (*AT_THRESHOLD, *AT_THRESHOLD_BY_BLOCK)
"""After the last task at each probability threshold, percent; a metric is named `<name>@<threshold>`: CF1@0.8."""
ORDER_FOLDER = re.compile(r"order(\d+)")
NO_VALUE = "\u2013"
REQUIRED = ("scenario", "strategy", "seed", "plan_sha256", "class_names", "tasks", "last_mAP", "mAP", "R")


@dataclass(frozen=True)
class RunResult:
    """One finished run: the contents of its folder. Percentages are in 0..100, a null of the file is None."""

    folder: Path
    result: dict[str, Any]
    timing: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""

    @property
    def files(self) -> RunFolder:
        """Where its files are."""
        return RunFolder(self.folder)

    @property
    def strategy(self) -> str:
        return str(self.result["strategy"])

    @property
    def seed(self) -> int:
        return int(self.result["seed"])

    @property
    def name(self) -> str:
        return f"{self.strategy}/seed{self.seed}"

    @property
    def stream(self) -> str:
        """Hash of the plan that makes runs comparable: the run's own, or the one its plan derives from."""
        return str(self.result.get("derived_from") or self.result["plan_sha256"])

    @property
    def thresholds(self) -> dict[str, dict[str, Any]]:
        """What `result.json` records at each threshold, by the threshold as text; empty for runs that recorded none."""
        return self.result.get("thresholds") or {}

    @property
    def memory_labels(self) -> dict[str, Any]:
        """What `result.json` records about the labels of the memory; empty for runs that recorded nothing."""
        return (self.result.get("memory") or {}).get("labels") or {}

    @property
    def present(self) -> dict[str, list[float | None]]:
        """Course over the tasks of the truly present share of old and new classes, percent; empty if not recorded."""
        return self.result.get("present") or {}

    def row(self) -> dict[str, Any]:
        """The run as one row of `Results.frame`, thresholds that it did not record left out."""
        groups, memory = self.result.get("groups") or {}, self.result.get("memory") or {}
        measured = {name: self.result.get(name) for name in METRICS}
        for group in GROUPS:
            for metric in ("last_mAP", "forgetting"):
                measured[f"{group}_{metric}"] = (groups.get(metric) or {}).get(group)
        measured |= {"memory_rows": memory.get("rows"), "memory_bytes": memory.get("bytes")}
        measured |= {f"memory_{name}": _last(self.memory_labels.get(name)) for name in MEMORY_LABELS}
        measured |= {f"present_{block}": _last(self.present.get(block)) for block in BLOCKS}
        accuracy = self.result.get("accuracy") or {}
        measured |= {"last_accuracy": accuracy.get("last_all"), "avg_accuracy": accuracy.get("average")}
        measured |= {f"{shots}_last_accuracy": accuracy.get(f"last_{shots}") for shots in SHOTS}
        measured |= self._cost()
        for threshold, values_there in self.thresholds.items():
            measured |= {f"{name}@{threshold}": values_there.get(f"last_{name}") for name in AT_EACH_THRESHOLD}
        values = {name: math.nan if value is None else float(value) for name, value in measured.items()}
        plans = {"plan_sha256": self.result["plan_sha256"], "derived_from": self.result.get("derived_from")}
        order = self.result.get("order_seed")
        which = {"strategy": self.strategy, "seed": self.seed, "order_seed": math.nan if order is None else order}
        return which | values | plans

    def _cost(self) -> dict[str, float | None]:
        """Seconds over all tasks, samples trained in a second of training (replayed ones too), and peak memory."""
        tasks = {line["task"]: line for line in self.timing}.values()  # a task run again counts once
        trained = _total([line.get("train_seconds") for line in tasks])
        samples = _total([_product(line.get("train_seconds"), line.get("samples_per_second")) for line in tasks])
        peaks = [line["peak_memory_bytes"] for line in self.timing if line.get("peak_memory_bytes") is not None]
        return {
            "train_seconds": trained,
            "eval_seconds": _total([line.get("eval_seconds") for line in tasks]),
            "samples_per_second": samples / trained if samples is not None and trained else None,
            "peak_memory_bytes": max(peaks, default=None),
        }


@dataclass(frozen=True)
class Unfinished:
    """A run folder without a result, and why."""

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

    @property
    def strategies(self) -> list[str]:
        return list(dict.fromkeys(run.strategy for run in self.runs))

    @property
    def methods(self) -> list[str]:
        """Strategies that are compared as equals: no upper reference, no control, none that sees hidden labels."""
        apart = {run.strategy for run in self.runs if run.result.get("derived_from") or run.result.get("control")}
        return [name for name in self.strategies if name != JOINT and name not in apart]

    def of(self, strategy: str) -> list[RunResult]:
        return [run for run in self.runs if run.strategy == strategy]

    @property
    def reference(self) -> RunResult:
        """The run that describes the stream: the first one on the plan itself, not on one derived from it."""
        return next((run for run in self.runs if not run.result.get("derived_from")), self.runs[0])

    @property
    def thresholds(self) -> list[str]:
        """Every threshold that a run recorded, ascending, as text."""
        return sorted({threshold for run in self.runs for threshold in run.thresholds}, key=float)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics in `frame` and `summary`: METRICS, and AT_EACH_THRESHOLD at each threshold."""
        at = (f"{name}@{threshold}" for threshold in self.thresholds for name in AT_EACH_THRESHOLD)
        return [*METRICS, *at]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per finished run: strategy, seed, order_seed, every metric (NaN for null), plan_sha256, derived_from.

        order_seed is NaN unless the class order is drawn. mAP in percent, forgetting and backward transfer in percent
        points, memory in rows and bytes, time in seconds.
        """
        columns = ["strategy", "seed", "order_seed", *self.metrics, "plan_sha256", "derived_from"]
        return pd.DataFrame([run.row() for run in self.runs]).reindex(columns=columns)

    def summary(self) -> pd.DataFrame:
        """One row per strategy: `seeds` (their number), and per metric `<metric>_mean` and `<metric>_std`.

        The standard deviation is the sample's (n - 1), NaN for one seed.
        """
        rows = []
        for strategy, runs in self.frame.groupby("strategy", sort=False):
            row: dict[str, Any] = {"strategy": strategy, "seeds": len(runs)}
            for metric in self.metrics:
                # DECIDED: a metric that one seed lacks has no mean, otherwise it would be over fewer seeds than stated.
                row[f"{metric}_mean"] = runs[metric].mean(skipna=False)
                row[f"{metric}_std"] = runs[metric].std(skipna=False)
            rows.append(row)
        return pd.DataFrame(rows)


def load_results(directory: str | Path, order: Sequence[str] | None = None) -> Results:
    """Read every `<strategy>/seed<k>/` below `directory`; refuse runs whose streams differ.

    Strategies come in the given `order`; those it does not name follow by name, `joint` last.
    """
    directory = Path(directory)
    runs, unfinished = [], []
    for files in map(RunFolder, sorted(directory.glob(SEED_FOLDERS))):
        if files.seed is None or not files.path.is_dir():
            continue
        if files.result.exists():
            runs.append(read_run(files.path))
        else:
            unfinished.append(Unfinished(files.path, files.strategy, files.seed, _reason(files)))
    if not runs:
        raise RunError(_nothing_found(directory, unfinished))
    _check_comparable(runs)
    ranks = {name: rank for rank, name in enumerate(order or [])}

    def place(strategy: str) -> tuple[int, bool, str]:
        return ranks.get(strategy, len(ranks)), strategy == JOINT, strategy

    runs.sort(key=lambda run: (place(run.strategy), run.seed))
    unfinished.sort(key=lambda run: (place(run.strategy), run.seed))
    return Results(directory, tuple(runs), tuple(unfinished))


def order_folders(directory: Path) -> list[Path]:
    """The folders `order<k>` below `directory`, one a class order, by k."""
    numbered = ((ORDER_FOLDER.fullmatch(folder.name), folder) for folder in directory.glob("order*"))
    return [folder for _, folder in sorted((int(number[1]), folder) for number, folder in numbered if number)]


def joined(directory: Path, parts: Sequence[Results]) -> Results:
    """The runs of several class orders as one; each order is a stream of its own."""
    names = dict.fromkeys(name for part in parts for name in part.strategies)
    runs = tuple(run for name in names for part in parts for run in part.of(name))
    return Results(directory, runs, tuple(run for part in parts for run in part.unfinished))


def read_run(folder: Path) -> RunResult:
    """One finished run; RunError names the file that is damaged or of another format."""
    files = RunFolder(folder)
    path = files.result
    result = read_object(path)
    if result.get("format") != FORMAT:
        raise RunError(f"{path}: format is {result.get('format')!r}, this version of clsim reads {FORMAT}")
    missing = [key for key in REQUIRED if key not in result]
    if missing:
        raise RunError(f"{path}: keys missing: {', '.join(missing)}")
    if not len(result["mAP"]) == len(result["R"]) == len(result["tasks"]):
        raise RunError(f"{path}: mAP, R and tasks differ in length")
    ap = result.get("AP")
    if ap is not None and [len(row) for row in ap] != [len(result["class_names"])] * len(result["tasks"]):
        raise RunError(f"{path}: AP is not one row a task with one value a class")
    _check_blocks(path, result)
    timing = read_lines(files.timing)
    environment = parse_object(_read(files.environment) or b"{}", str(files.environment))
    path = files.config
    config_text = _read(path).decode("utf-8", errors="replace")
    try:
        config = YAML(typ="safe", pure=True).load(config_text) or {}
    except YAMLError as error:
        raise RunError(f"{path}: not readable as YAML: {error}") from error
    return RunResult(folder, result, timing, environment, config, config_text)


def _check_blocks(path: Path, result: dict[str, Any]) -> None:
    """RunError unless the label block matrix, where there is one, has a row and a column a task and four states."""
    blocks = ((result.get("memory") or {}).get("labels") or {}).get("blocks")
    tasks = len(result["tasks"])
    if blocks is not None and [[len(block) for block in row] for row in blocks] != [[4] * tasks] * tasks:
        raise RunError(f"{path}: memory.labels.blocks is not one row and one column a task with four counts each")


def _last(course: Sequence[float | None] | None) -> float | None:
    """The value after the last task; None where there is no course."""
    return course[-1] if course else None


def _total(values: Sequence[float | None]) -> float | None:
    """The sum; None where there is no value, or one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _reason(files: RunFolder) -> str:
    lines = _read(files.error).decode("utf-8", errors="replace").strip().splitlines()
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
