"""One run, from its folder to its result. Imports torch and Avalanche."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from numpy.typing import NDArray

from clsim.allocator import keep_freed_memory
from clsim.data.image_files import few_images, skipped_images
from clsim.data.source import FeatureSource
from clsim.errors import ClsimError, storage_errors
from clsim.evaluation.event_file import EVENT_FILE
from clsim.evaluation.history import History
from clsim.evaluation.loggers import MemoryFile, MetricsFile, TimingFile, finite_or_null
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.evaluation.plugins import EpochLosses, MemorySize, StreamScores, TaskReport
from clsim.evaluation.sample_pictures import SamplePictures
from clsim.evaluation.tensorboard import TensorBoardCurves
from clsim.files import GrowingFile, remove_parts, write_atomically, write_json
from clsim.running.checkpoint_files import FOLDER as CHECKPOINTS
from clsim.running.checkpoint_files import keep_newest, newest_checkpoint
from clsim.running.checkpointer import Checkpointer, check_identity
from clsim.running.dotted_keys import hyperparameters
from clsim.running.environment import environment, record_environment
from clsim.running.features import benchmark_and_model
from clsim.running.folder import RunSpec, identity_of, is_finished, open_run, resolve_device
from clsim.running.interruption import interruptible
from clsim.running.lock import locked
from clsim.running.run_identity import record_identity
from clsim.running.run_log import run_log
from clsim.running.shared_first_task import SharedFirstTask
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.plan.planning import oracle_memory_plan
from clsim.training.class_counts import CountedLoss
from clsim.training.composition import Composition
from clsim.training.replay import Replay
from clsim.training.strategy import Context
from clsim.training.template import MultiLabelTemplate

RESULT_FORMAT = 1
log = logging.getLogger("clsim")

Listener = Callable[[dict[str, Any]], None]


def execute(folder: Path, listener: Listener | None = None, first_task: Path | None = None) -> dict[str, Any]:
    """Carry out the run that a prepared folder defines, or the rest of it, and write its result.

    It goes on from the newest whole checkpoint in the folder; without one it begins anew. A run that has a result is
    not run again.

    Args:
        folder: made by `clsim.running.folder.prepare`.
        listener: called with each line of `metrics.jsonl`, also with those written before an interruption.
        first_task: folder where the trained first task is shared with runs that train it alike; None: with none.

    Returns:
        The content of `result.json`.

    Raises:
        ClsimError: what the user can mend; also in `error.txt`.
        KeyboardInterrupt: the run was asked to stop, and is saved.
    """
    scenario, spec = open_run(folder)
    with storage_errors(folder), locked(folder):
        if is_finished(folder):
            return dict(json.loads((folder / "result.json").read_bytes()))
        for place in (folder, folder / CHECKPOINTS):
            remove_parts(place)
        (folder / "error.txt").unlink(missing_ok=True)
        with run_log(folder / "run.log"):
            try:
                return _run(folder, scenario, spec, listener, first_task)
            except BaseException as error:
                with suppress(OSError):  # the disk may be what is wrong
                    log.exception("stopped")
                    write_atomically(folder / "error.txt", _reason(error) + "\n")
                raise


def _run(
    folder: Path, scenario: Scenario, spec: RunSpec, listener: Listener | None, first_task: Path | None
) -> dict[str, Any]:
    threads = scenario.config.threads
    assert isinstance(threads, int)
    torch.set_num_threads(threads)
    device = resolve_device(spec.device)
    composition = Composition(spec.strategy, spec.options)
    plan = training_plan(scenario, composition)
    write_atomically(folder / "plan.json.gz", plan.to_bytes())
    log.info(
        "%s, %s, seed %d, plan %s, %d threads, %s", scenario.name, spec.name, spec.seed, plan.sha256, threads, device
    )

    skipped = skipped_images(scenario.source)
    for split, files in skipped.items():
        for file in files:
            log.warning("image of %s left out, because it cannot be decoded: %s", split, file)
        log.info("images of %s left out: %d", split, len(files))

    identity = identity_of(scenario, spec, threads)
    saved = identity | {"training_plan_sha256": plan.sha256}  # which `joint` and an oracle memory make of the truth
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        check_identity(checkpoint, saved)
    record_identity(folder, identity, goes_on=checkpoint is not None)
    begun = record_environment(folder / "environment.json", environment(device, threads))
    growing = [GrowingFile(folder / name) for name in ("metrics.jsonl", EVENT_FILE, "timing.jsonl")]
    for grown in growing:
        grown.cut(checkpoint.header["files"][grown.path.name] if checkpoint is not None else 0)

    evaluation = scenario.config.evaluation
    history = History(plan, evaluation.empty_classes, evaluation.thresholds)
    settings = hyperparameters(scenario.config.model_dump(mode="json"), spec.name, spec.seed, composition.options())
    curves = TensorBoardCurves(folder, history, settings)
    pictures = 0 if isinstance(scenario.source, FeatureSource) else evaluation.samples
    pixels = partial(few_images, scenario.source, size=scenario.config.training.model.image_size)
    timing = TimingFile(folder / "timing.jsonl")
    template = build_template(
        scenario,
        composition,
        plan,
        seed=spec.seed,
        device=device,
        history=history,
        loggers=[
            MetricsFile(folder / "metrics.jsonl", listener),
            MemoryFile(folder / "memory.csv", plan.class_names),
            curves,
            SamplePictures(curves.events, history, pixels, pictures),
            timing,
        ],
        row_truth=scenario.truth()[plan.row_samples],
    )
    if first_task is not None:
        template.first_task = SharedFirstTask(first_task, folder / "metrics.jsonl", timing)
    if checkpoint is not None:
        template.load_state_dict(checkpoint.state())
        log.info("goes on from %s: %s", checkpoint.path, checkpoint.header["position"])
    elif begun:
        template.stateful()  # a run that cannot be resumed is not silently begun again
    with interruptible() as interruption:
        template.at_cut = Checkpointer(folder, saved, growing, scenario.config.checkpoint, interruption)
        template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    result = finite_or_null(
        {
            "format": RESULT_FORMAT,
            "scenario": scenario.name,
            "strategy": spec.name,
            "options": composition.options(),
            "seed": spec.seed,
            "order_seed": scenario.config.stream.order_seed if scenario.config.stream.order == "seed" else None,
            "plan_sha256": plan.sha256,
            "derived_from": plan.derived_from,
            "data_fingerprint": identity["data_fingerprint"],
            "skipped_images": {split: len(files) for split, files in skipped.items()},
            "threads": threads,
            "device": device,
            "class_names": plan.class_names,
            "tasks": [
                {"index": t, "classes": plan.names(task), "columns": task.classes, "train_images": len(task)}
                for t, task in enumerate(plan.tasks)
            ],
            **history.summary(),
            "control": composition.control or None,
            "loss_of": composition.loss_of(),
            "memory": _memory(template),
        }
    )
    write_json(folder / "result.json", result)
    keep_newest(folder, 1)
    log.info("finished: last mAP %s", result["last_mAP"])
    return dict(result)


def _reason(error: BaseException) -> str:
    """What `error.txt` says."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    return f"{type(error).__name__}: {error}"


