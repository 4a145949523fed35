"""`clsim.evaluate`: every metric of finished runs again, from the scores that they kept; no network, no training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clsim.data.image_files import few_images
from clsim.data.source import FeatureSource
from clsim.errors import RunError, ScenarioError, storage_errors
from clsim.evaluation.history import History
from clsim.evaluation.kept_scores import read_scores
from clsim.evaluation.own_metrics import check_names
from clsim.files import write_atomically
from clsim.launch.arguments import as_path, as_seed
from clsim.opening import read_regular
from clsim.running.evaluation_record import EvaluationRecord, read_evaluation
from clsim.running.observers import image_ids, own_metrics
from clsim.running.prepared_run import open_run
from clsim.running.record import RunRecord, read_record
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.running.run_spec import safe_name
from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.document import read_document
from clsim.scenario.schema import ScenarioConfig
from clsim.strict_json import finite_or_null

UNUSED = {
    "name": "evaluation",
    "dataset": {"name": "digits"},
    "stream": {"increment": 1},
    "training": {"epochs": 1, "optimizer": {"lr": 1.0}},
}
"""Sections that a scenario must have; here only `evaluation` counts, so that data and strategy need not be there."""

MOST_ERRORS = 48
"""Pictures of each kind on a sheet."""


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one run, computed from its kept scores.

    Attributes:
        folder: folder of the run.
        run: numbers that the run itself recorded.
        record: numbers that were computed now, as in `evaluation.json`.
    """

    folder: Path
    run: RunRecord
    record: EvaluationRecord

    @property
    def name(self) -> str:
        """Strategy and seed, such as er/seed0."""
        return f"{self.run.strategy}/seed{self.run.seed}"

    @property
    def tasks(self) -> list[int]:
        """The tasks whose scores the run kept; numbers that need others are None."""
        return self.record.tasks

    @property
    def values(self) -> dict[int, dict[str, Any]]:
        """Task -> tag -> value or None, as in `metrics.jsonl`."""
        return self.record.values

    @property
    def summary(self) -> dict[str, Any]:
        """The final numbers under the names of `result.json`."""
        return self.record.summary


def evaluate(
    runs: str | Path | Iterable[str | Path],
    *,
    thresholds: Iterable[float] | None = None,
    metrics: Iterable[str | Mapping[str, Any]] | None = None,
    empty_classes: str | None = None,
    errors: int = 0,
    write: bool = True,
) -> list[Evaluation]:
    """Compute every metric of finished runs from the scores that they kept (`evaluation.keep_scores`).

    Without changes the numbers are those of the run, to the last bit. They are written as `evaluation.json` into each
    run folder; no file that the run itself wrote changes. A report shows from it what the run did not record: metrics
    of the user's, and further thresholds. Of an earlier `evaluation.json` these stay beside the new ones.

    Args:
        runs: run folders; of any other folder all finished runs below it.
        thresholds: in the place of `evaluation.thresholds`; each within 0..1, both excluded.
        metrics: in the place of `evaluation.metrics`, each "file.py:function" or {"name": ..., "options": {...}}.
        empty_classes: in the place of `evaluation.empty_classes`: "skip" or "zero".
        errors: pictures of this many false positives that score highest, and of as many positives that score lowest,
            for each class after the last kept task; they need the images. 0: none; at most 48.
        write: whether to write `evaluation.json`.

    Raises:
        ClsimError: no finished run, no kept scores, a wrong option, a metric that fails; then nothing is written.
            Images that are not there: the numbers are written.
    """
    if not 0 <= (errors := as_seed(errors, "errors")) <= MOST_ERRORS:
        raise RunError(f"errors: given {errors}, must be within 0..{MOST_ERRORS}")
    asked = {"thresholds": thresholds, "metrics": metrics, "empty_classes": empty_classes}
    changes = {f"evaluation.{key}": _plain(value) for key, value in asked.items() if value is not None}
    found = [_evaluate(folder, changes) for folder in run_folders(runs)]
    for evaluation in found if write else ():
        with storage_errors(evaluation.folder):
            files = RunFolder(evaluation.folder)
            evaluation.record.beside(read_evaluation(files)).write(files)
    for evaluation in found if errors > 0 else ():
        with storage_errors(evaluation.folder):
            _write_error_sheets(evaluation.folder, errors)
    return found


