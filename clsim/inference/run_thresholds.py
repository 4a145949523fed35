"""The thresholds of a run's model: chosen on its own data when they are first asked for, and kept beside the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clsim.data.content import content_sha256
from clsim.data.source import FeatureSource
from clsim.errors import RunError
from clsim.files import write_json
from clsim.inference.thresholds import ChosenOn, Thresholds, choose
from clsim.opening import read_regular
from clsim.running.prepared_run import open_run
from clsim.running.record import RunRecord
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import read_identity
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.stream.rows import RowStore
from clsim.strict_json import read_object

log = logging.getLogger("clsim")

Score = Callable[[Iterable[Tensor]], NDArray[np.float64]]
"""Batches of a network's input -> probabilities [N, S]."""


def run_thresholds(
    folder: Path, path: Path, record: RunRecord, tasks: int, names: tuple[str, ...], batch_size: int, score: Score
) -> Thresholds:
    """Return the thresholds of a model of a run, from the file beside it, or chosen now and written there.

    They are chosen on the validation images if the scenario holds some out (`dataset.validation`), else on the labels
    that its training rows show up to the model's task, each image once. Test images are not read. DECIDED: on request
    and not at the end of a run, because they cost one pass over these images, which most runs of a comparison never
    need, and because nothing that a learner can reach has them then.

    Args:
        folder: of the run.
        path: of the model's file.
        record: the run's result.
        tasks: number of tasks that the model was trained on.
        names: of the model's S classes.
        batch_size: images scored at a time.
        score: the model.

    Raises:
        ClsimError: the data set is not there, or has changed since.
    """
    file = RunFolder.thresholds_of(path)
    model_sha256 = content_sha256(path)
    if file.is_file() and (known := read_object(file)).get("model_sha256") == model_sha256:
        return _read(file, known)
    scenario, _ = open_run(folder)
    _refuse_changed(folder, scenario, record)
    samples, labels, chosen_on = _validation(scenario) or _visible(folder, tasks)
    if scenario.plan().class_names[: len(names)] != names:
        raise RunError(f"{folder}: thresholds: the data set has other classes than when the run was trained")
    probabilities = score(_batches(scenario, samples, batch_size))
    chosen = choose(probabilities, labels[:, : len(names)], names, chosen_on)
    try:
        write_json(file, {"model_sha256": model_sha256, **chosen.content()})
    except OSError as error:
        log.warning("thresholds are not kept: %s: %s", file, error.strerror)
    return chosen


def _read(file: Path, content: dict[str, Any]) -> Thresholds:
    try:
        return Thresholds(**{key: value for key, value in content.items() if key != "model_sha256"})
    except TypeError as error:
        raise RunError(f"{file}: not thresholds of a model: {error}; remove the file") from None


def _refuse_changed(folder: Path, scenario: Scenario, record: RunRecord) -> None:
    """Raise RunError unless the data are those of the run."""
    changed = scenario.plan().sha256 != (record.derived_from or record.plan_sha256)
    if record.data_fingerprint is not None:
        changed = changed or scenario.fingerprint != record.data_fingerprint
    with suppress(RunError):  # of an older version, which has none
        changed = changed or read_identity(folder).get("labels_sha256") not in (None, scenario.labels_sha256)
    if changed:
        raise RunError(f"{folder}: thresholds: the data set has changed since the run was trained")


def _validation(scenario: Scenario) -> tuple[NDArray[np.int64], NDArray[np.int8], ChosenOn] | None:
    """Return the validation images and their true labels; None: the scenario has none."""
    config = scenario.config
    if not config.dataset.validation:
        return None
    evaluation = config.evaluation.model_copy(update={"on": "validation"})
    plan = Scenario(config.model_copy(update={"evaluation": evaluation}), scenario.source).plan()
    return plan.test_samples, plan.test_truth, "validation images"


def _visible(folder: Path, tasks: int) -> tuple[NDArray[np.int64], NDArray[np.int8], ChosenOn]:
    """Return the images of the tasks up to a number and what is visible of each; a later task's label counts."""
    file = RunFolder(folder).plan
    try:
        plan = StreamPlan.from_bytes(read_regular(file))
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {error}") from None
    samples = np.unique(np.concatenate([task.samples for task in plan.tasks[:tasks]]))
    labels = np.full((len(samples), plan.n_classes), -1, dtype=np.int8)
    for task in plan.tasks[:tasks]:
        cells = np.ix_(np.searchsorted(samples, task.samples), task.columns)
        labels[cells] = np.where(task.values >= 0, task.values, labels[cells])
    return samples, labels, "visible training labels"


def _batches(scenario: Scenario, samples: NDArray[np.int64], batch_size: int) -> Iterable[Tensor]:
    """Yield the network's input of training images."""
    look, source = scenario.config.training.model, scenario.source
    with scenario.located():
        data: Any
        if isinstance(source, FeatureSource):
            data = source.features("train")
        else:
            data = source.images("train", look.image_size)
    store = RowStore(data, samples, np.empty((len(samples), 0), np.int8), 0, mean=look.mean, std=look.std)
    rows = np.arange(len(samples))
    for start in range(0, len(rows), batch_size):
        x = store.images(rows[start : start + batch_size])
        store.prefetch(rows[start + batch_size : start + 2 * batch_size])
        yield x
