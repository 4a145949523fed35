"""Runs of several strategies on one stream, read back from their folders and summarised over seeds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clsim.errors import RunError

FORMAT = 1
JOINT = "joint"
GROUPS = ("head", "medium", "tail")
MEMORY_LABELS = (
    *("coverage", "precision", "FPR", "FNR", "KL"),  # percent of the relabelled entries; KL in nats
    *("ones_above", "hidden_above", "ones_below", "hidden_below"),  # numbers of entries
)
"""What a memory says after the last task, named `memory_<name>`; see clsim.evaluation.memory_labels."""
BLOCKS = ("old", "new")
SHOTS = ("many", "medium", "few")
METRICS = (
    *("last_mAP", "avg_mAP", "forgetting", "backward_transfer"),  # percent, percent points
    *(f"{group}_last_mAP" for group in GROUPS),
    *(f"{group}_forgetting" for group in GROUPS),
    *("memory_rows", "memory_bytes", "train_seconds", "peak_memory_bytes"),
    *(f"memory_{name}" for name in MEMORY_LABELS),
    *(f"present_{block}" for block in BLOCKS),  # percent of the entries of old and new classes, after the last task
    *("last_accuracy", "avg_accuracy"),  # top-1, percent; only single-label data has them
    *(f"{shots}_last_accuracy" for shots in SHOTS),
)
AT_THRESHOLD = ("CF1", "CF1_harmonic", "OF1", "FPR", "FNR")
OF_BLOCK = tuple(f"{name}_{block}" for name in ("predicted", "FPR") for block in BLOCKS)
"""After the last task at each probability threshold, percent; a metric is named `<name>@<threshold>`: CF1@0.8.

Those of OF_BLOCK hold for the classes of earlier tasks (old) and of the last one (new) apart.
"""
NO_VALUE = "\u2013"
HEADINGS: tuple[str, ...] = (  # a no-break space keeps each arrow with its word
    *("Strategy", "Seeds", "Last mAP\u00a0↑", "Avg mAP\u00a0↑", "Forgetting\u00a0↓", "Backward transfer\u00a0↑"),
    *("Head mAP\u00a0↑", "Medium mAP\u00a0↑", "Tail mAP\u00a0↑", "Memory rows", "Memory MB", "Train time"),
)
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
        train_seconds = {line["task"]: line["train_seconds"] for line in self.timing}  # a task run again counts once
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
        peaks = [line["peak_memory_bytes"] for line in self.timing if line.get("peak_memory_bytes") is not None]
        measured["train_seconds"] = sum(train_seconds.values()) if train_seconds else None
        measured["peak_memory_bytes"] = max(peaks, default=None)
        for threshold, values_there in self.thresholds.items():
            measured |= {f"{name}@{threshold}": values_there.get(f"last_{name}") for name in (*AT_THRESHOLD, *OF_BLOCK)}
        values = {name: math.nan if value is None else float(value) for name, value in measured.items()}
        plans = {"plan_sha256": self.result["plan_sha256"], "derived_from": self.result.get("derived_from")}
        order = self.result.get("order_seed")
        which = {"strategy": self.strategy, "seed": self.seed, "order_seed": math.nan if order is None else order}
        return which | values | plans


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
        """Names of the metrics in `frame` and `summary`: METRICS, and AT_THRESHOLD and OF_BLOCK at each threshold."""
        names = (*AT_THRESHOLD, *OF_BLOCK)
        return [*METRICS, *(f"{name}@{threshold}" for threshold in self.thresholds for name in names)]

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
    for folder in sorted(directory.glob("*/seed*")):
        number = re.fullmatch(r"seed(\d+)", folder.name)
        if not number or not folder.is_dir():
            continue
        if (folder / "result.json").exists():
            runs.append(read_run(folder))
        else:
            unfinished.append(Unfinished(folder, folder.parent.name, int(number[1]), _reason(folder)))
    if not runs:
        raise RunError(_nothing_found(directory, unfinished))
    _check_comparable(runs)
    ranks = {name: rank for rank, name in enumerate(order or [])}

    def place(strategy: str) -> tuple[int, bool, str]:
        return ranks.get(strategy, len(ranks)), strategy == JOINT, strategy

    runs.sort(key=lambda run: (place(run.strategy), run.seed))
    unfinished.sort(key=lambda run: (place(run.strategy), run.seed))
    return Results(directory, tuple(runs), tuple(unfinished))


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """The final table as text, heading first: one row per strategy, `mean ± std` where there are several seeds."""
    summary = results.summary()
    longest = summary["train_seconds_mean"].max()
    length, unit = (3600, " h") if longest >= 36000 else (60, " min") if longest >= 600 else (1, " s")
    rows = [HEADINGS]
    for row in summary.to_dict("records"):
        percent = [number(row, metric) for metric in METRICS[:7]]
        memory = [number(row, "memory_rows", decimals=0), number(row, "memory_bytes", decimals=2, scale=1e-6)]
        memory = [text.removesuffix(" ± 0").removesuffix(" ± 0.00") for text in memory]  # a fixed budget
        time = number(row, "train_seconds", scale=1 / length, unit=unit)
        rows.append((row["strategy"], str(row["seeds"]), *percent, *memory, time))
    return rows


def markdown_table(results: Results) -> str:
    """`table_rows` as a Markdown table, numbers aligned to the right."""
    escaped = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row] for row in table_rows(results)]
    escaped.insert(1, ["---"] + ["---:"] * (len(escaped[0]) - 1))
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def number(row: Mapping[str, Any], metric: str, decimals: int = 1, scale: float = 1.0, unit: str = "") -> str:
    """Text `mean ± std` of one metric in a row of `Results.summary`; no std for one seed, a dash where undefined."""
    mean, std = (_fixed(row[f"{metric}_{kind}"] * scale, decimals) for kind in ("mean", "std"))
    return mean if mean == NO_VALUE else mean + (f" ± {std}" if std != NO_VALUE else "") + unit


def _fixed(value: float, decimals: int) -> str:
    return NO_VALUE if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no "-0.0"


def read_run(folder: Path) -> RunResult:
    """One finished run; RunError names the file that is damaged or of another format."""
    path = folder / "result.json"
    result = _parse_json(path.read_bytes(), str(path))
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
    path = folder / "timing.jsonl"
    timing = [_parse_json(line, f"{path}, line {i}") for i, line in enumerate(_read(path).splitlines(), start=1)]
    path = folder / "environment.json"
    environment = _parse_json(_read(path) or b"{}", str(path))
    path = folder / "config.yaml"
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


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _parse_json(text: bytes, where: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON, undefined values are null")

    try:
        value = json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise RunError(f"{where}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def _reason(folder: Path) -> str:
    lines = _read(folder / "error.txt").decode("utf-8", errors="replace").strip().splitlines()
    return lines[0] if lines else "no result.json: still running or interrupted"


def _nothing_found(directory: Path, unfinished: Sequence[Unfinished]) -> str:
    lines = [f"no finished run in {directory}: expected <strategy>/seed<k>/result.json below it"]
    lines += [f"  {run.strategy}/seed{run.seed}: {run.reason}" for run in unfinished]
    below = sorted({str(path.parents[2]) for path in directory.glob("*/*/seed*/result.json")})
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
