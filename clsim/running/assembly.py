"""The training template of a run, put together from its scenario and its strategy. Imports torch and Avalanche."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from numpy.typing import NDArray

from clsim.evaluation.history import History
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.evaluation.plugins import EpochLosses, MemorySize, StreamScores, TaskReport
from clsim.running.features import benchmark_and_model
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.plan.planning import oracle_memory_plan
from clsim.training.composition import Composition
from clsim.training.events import provides
from clsim.training.losses.class_counts import CountedLoss
from clsim.training.memory.replay import Replay
from clsim.training.memory.store import Budget
from clsim.training.stock import refuse_unusable
from clsim.training.strategy import Context
from clsim.training.template import MultiLabelTemplate


def training_plan(scenario: Scenario, composition: Composition) -> StreamPlan:
    """Return the plan that a run trains on: the scenario's own, or one that `joint` or an oracle memory derives."""
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
    """Return the training template of a run with its benchmark, model, plugins and evaluator.

    Args:
        row_truth: int8 [R, C] of 0 and 1, the true labels of the training rows, for the evaluator of a memory's
            labels; None: no such evaluator.
    """
    config = scenario.config
    training = composition.training(config.training)
    composition.check(config, plan.n_classes)
    composition.check_targets(plan, config.training.loss)
    benchmark, stock_model = benchmark_and_model(scenario, plan, seed, device)
    benchmark.place(torch.device(device), training.data)
    new_model = partial(composition.network, stock_model, seed)
    tasks = tuple(task.classes for task in plan.tasks)
    samples = plan.row_samples if composition.control else None
    beside = composition.bytes_beside_row(plan.n_classes)
    plugins = composition.plugins(Context(config, seed, tasks, benchmark.train_rows, new_model, samples, beside))
    refuse_unusable(plugins)
    criterion = composition.criterion(config.training.loss)
    if isinstance(criterion, CountedLoss):
        plugins.append(criterion)
    metrics: list[Any] = [EpochLosses(), StreamScores(history)]
    if any(provides(plugin, "nbytes") for plugin in plugins):
        metrics.append(MemorySize(plugins, Budget.of(config).bytes if config.memory.budget != "none" else None))
    for replay in (plugin for plugin in plugins if isinstance(plugin, Replay)):
        if row_truth is not None:
            metrics.append(MemoryLabels(replay, row_truth, tasks))
    metrics += [TaskReport(plugin, plan.class_names) for plugin in plugins if provides(plugin, "report")]
    return MultiLabelTemplate(
        benchmark=benchmark,
        model=new_model(),
        config=training,
        criterion=criterion,
        plugins=plugins,
        evaluator=EvaluationPlugin(metrics, loggers=loggers),
        seed=seed,
        device=device,
        restarts=new_model if composition.restarts else None,
        score_epochs=config.evaluation.every == "epoch",
    )