def _plain(value: object) -> object:
    """Return an iterable as a list, and anything else as it is, for the schema to check."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else value


def run_folders(runs: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return run folders, each once: those that are given, and all finished ones below the others that are.

    Raises:
        RunError: a folder is no finished run, and there is none below it.
    """
    given = [as_path(place, "runs") for place in ([runs] if isinstance(runs, str | Path) else runs)]
    found: list[Path] = []
    for place in given:
        if RunFolder(place).run.is_file():
            if not RunFolder(place).finished:
                raise RunError(f"{place}: the run is not finished (no {RunFolder.result})")
            found.append(place)
            continue
        patterns = [f"{orders}{SEED_FOLDERS}/{RunFolder.result}" for orders in ("", "order*/")]
        below = sorted(path.parent for pattern in patterns for path in place.glob(pattern))
        if not below:
            raise RunError(f"{place}: no run folder, and no finished run below it (<strategy>/seed<k>)")
        found += below
    if not found:
        raise RunError("runs: given none, expected run folders such as runs/digits-b0c2/er/seed0")
    return list(dict.fromkeys(found))


def read_plan(files: RunFolder) -> StreamPlan:
    """Return the plan that a run was trained on, with the truth of its evaluation images.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return StreamPlan.from_bytes(read_regular(files.plan))
    except (OSError, ValueError) as error:
        raise RunError(f"{files.plan}: cannot be read: {error}") from None


def _evaluate(folder: Path, changes: Mapping[str, Any]) -> Evaluation:
    from clsim.report.run_result import TAKEN_NAMES

    files = RunFolder(folder)
    run = read_record(files.result)
    config = _config(files, changes)
    plan = read_plan(files)
    kept = read_scores(files.scores, files.about_scores, plan.sha256)
    if not kept:
        raise RunError(f"{folder}: keeps no scores; a run does with evaluation.keep_scores: last or all")
    metrics = own_metrics(config)
    check_names(metrics, TAKEN_NAMES)
    history = History(plan, config.evaluation.empty_classes, config.evaluation.thresholds, metrics)
    values = {}
    for task, scores in kept.items():
        try:
            history.add(np.asarray(scores), task)
        except ValueError as error:
            raise RunError(f"{files.scores}: damaged, at task {task}: {error}") from None
        values[task] = finite_or_null(history.values())
    summary = finite_or_null(history.summary())
    record = EvaluationRecord(plan.sha256, config.evaluation.empty_classes, list(kept), values, summary)
    return Evaluation(folder, run, record)


def _write_error_sheets(folder: Path, n: int) -> None:
    """Write one picture per class seen after the last kept task into `error_sheets`, each atomically."""
    from clsim.evaluation.error_sheets import error_sheet

    files = RunFolder(folder)
    scenario, _ = open_run(folder)
    if isinstance(scenario.source, FeatureSource):
        raise RunError(f"{folder}: its data are features, of which there are no pictures")
    plan = read_plan(files)
    *_, scores = read_scores(files.scores, files.about_scores, plan.sha256).values()
    ids = image_ids(scenario.source, plan.test_split)
    names = [ids[sample] for sample in plan.test_samples]
    pixels = partial(few_images, scenario.source, plan.test_split, size=scenario.config.training.model.image_size)
    files.error_sheets.mkdir(exist_ok=True)
    with scenario.located():
        for column in range(scores.shape[1]):
            picture = error_sheet(plan, scores, column, n, pixels, names)
            name = f"{column:03d}-{safe_name(plan.class_names[column])[:80]}.png"
            write_atomically(files.error_sheets / name, picture)


def _config(files: RunFolder, changes: Mapping[str, Any]) -> ScenarioConfig:
    """Return a configuration whose section `evaluation` is the run's with the changes."""
    try:
        section = read_document(files.config).data["evaluation"]
    except (ScenarioError, TypeError, KeyError) as error:
        raise RunError(f"{files.config}: cannot be read: {type(error).__name__}: {error}") from None
    return load_scenario(UNUSED | {"evaluation": section}, changes).config
