"""One run, from its folder to its result. Imports torch and Avalanche."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
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
from clsim.errors import ClsimError, RunError, storage_errors
from clsim.evaluation.history import History
from clsim.evaluation.loggers import CsvFile, MemoryFile, MetricsFile, TimingFile
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.evaluation.outside_loggers import LoggedRun, observed
from clsim.evaluation.plugins import EpochLosses, MemorySize, StreamScores, TaskReport
from clsim.evaluation.sample_pictures import SamplePictures
from clsim.evaluation.tensorboard import TensorBoardCurves
from clsim.files import GrowingFile, remove_parts, write_atomically, write_json
from clsim.plugin_files import blamed
from clsim.preparation import training_begins
from clsim.running.checkpoint_files import FOLDER as CHECKPOINTS
from clsim.running.checkpoint_files import keep_newest, newest_checkpoint
from clsim.running.checkpointer import Checkpointer, check_identity, place, resume_command
from clsim.running.dotted_keys import hyperparameters
from clsim.running.environment import environment, record_environment
from clsim.running.features import benchmark_and_model
from clsim.running.folder import NOT_RESUMABLE, RunSpec, identity_of, is_finished, obstacle, open_run, resolve_device
from clsim.running.interruption import INTERRUPTED, ended_by_signals, interruptible
from clsim.running.lock import locked
from clsim.running.observers import has_logger, outside_loggers, own_metrics
from clsim.running.preparation_file import preparation_file
from clsim.running.record import LabelsRecord, MemoryRecord, RunRecord, TaskRecord, measured
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import record_identity
from clsim.running.run_log import run_log
from clsim.running.shared_first_task import SharedFirstTask
from clsim.running.trained_model import write_trained_model
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.plan.planning import oracle_memory_plan
from clsim.standard_streams import make_lossy
from clsim.training.class_counts import CountedLoss
from clsim.training.composition import Composition
from clsim.training.replay import Replay
from clsim.training.strategy import Context
from clsim.training.template import MultiLabelTemplate

log = logging.getLogger("clsim")

Listener = Callable[[dict[str, Any]], None]


def execute(
    folder: Path,
    listener: Listener | None = None,
    first_task: Path | None = None,
    say: Callable[[str], None] | None = None,
    parent: int | None = None,
) -> dict[str, Any]:
    """Carry out the run that a prepared folder defines, or the rest of it, and write its result.

    It goes on from the newest whole checkpoint in the folder; without one it begins anew. A run that has a result is
    not run again.

    Args:
        folder: made by `clsim.running.folder.prepare`.
        listener: called with each line of `metrics.jsonl`, also with those written before an interruption.
        first_task: folder where the trained first task is shared with runs that train it alike; None: with none.
        say: called with what a user should know when the run starts.
        parent: as in `Interruption`.

    Returns:
        The content of `result.json`.

    Raises:
        ClsimError: what the user can mend; also in `error.txt`.
        KeyboardInterrupt: the run was asked to stop; says where it is saved and which command goes on with it.
    """
    scenario, spec = open_run(folder)
    with storage_errors(folder), locked(folder):
        if is_finished(folder):
            return dict(json.loads((RunFolder(folder).result).read_bytes()))
        for place in (folder, folder / CHECKPOINTS):
            remove_parts(place)
        RunFolder(folder).error.unlink(missing_ok=True)
        with run_log(RunFolder(folder).run_log), preparation_file(folder):
            try:
                with blamed():
                    return _run(folder, scenario, spec, listener, first_task, say, parent)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and not error.args:  # not by the checkpointer
                    error.args = (_interrupted(folder),)
                with suppress(OSError):  # the disk may be what is wrong
                    log.exception("stopped")
                    write_atomically(RunFolder(folder).error, _reason(error) + "\n")
                raise


def _run(
    folder: Path,
    scenario: Scenario,
    spec: RunSpec,
    listener: Listener | None,
    first_task: Path | None,
    say: Callable[[str], None] | None,
    parent: int | None,
) -> dict[str, Any]:
    threads = scenario.config.threads
    assert isinstance(threads, int)
    torch.set_num_threads(threads)
    device = resolve_device(spec.device)
    composition = Composition(spec.strategy, spec.options)
    identity = identity_of(scenario, spec, threads)  # at once, so that it is of the code that is loaded here
    plan = training_plan(scenario, composition)
    write_atomically(RunFolder(folder).plan, plan.to_bytes())
    log.info(
        "%s, %s, seed %d, plan %s, %d threads, %s", scenario.name, spec.name, spec.seed, plan.sha256, threads, device
    )

    skipped = skipped_images(scenario.source)
    for split, files in skipped.items():
        for file in files:
            log.warning("image of %s left out, because it cannot be decoded: %s", split, file)
        log.info("images of %s left out: %d", split, len(files))

    saved = identity | {"training_plan_sha256": plan.sha256}  # which `joint` and an oracle memory make of the truth
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        check_identity(checkpoint, saved)
    record_identity(folder, identity, goes_on=checkpoint is not None)
    record_environment(RunFolder(folder).environment, environment(device, threads))
    growing = [GrowingFile(path) for path in RunFolder(folder).growing]
    for grown in growing:
        grown.cut(checkpoint.header["files"].get(grown.path.name, 0) if checkpoint is not None else 0)

    evaluation = scenario.config.evaluation
    history = History(plan, evaluation.empty_classes, evaluation.thresholds, own_metrics(scenario.config))
    settings = hyperparameters(scenario.config.model_dump(mode="json"), spec.name, spec.seed, composition.options())
    in_folder: list[BaseLogger] = []
    if has_logger(scenario.config, "tensorboard"):
        curves = TensorBoardCurves(RunFolder(folder).events, history, settings)
        pixels = partial(few_images, scenario.source, size=scenario.config.training.model.image_size)
        in_folder += [curves, SamplePictures(curves.events, history, pixels, evaluation.samples)]
    if has_logger(scenario.config, "csv"):
        in_folder.append(CsvFile(RunFolder(folder).table))
    outside = outside_loggers(folder, scenario.config, say)
    timing = TimingFile(RunFolder(folder).timing)
    template = build_template(
        scenario,
        composition,
        plan,
        seed=spec.seed,
        device=device,
        history=history,
        loggers=[
            MetricsFile(RunFolder(folder).metrics, listener),
            MemoryFile(RunFolder(folder).memory, plan.class_names),
            *in_folder,
            *outside,
            timing,
        ],
        row_truth=scenario.truth()[plan.row_samples],
    )
    name = f"{spec.name}/seed{spec.seed}"
    if first_task is not None:
        template.first_task = SharedFirstTask(first_task, RunFolder(folder).metrics, timing, name)
    if checkpoint is not None:
        template.load_state_dict(checkpoint.state())
        log.info("goes on from %s: %s", checkpoint.path, checkpoint.header["position"])
    else:
        _begin(folder, template, say)
    with observed(outside, LoggedRun(name, scenario.name, folder, settings)), interruptible(parent) as interruption:
        template.at_cut = Checkpointer(folder, saved, growing, scenario.config.checkpoint, interruption)
        training_begins()
        with blamed(lambda: place(asdict(template.position))):
            template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    write_trained_model(folder, template.model, scenario.config.training, plan.class_names, spec.seed)
    record = RunRecord(
        scenario=scenario.name,
        strategy=spec.name,
        options=composition.options(),
        seed=spec.seed,
        order_seed=scenario.config.stream.order_seed if scenario.config.stream.order == "seed" else None,
        plan_sha256=plan.sha256,
        derived_from=plan.derived_from,
        data_fingerprint=identity["data_fingerprint"],
        skipped_images={split: len(files) for split, files in skipped.items()},
        threads=threads,
        device=device,
        class_names=list(plan.class_names),
        tasks=[TaskRecord(t, plan.names(task), task.classes, len(task)) for t, task in enumerate(plan.tasks)],
        **measured(history.summary()),
        control=composition.control or None,
        loss_of=composition.loss_of(),
        reference=composition.reference,
        memory=_memory(template),
        first_task={"trained_by": trained_by} if (trained_by := timing.trained_by()) else None,
    )
    result = record.content()
    write_json(RunFolder(folder).result, result)
    for logger in outside:
        logger.end(result)
    keep_newest(folder, 1)
    log.info("finished: last mAP %s", result["last_mAP"])
    return result


def _begin(folder: Path, template: MultiLabelTemplate, say: Callable[[str], None] | None) -> None:
    """Tell it if a run that begins cannot be resumed; refuse to begin it silently for the second time.

    Raises:
        RunError: it has begun before and cannot be resumed.
    """
    try:
        template.stateful()
    except RunError as error:
        if obstacle(folder) is not None:
            raise
        write_atomically(folder / NOT_RESUMABLE, f"{error}\n")
        log.warning("%s", error)
        if say is not None:
            say(f"{folder}: {error}; if it is interrupted, it must begin again")
    else:
        (folder / NOT_RESUMABLE).unlink(missing_ok=True)  # of a strategy that has been mended


def _reason(error: BaseException) -> str:
    """What `error.txt` says."""
    return str(error) if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def _interrupted(folder: Path) -> str:
    """Say what there is of a run that was stopped at once."""
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        saved = place(checkpoint.header["position"])
        return f"interrupted; last saved {saved}; go on with: {resume_command(folder)}"
    if not (folder / "environment.json").exists():
        return f"interrupted before training; go on with: {resume_command(folder)}"
    return "interrupted before its first checkpoint"


def training_plan(scenario: Scenario, composition: Composition) -> StreamPlan:
    """The plan a run trains on: the scenario's own, or one derived from it by `joint` or `memory.labels: oracle`."""
    plan = composition.derive_plan(scenario.plan(), scenario.truth)
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


def _memory(template: MultiLabelTemplate) -> MemoryRecord | None:
    found = MemoryLabels.of(template)
    if found is None:
        return None
    return MemoryRecord(len(found.replay.memory), found.replay.nbytes, LabelsRecord.of(found.summary()))


def main(arguments: Sequence[str]) -> int:
    """Carry out a run in a process of its own.

    Args:
        arguments: FOLDER [FIRST_TASK] [--parent DESCRIPTOR]; see `execute`.

    Returns:
        The process's exit code.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("first_task", type=Path, nargs="?")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args(arguments)
    make_lossy()
    try:
        with ended_by_signals():
            keep_freed_memory()
            execute(given.folder, first_task=given.first_task, parent=given.parent)
    except ClsimError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
