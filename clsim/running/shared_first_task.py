"""The first task of a run, trained once for all runs of a comparison that would train it alike.

The first of them that comes to its end leaves the state there, after the last optimiser step and before any plugin's
after-hook. The others set the task up as ever, with their own before-hooks, load that state in place of the steps,
write the lines of its epochs, and go on. The state is kept as a checkpoint is: whole or not there, with checksums, and
read without executing code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avalanche.evaluation.metric_results import MetricValue

from clsim.evaluation.loggers import Spent, TimingFile
from clsim.running.checkpoint_files import newest_checkpoint, write_checkpoint
from clsim.running.logged_values import read_logged
from clsim.running.run_folder import RunFolder
from clsim.training.events import callbacks
from clsim.training.template import MultiLabelTemplate

EVENTS = {"train": "after_training_epoch", "epoch-eval": "after_eval_exp", "images-eval": "after_eval_exp"}
"""Phase of a line of `metrics.jsonl` -> what loggers were called with when it was written."""

NO_METRIC: Any = None
"""The values come from a file; loggers read only their names, values and steps."""

log = logging.getLogger("clsim")


class SharedFirstTask:
    """Takes the trained first task from a folder, or leaves it there.

    Args:
        folder: of all runs that train it alike.
        files: of this run, whose `metrics.jsonl` holds nothing but the first task when that ends.
        timing: where the time of its steps is counted.
        name: of this run, such as "finetune/seed0", for the results of those that take its task.
        settle: waits until all that has been logged is in the files.
    """

    def __init__(
        self,
        folder: Path,
        files: RunFolder,
        timing: TimingFile,
        name: str,
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        self.folder = folder
        self.settle = settle
        self.name = name
        self.files = files
        self.timing = timing

    def take(self, template: MultiLabelTemplate) -> bool:
        """Bring the template to the end of the task's last epoch; False if nobody has left the state yet."""
        found = newest_checkpoint(self.folder)
        if found is None:
            return False
        template.take_task(found.state(str(template.device)))
        spent = Spent(found.header["seconds"], found.header["cpu_seconds"])
        self.timing.share(spent, found.header["trained_by"])
        for line in found.header["lines"]:
            _log_epoch(template, line)
        log.info("first task not trained here but shared, by %s: %s", found.header["trained_by"], found.path)
        return True

    def give(self, template: MultiLabelTemplate) -> None:
        """Leave the state for the others; if that fails, they train by themselves."""
        try:
            if newest_checkpoint(self.folder) is None:
                self.settle()
                self.folder.mkdir(parents=True, exist_ok=True)
                facts = {
                    "identity": {},  # of the folder, which is named after it
                    "position": asdict(template.position),
                    "files": {},
                    "lines": read_logged(self.files),
                    "trained_by": self.name,
                    **self.timing.spent(),
                }
                write_checkpoint(self.folder, template.task_state(), facts)
        except OSError as error:
            log.warning("first task not shared: %s", error)


def _log_epoch(template: MultiLabelTemplate, line: dict[str, Any]) -> None:
    """Log an epoch as Avalanche's evaluator does."""
    values = [MetricValue(NO_METRIC, name, value, line["step"]) for name, value in line["values"].items()]
    loggers = template.evaluator.loggers
    for logger in loggers:
        logger.log_metrics(values)
    for callback in callbacks(loggers, EVENTS[line["phase"]]):
        callback(template, values)
