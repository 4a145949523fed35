"""The training template of a run, put together from its scenario and its strategy. Imports torch and Avalanche."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from numpy.typing import NDArray

from clsim.errors import StrategyError
from clsim.evaluation.history import History
from clsim.evaluation.plugins import EpochLosses, MemorySize, TaskReport
from clsim.running.features import benchmark_and_model
from clsim.running.label_files import label_files_noted
from clsim.running.scoring.desk import Desk, ScorerHere
from clsim.running.scoring.hand_in import Forward, HandIn, Scorer, sampled_rows
from clsim.running.scoring.messages import Beginning
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.plan.planning import oracle_memory_plan
from clsim.scenario.schema import ScenarioConfig
from clsim.sealing import sealed
from clsim.training.composition import Composition
from clsim.training.events import provides
from clsim.training.image_count import ScoreEvery
from clsim.training.losses.class_counts import CountedLoss
from clsim.training.memory.replay import Replay
from clsim.training.memory.store import Budget
from clsim.training.plugin import Plugin
from clsim.training.ranks import Ranks
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
    loggers: Sequence[BaseLogger],
    history: History | None = None,
    row_truth: NDArray[np.int8] | None = None,
    scorer: Scorer | None = None,
    wait: bool = False,
    ranks: Ranks | None = None,
) -> MultiLabelTemplate:
    """Return the training template of a run with its benchmark, model, plugins and evaluator.

    The code of the strategy runs sealed: it finds no label that the stream hides.

    Args:
        loggers: that get the template; without `scorer` those that get what is scored.
        history: of the scores, where they are kept in this process; with `scorer` None. Without both nothing is
            measured, as on a rank that is not the first.
        row_truth: int8 [R, C] of 0 and 1, the true labels of the training rows, for the evaluator of a memory's
            labels; None: no such evaluator, or `scorer` has it.
        scorer: has the history, and everything that it needs the truth for.
        wait: whether `loggers` are to get what is scored.
        ranks: of the run; None: this process alone.
    """
    config = scenario.config
    training, online = composition.training(config), composition.online(config)
    # DECIDED: what begins anew at each task has no course over an online stream, and so no passes on its way
    score_every: ScoreEvery = (
        "task" if config.stream.online is not None and not online else config.evaluation.score_every
    )
    if scorer is None and history is not None:
        scorer, loggers = ScorerHere(Desk(history, loggers, row_truth)), []
    composition.check_targets(plan, config.training.loss)
    benchmark, stock_model = benchmark_and_model(scenario, plan, seed, device)
    benchmark.place(torch.device(device), training.data)
    with sealed(), label_files_noted(config):
        composition.check(config, plan.n_classes)
        new_model = partial(composition.network, stock_model, seed)
        tasks = tuple(task.of_classes for task in plan.tasks)
        samples = plan.row_samples if composition.control else None
        beside = composition.bytes_beside_row(plan.n_classes)
        plugins = composition.plugins(Context(config, seed, tasks, benchmark.train_rows, new_model, samples, beside))
        refuse_unusable(plugins)
        criterion = composition.criterion(config.training.loss)
        model = new_model()
    if online and isinstance(criterion, CountedLoss):
        raise StrategyError("a loss with class frequencies counts all labels of a task, which stream.online has not")
    if isinstance(criterion, Plugin):
        plugins.append(criterion)
    return MultiLabelTemplate(
        benchmark=benchmark,
        model=model,
        config=training,
        criterion=criterion,
        plugins=plugins,
        evaluator=_nothing_measured()
        if scorer is None
        else _evaluator(config, training.epochs, score_every, plan, plugins, scorer, loggers, wait),
        seed=seed,
        device=device,
        restarts=new_model if composition.restarts else None,
        score_every=score_every,
        ranks=ranks,
        online=online,
    )


def _evaluator(
    config: ScenarioConfig,
    epochs: int,
    score_every: ScoreEvery,
    plan: StreamPlan,
    plugins: list[Any],
    scorer: Scorer,
    loggers: Sequence[BaseLogger],
    wait: bool,
) -> EvaluationPlugin:
    """Return what hands in, and the loggers that get the template; arguments as of `build_template`."""
    has_size = any(provides(plugin, "nbytes") for plugin in plugins)
    limit = Budget.of(config).bytes if config.memory.budget != "none" else None
    replays = [plugin for plugin in plugins if isinstance(plugin, Replay)]
    reports = [TaskReport(plugin, plan.class_names) for plugin in plugins if provides(plugin, "report")]
    writers = [plugin for plugin in plugins if provides(plugin, "written_labels")]
    beginning = Beginning(len(replays), epochs, score_every)
    scorer.tell("begin", beginning)
    sampled = partial(sampled_rows, plan, scorer.wanted.samples, scorer.wanted.pictures)
    size = MemorySize(plugins, limit) if has_size else None
    metrics: list[Any] = [
        EpochLosses(),
        HandIn(scorer, size, replays, reports, writers, sampled, wait),
    ]
    return EvaluationPlugin(metrics, loggers=[Forward(scorer), *loggers])


def _nothing_measured() -> EvaluationPlugin:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Avalanche's, that nothing is logged
        return EvaluationPlugin(loggers=[])
