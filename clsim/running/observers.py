"""What looks on while a run trains: the metrics and loggers that the scenario names.

They decide nothing about training: no learner is given what they return, and no run is identified by them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.data.image_files import few_images
from clsim.data.source import FeatureSource, ImageSource, NamedSource, Split
from clsim.errors import RunError
from clsim.evaluation.history import History
from clsim.evaluation.kept_scores import describe_scores, kept_bytes, kept_tasks
from clsim.evaluation.own_metrics import OwnMetric, check_names, try_out
from clsim.evaluation.sent_file import SentFile
from clsim.files import write_json
from clsim.parts import checked_options, code_of, find, made
from clsim.running.run_folder import RunFolder
from clsim.scenario import Scenario
from clsim.scenario.schema import ScenarioConfig

if TYPE_CHECKING:
    from avalanche.logging import BaseLogger

    from clsim.evaluation.outside_loggers import Delivery

IN_THE_FOLDER = ("tensorboard", "csv")
"""Loggers whose files lie in the run folder and are cut back with its checkpoints; the others are outside."""

EXTRAS = {"wandb": "wandb", "mlflow": "mlflow-skinny"}
"""Logger -> the package that it needs."""

Listener = Callable[[dict[str, Any]], None]

log = logging.getLogger("clsim")

_PROTOCOL = ("log_metrics", "log_single_metric")


def own_metrics(config: ScenarioConfig) -> tuple[OwnMetric, ...]:
    """Return the metrics that a scenario names, loaded.

    Raises:
        ClsimError: a file or function that is not there or cannot be loaded, wrong options.
    """
    found = []
    for place, section in enumerate(config.evaluation.metrics):
        function = made("metric", section.name, section.options, f"evaluation.metrics.{place}")
        if not callable(function):
            raise RunError(f"evaluation.metrics.{place}: {section.name} is not a function")
        code = code_of("metric", section.name) or ""
        if section.options:
            code = hashlib.sha256(f"{code} {json.dumps(section.options, sort_keys=True)}".encode()).hexdigest()
        found.append(OwnMetric(section.name.rpartition(":")[2], section.name, code, function))
    return tuple(found)


def check_observers(scenario: Scenario, taken: Sequence[str]) -> tuple[OwnMetric, ...]:
    """Check metrics and loggers before a run is made; each metric is tried once. Returns the metrics.

    Args:
        taken: names that no metric may have.

    Raises:
        ClsimError: one is not there, fails, is named like another, or is set up wrongly.
    """
    metrics = own_metrics(scenario.config)
    check_names(metrics, taken)
    try_out(metrics, scenario.plan())
    for place, section in enumerate(scenario.config.loggers):
        key = f"loggers.{place}"
        if section.name in {other.name for other in scenario.config.loggers[:place]}:
            raise RunError(f"{key}: {section.name} is named twice")
        package = EXTRAS.get(section.name)
        if package is not None and find_spec(section.name) is None:
            raise RunError(f"{key}: {section.name} needs the package {package}: pip install 'clsim[{section.name}]'")
        if section.name in IN_THE_FOLDER:
            continue
        kind = find("logger", section.name)
        if not isinstance(kind, type) or not all(callable(getattr(kind, name, None)) for name in _PROTOCOL):
            raise RunError(f"{key}: {section.name} is not a subclass of avalanche.logging.BaseLogger")
        options = checked_options("logger", section.name, kind, section.options, key)
        if hasattr(kind, "check"):
            kind.check(options)
    return metrics


def folder_loggers(
    files: RunFolder,
    scenario: Scenario,
    history: History,
    settings: Mapping[str, Any],
) -> list[BaseLogger]:
    """Return the loggers whose files belong to the run folder, and write `class_values.json` and `scores.json`.

    Args:
        files: of the run.
        scenario: of the run.
        history: of its scores; its plan is the one that the run trains on.
        settings: what tells runs apart, one level of dotted keys.
    """
    from clsim.evaluation.class_values import ClassValues, describe_rows
    from clsim.evaluation.loggers import CsvFile, MemoryFile, MetricsFile
    from clsim.evaluation.sample_pictures import SamplePictures
    from clsim.evaluation.tensorboard import TensorBoardCurves

    config, plan = scenario.config, history.plan
    memory = MemoryFile(files.memory, plan.class_names, len(plan.tasks))
    about = describe_rows(plan, [metric.name for metric in history.metrics])
    write_json(files.about_class_values, about)
    found: list[BaseLogger] = [MetricsFile(files.metrics, ClassValues(files.class_values, about)), memory]
    if has_logger(config, "tensorboard"):
        curves = TensorBoardCurves(files.events, history, settings, config.evaluation.pictures)
        samples = 0 if isinstance(scenario.source, FeatureSource) else config.evaluation.samples
        pixels = partial(few_images, scenario.source, size=config.training.model.image_size)
        found += [curves, SamplePictures(curves.events, history, pixels, samples, config.evaluation.pictures)]
    if has_logger(config, "csv"):
        found.append(CsvFile(files.table))
    return found + scores_loggers(files, scenario, history)


def has_logger(config: ScenarioConfig, name: str) -> bool:
    """Tell whether a scenario names a logger."""
    return any(section.name == name for section in config.loggers)


def scores_loggers(files: RunFolder, scenario: Scenario, history: History) -> list[BaseLogger]:
    """Return the logger that keeps scores, if they are to be kept, and write `scores.json`.

    Args:
        files: of the run.
        scenario: of the run.
        history: of its scores; its plan is the one that the run trains on.
    """
    from clsim.evaluation.loggers import ScoresFile

    plan, keep = history.plan, scenario.config.evaluation.keep_scores
    tasks = kept_tasks(plan, keep)
    if not tasks:
        return []
    write_json(files.about_scores, describe_scores(plan, keep, image_ids(scenario.source, plan.test_split)))
    log.info("scores of tasks %s are kept: %s, %.1f kB", tasks, files.scores.name, kept_bytes(plan, keep) / 1e3)
    return [ScoresFile(files.scores, history, tasks)]


def image_ids(source: ImageSource, split: Split) -> list[str]:
    """Return the id of each image of a split: its name, or its position where the source has no names for all."""
    names = source.image_names(split) if isinstance(source, NamedSource) else []
    count = len(source.labels(split))
    return names if len(names) == count else list(map(str, range(count)))


def outside_loggers(folder: Path, config: ScenarioConfig, say: Callable[[str], None] | None) -> list[Delivery]:
    """Make the loggers outside the run folder.

    Args:
        folder: of the run; its `metrics.jsonl` holds what the run has logged before.
        config: of its scenario.
        say: tells the user if one fails.

    Raises:
        PartError: one cannot be made.
    """
    from clsim.evaluation.outside_loggers import Delivery

    sections = [section for section in config.loggers if section.name not in IN_THE_FOLDER]
    if not sections:
        return []
    files = RunFolder(folder)
    lines = files.metrics.read_bytes().count(b"\n") if files.metrics.exists() else 0
    sent = SentFile(files.loggers)
    deliveries = []
    for section in sections:
        logger = made("logger", section.name, section.options, "loggers")
        deliveries.append(Delivery(section.name, logger, sent, lines, say))
    return deliveries
