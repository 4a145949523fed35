"""From a run to the process that scores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clsim.evaluation.history import History
from clsim.running.checkpointer import resume_command
from clsim.running.folder_lock import Hold
from clsim.running.observers import Listener, folder_loggers, own_metrics
from clsim.running.run_folder import RunFolder
from clsim.running.scoring.desk import Desk, ScorerHere
from clsim.running.scoring.hand_in import Scorer
from clsim.running.scoring.process import SUITED, ScoringProcess
from clsim.scenario import Scenario, StreamPlan
from clsim.strict_json import Tail
from clsim.training.events import provides
from clsim.training.state import OF_AVALANCHE


def start_scorer(
    files: RunFolder,
    scenario: Scenario,
    plan: StreamPlan,
    settings: Mapping[str, Any],
    hold: Hold,
    listener: Listener | None,
) -> Scorer:
    """Start the process that scores a run, which alone needs the truth from now on.

    Where forking is not safe the scores are made in this process, and what a method replaces here changes them.

    Args:
        files: the run folder; files that grow are cut to where the run goes on.
        scenario: of the run, with its labels.
        plan: that the run trains on, with the truth.
        settings: what tells runs apart, one level of dotted keys.
        hold: of the folder, which stays with this process.
        listener: called with each line of `metrics.jsonl`.

    Raises:
        RunError: the system allows no more processes.
    """
    evaluation = scenario.config.evaluation
    history = History(plan, evaluation.empty_classes, evaluation.thresholds, own_metrics(scenario.config))
    loggers = folder_loggers(files, scenario, history, settings)
    desk = Desk(history, loggers, scenario.truth()[plan.row_samples])
    listen = None if listener is None else _Listening(files.metrics, listener)
    if SUITED:
        return ScoringProcess(desk, resume_command(files.path), hold.leave_to_parent, listen)
    return ScorerHere(desk, listen)


def replacing_outputs(plugins: Sequence[Any]) -> list[str]:
    """Return the plugins that may give other scores of the evaluation images than the network's, by class name."""
    own = [plugin for plugin in plugins if not isinstance(plugin, OF_AVALANCHE)]
    return [type(plugin).__name__ for plugin in own if provides(plugin, "after_eval_forward")]


class _Listening:
    """Calls a listener with each line of `metrics.jsonl`, first with those that a resumed run has already written."""

    def __init__(self, path: Path, listener: Listener) -> None:
        self.tail = Tail(path)
        self.listener = listener
        self()

    def __call__(self) -> None:
        lines, _ = self.tail.read()
        for line in lines:
            self.listener(line)