def training_plan(scenario: Scenario, composition: Composition) -> StreamPlan:
    """The plan a run trains on: the scenario's own, or one derived from it by `joint` or `memory.labels: oracle`."""
    plan = composition.derive_plan(scenario.plan(), scenario.truth, scenario.soft_truth)
    if scenario.config.memory.labels == "oracle":
        plan = oracle_memory_plan(plan, scenario.truth())
    return plan


def build_template(
    scenario: Scenario,
    composition: Composition,
    plan: StreamPlan,
    *,
    seed: int,
    device: str,
    history: History,
    loggers: list[BaseLogger],
    row_truth: NDArray[np.int8] | None = None,
) -> MultiLabelTemplate:
    """The training template of a run with its benchmark, model, plugins and evaluator.

    Args:
        row_truth: int8 [R, C], true labels of the training rows, for the evaluator of a memory's labels; None: no such
            evaluator.
    """
    config = scenario.config
    composition.check(config, plan.n_classes)
    composition.check_targets(plan, config.training.loss)
    benchmark, new_model = benchmark_and_model(scenario, plan, seed, device)
    tasks = tuple(task.classes for task in plan.tasks)
    samples = plan.row_samples if composition.control else None
    plugins = composition.plugins(Context(config, seed, tasks, benchmark.train_rows, new_model, samples))
    criterion = composition.criterion(config.training.loss)
    if isinstance(criterion, CountedLoss):
        plugins.append(criterion)
    metrics: list[Any] = [EpochLosses(), StreamScores(history)]
    for replay in (plugin for plugin in plugins if isinstance(plugin, Replay)):
        metrics.append(MemorySize(replay))
        if row_truth is not None:
            metrics.append(MemoryLabels(replay, row_truth, tasks))
    metrics += [TaskReport(plugin, plan.class_names) for plugin in plugins if hasattr(plugin, "report")]
    return MultiLabelTemplate(
        benchmark=benchmark,
        model=new_model(),
        config=config.training,
        criterion=criterion,
        plugins=plugins,
        evaluator=EvaluationPlugin(metrics, loggers=loggers),
        seed=seed,
        device=device,
        restarts=new_model if composition.restarts else None,
        score_epochs=config.evaluation.every == "epoch",
    )


def _memory(template: MultiLabelTemplate) -> dict[str, Any] | None:
    found = MemoryLabels.of(template)
    if found is None:
        return None
    return {"rows": len(found.replay.memory), "bytes": found.replay.nbytes, "labels": found.summary()}


def main(arguments: Sequence[str]) -> int:
    """Carry out a run in a process of its own: its folder, and where it shares the first task, if it does.

    Returns:
        The process's exit code.
    """
    folder, *first_task = map(Path, arguments)
    keep_freed_memory()
    try:
        execute(folder, first_task=first_task[0] if first_task else None)
    except ClsimError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(stop or "interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
