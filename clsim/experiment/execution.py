"""One run, from its folder to its result. Imports torch and Avalanche."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from numpy.typing import NDArray

from clsim.data.image_files import skipped_images
from clsim.evaluation.history import History
from clsim.evaluation.loggers import MemoryFile, MetricsFile, finite_or_null
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.evaluation.plugins import EpochLosses, MemorySize, StreamScores, TaskReport
from clsim.evaluation.tensorboard import TensorBoardCurves
from clsim.experiment.environment import environment
from clsim.experiment.features import benchmark_and_model
from clsim.experiment.folder import RunSpec, open_run, resolve_device
from clsim.experiment.lock import locked
from clsim.experiment.settings import hyperparameters
from clsim.files import write_atomically, write_json
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.planning import oracle_memory_plan
from clsim.training.class_counts import CountedLoss
from clsim.training.composition import Composition
from clsim.training.replay import Replay
from clsim.training.strategy import Context
from clsim.training.template import MultiLabelTemplate

RESULT_FORMAT = 1
log = logging.getLogger("clsim")

Listener = Callable[[dict[str, Any]], None]


def execute(folder: Path, listener: Listener | None = None) -> dict[str, Any]:
    """Carry out the run that a prepared folder defines and write its result.

    Args:
        folder: made by `clsim.experiment.folder.prepare`.
        listener: called with each line of `metrics.jsonl`.

    Returns:
        The content of `result.json`.

    Raises:
        ClsimError: what the user can mend; also in `error.txt`.
    """
    scenario, spec = open_run(folder)
    with locked(folder):
        handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            return _run(folder, scenario, spec, listener)
        except BaseException as error:
            log.exception("stopped")
            write_atomically(folder / "error.txt", f"{type(error).__name__}: {error}\n")
            raise
        finally:
            log.removeHandler(handler)
            handler.close()


def _run(folder: Path, scenario: Scenario, spec: RunSpec, listener: Listener | None) -> dict[str, Any]:
    threads = scenario.config.threads
    assert isinstance(threads, int)
    torch.set_num_threads(threads)
    device = resolve_device(spec.device)
    write_json(folder / "environment.json", environment(device, threads))
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

    evaluation = scenario.config.evaluation
    history = History(plan, evaluation.empty_classes, evaluation.thresholds)
    settings = hyperparameters(scenario.config.model_dump(mode="json"), spec.name, spec.seed, composition.options())
    curves = TensorBoardCurves(folder, history, settings)
    try:
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
                TimingFile(folder / "timing.jsonl"),
            ],
            row_truth=scenario.truth()[plan.row_samples],
        )
        benchmark = template.benchmark
        template.learn(benchmark.train_stream, benchmark.evaluation_stream)
    finally:
        curves.close()
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
            "data_fingerprint": scenario.source.fingerprint(),
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
            "memory": _memory(template),
        }
    )
    write_json(folder / "result.json", result)
    (folder / "error.txt").unlink(missing_ok=True)
    log.info("finished: last mAP %s", result["last_mAP"])
    return dict(result)


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


def _memory(template: MultiLabelTemplate) -> dict[str, Any] | None:
    found = MemoryLabels.of(template)
    if found is None:
        return None
    return {"rows": len(found.replay.memory), "bytes": found.replay.nbytes, "labels": found.summary()}


class TimingFile(BaseLogger):
    """Appends wall time, throughput and peak memory of each task to a JSON Lines file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.trained = 0.0
        self.began = time.perf_counter()
        self.samples = 0

    def before_training_exp(self, strategy: Any, metric_values: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()
        self.samples = strategy.samples_trained

    def after_training_exp(self, strategy: Any, metric_values: Any, **kwargs: Any) -> None:
        self.trained = time.perf_counter() - self.began

    def before_eval(self, strategy: Any, metric_values: Any, **kwargs: Any) -> None:
        self.eval_began = time.perf_counter()

    def after_eval(self, strategy: Any, metric_values: Any, **kwargs: Any) -> None:
        if strategy.position.started:  # a score between two epochs is no training time
            self.began += time.perf_counter() - self.eval_began
            return
        line = {
            "task": strategy.position.task - 1,
            "train_seconds": round(self.trained, 4),
            "eval_seconds": round(time.perf_counter() - self.eval_began, 4),
            "samples_per_second": round((strategy.samples_trained - self.samples) / max(self.trained, 1e-9), 1),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    from clsim.errors import ClsimError

    try:
        execute(Path(sys.argv[1]))
    except ClsimError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
