"""`clsim.load_model`: from the folder of a finished run, or an exported file, to a model that scores images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from clsim.data.content import content_sha256
from clsim.errors import RunError
from clsim.inference.description import Description, read_safetensors
from clsim.inference.model import ChooseThresholds, Model
from clsim.inference.preprocess import Preprocess
from clsim.inference.run_thresholds import run_thresholds
from clsim.inference.thresholds import Thresholds
from clsim.running.hardware import resolve_device
from clsim.running.record import RunRecord, read_record
from clsim.running.run_folder import RunFolder
from clsim.running.trained_model import TrainedModel, build_trained_model, read_content
from clsim.scenario.document import read_document
from clsim.scenario.training_schema import SOFTMAX_LOSSES, ModelSection
from clsim.strict_json import read_object


def load_model(source: str | Path, *, task: int | None = None, device: str = "auto") -> Model:
    """Load the trained model of a finished run.

    Args:
        source: the run's folder, `<out>/<scenario>/<strategy>/seed<k>`; or a file that `clsim export --format
            safetensors` has written.
        task: the model after this task, counted from 0, which a run with `checkpoint.keep: all` has; None: after the
            last one.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ClsimError: no finished run, no such task or model, or a network that cannot be built again: its backbone's
            weights or its strategy are not there any more.
    """
    path, device = Path(source), resolve_device(device)
    if path.is_file():
        if task is not None:
            raise RunError(f"{path}: task: given {task}, but an exported file holds one model")
        return _of_file(path, device)
    return _of_run(path, task, device)


def _of_run(folder: Path, task: int | None, device: str) -> Model:
    files = RunFolder(folder)
    if not files.finished:
        what = "a run that is not finished" if files.run.is_file() else "no folder of a finished run"
        raise RunError(f"{folder}: {what}, so there is no model to load")
    record = read_record(files.result)
    last = len(record.tasks) - 1
    learnt = last if task is None else task
    path = _file(files, last, task)
    content = read_content(path)
    trained = build_trained_model(path, content)
    config = read_document(files.config).data  # not validated, because its data set may not be here
    batch_size = 4 * config["training"]["batch_size"]
    softmax = record.loss_of is None and config["training"]["loss"]["name"] in SOFTMAX_LOSSES
    description = Description(
        classes=trained.class_names,
        preprocess=_preprocess(trained.section, config) if content["feature_width"] is None else None,
        activation="softmax" if softmax else "sigmoid",
        batch_size=batch_size,
        provenance=_provenance(files, path, record, trained.section, learnt),
        architecture=_architecture(content),
    )
    names = trained.class_names
    choose = partial(run_thresholds, folder, path, record, learnt + 1, names, batch_size)
    return _model(trained, description, device, choose)


def _of_file(path: Path, device: str) -> Model:
    description, state = read_safetensors(path)
    content = {**description.architecture, "class_names": description.classes, "state": state}

    def stored(_: Any) -> Thresholds:
        if description.thresholds is None:
            raise RunError(f"{path}: exported without thresholds")
        return description.thresholds

    return _model(build_trained_model(path, content), description, device, stored)


def _model(trained: TrainedModel, description: Description, device: str, choose: ChooseThresholds) -> Model:
    return Model(trained.network.to(device), description, trained.section, trained.precision, choose)


def _file(files: RunFolder, last: int, task: int | None) -> Path:
    """Return the file of the model after a task."""
    if task is None or task == last:
        return files.trained_model
    if type(task) is not int or not 0 <= task < last:
        raise RunError(f"{files.path}: task: given {task!r}, allowed: 0 to {last}")
    if not (path := files.task_model(task)).is_file():
        raise RunError(
            f"{files.path}: task: given {task}, but the run has not kept that model; checkpoint.keep: all keeps the "
            "model of every task that is trained"
        )
    return path


def _preprocess(section: ModelSection, config: dict[str, Any]) -> Preprocess:
    dataset = config["dataset"]
    resize, window = dataset.get("resize", "squash"), dataset.get("window")
    return Preprocess.of(section.image_size, resize, section.mean, section.std, window)


def _architecture(content: dict[str, Any]) -> dict[str, Any]:
    """Return what the file of a trained model holds besides weights and class names; all weights count as there."""
    kept = {key: value for key, value in content.items() if key not in ("state", "rest", "class_names")}
    return kept | {"model": content["model"] | {"weights": "none"}, "backbone_sha256": None}


def _provenance(files: RunFolder, path: Path, record: RunRecord, section: ModelSection, task: int) -> dict[str, Any]:
    """Return what trained a model, on what; plain values, without the paths of this machine."""
    weights = section.model_dump(mode="json")["weights"]
    if isinstance(weights, dict) and "file" in weights:
        weights["file"] = Path(weights["file"]).name
    environment = read_object(files.environment) if files.environment.is_file() else {}
    return {
        "scenario": record.scenario,
        "strategy": record.strategy,
        "options": record.options,
        "seed": record.seed,
        "task": task,
        "tasks": len(record.tasks),
        "mAP": record.mAP[task],
        "plan_sha256": record.plan_sha256,
        "data_fingerprint": record.data_fingerprint,
        "initial_weights": weights,
        "model_sha256": content_sha256(path),
        "environment": environment,
    }
