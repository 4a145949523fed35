"""The names of the files in the folder of a run, and of the folders of the runs of a comparison."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from clsim.opening import read_regular

SEED_FOLDERS = "*/seed*"
"""Pattern of the run folders below a comparison: `<strategy>/seed<k>`."""

_SEED = re.compile(r"seed(\d+)")


class _File:
    """A file of a run folder: its name as an attribute of the class, its path as one of an instance."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, folder: None, kind: type) -> str: ...
    @overload
    def __get__(self, folder: RunFolder, kind: type) -> Path: ...
    def __get__(self, folder: RunFolder | None, kind: type) -> str | Path:
        return self.name if folder is None else folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: `RunFolder.result` is the name of a file, `RunFolder(path).result` its path.

    Attributes:
        path: of the folder.
        config: the resolved scenario.
        run: strategy, options and seed, a `RunSpec`.
        identity: what fixes the run's numbers.
        command: the command line that made the folder; empty if Python did, interactively.
        environment: versions, device, time.
        plan: the stream that it was trained on, with the truth; not there before the run is finished.
        metrics: every logged value, a line for each epoch and evaluation; `clsim.running.logged_values` reads them.
        class_values: those of each class and task, which its lines lack, see `clsim.evaluation.class_values`.
        about_class_values: which tags they have.
        timing: time and memory, a line for each task.
        table: every logged value as a table, if the logger csv is asked for.
        loggers: what loggers outside the folder have been sent.
        events: the curves and pictures for TensorBoard, which reads what has `tfevents` in its name.
        memory: the rows and labels of a replay memory after the last task.
        scores: the logits of evaluated images that are kept, see `clsim.evaluation.kept_scores`.
        about_scores: which image, class and task they are of.
        evaluation: what `clsim evaluate` has computed from them since.
        error_sheets: the folder of the pictures of the worst errors, which it makes on request.
        checksums: SHA-256 of the files of a finished run, see `clsim.running.checksums`.
        result: the final numbers; a run that has it is finished.
        trained_model: the network after the last task, see `clsim.running.trained_model`.
        task_models: the folder of the networks after earlier tasks, with `checkpoint.keep: all`; see `task_model`.
        run_log: what the run logs.
        error: why it stopped.
        output: what its process printed.
        not_resumable: why a run that has begun cannot be resumed, in one line that names the plugin.
        preparation: what a run at work does before it trains, for the process that watches it.
        checkpoint: the folder of its states.
        lock: held while a process writes to the folder.
    """

    path: Path

    config = _File("config.yaml")
    run = _File("run.json")
    identity = _File("identity.json")
    command = _File("command.txt")
    environment = _File("environment.json")
    plan = _File("plan.json.gz")
    metrics = _File("metrics.jsonl")
    class_values = _File("class_values.f64")
    about_class_values = _File("class_values.json")
    timing = _File("timing.jsonl")
    table = _File("metrics.csv")
    loggers = _File("loggers.json")
    events = _File("events.out.tfevents.clsim")
    memory = _File("memory.csv")
    scores = _File("scores.f32")
    about_scores = _File("scores.json")
    evaluation = _File("evaluation.json")
    error_sheets = _File("error_sheets")
    checksums = _File("checksums.json")
    result = _File("result.json")
    trained_model = _File("model.pt")
    task_models = _File("task_models")
    run_log = _File("run.log")
    error = _File("error.txt")
    output = _File("output.txt")
    not_resumable = _File("not_resumable.txt")
    preparation = _File("preparation.json")
    checkpoint = _File("checkpoint")
    lock = _File("lock")

    def task_model(self, task: int) -> Path:
        """Return the path of the network after a task, counted from 0, that is not the last one."""
        return self.task_models / f"task{task:02d}.pt"

    @staticmethod
    def thresholds_of(model: Path) -> Path:
        """Return where the thresholds of a model's file are, beside it."""
        return model.with_suffix(".thresholds.json")

    @property
    def growing(self) -> list[Path]:
        """The files that are only added to; a checkpoint holds their lengths, to which a resumed run cuts them."""
        return [self.timing, *self.growing_with_scores]

    @property
    def growing_with_scores(self) -> list[Path]:
        """Those of `growing` that the process that scores writes."""
        return [self.metrics, self.class_values, self.events, self.table, self.scores]

    @property
    def strategy(self) -> str:
        """Name of the strategy, from the folder's place."""
        return self.path.parent.name

    @property
    def seed(self) -> int | None:
        """The seed, from the folder's name; None: it is not named `seed<k>`."""
        number = _SEED.fullmatch(self.path.name)
        return int(number[1]) if number else None

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return self.result.is_file()

    @property
    def obstacle(self) -> str | None:
        """Why the run, which has begun, cannot be resumed, in one line; None: it can."""
        try:
            return read_regular(self.not_resumable).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
