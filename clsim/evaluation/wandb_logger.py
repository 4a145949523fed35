"""Curves in Weights & Biases, offline unless it is told otherwise: `wandb sync` sends what lies in the run folder.

DECIDED: not Avalanche's WandBLogger, which does not run with current releases of wandb.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from clsim.errors import RunError
from clsim.evaluation.loggers import LineLogger
from clsim.evaluation.outside_loggers import LoggedRun
from clsim.training import strategy

AXES = {"eval": "tasks", "train": "epochs", "epoch-eval": "epochs", "images-eval": "images"}
"""Phase of a line -> the horizontal axis of its values, in tasks or epochs done, or new images trained on."""


class WandbLogger(LineLogger):
    """Sends every value of a run to one run of W&B; a resumed run goes on with the same."""

    class Options(strategy.Options):
        """Where the values go."""

        project: str | None = Field(None, description="default: WANDB_PROJECT, else clsim")
        entity: str | None = Field(None, description="user or team; default: WANDB_ENTITY, else your own")
        mode: Literal["offline", "online", "disabled"] | None = Field(
            None, description="default: WANDB_MODE, else offline; `wandb sync` sends offline runs later"
        )

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.step = 0
        self.placed: set[str] = set()

    @classmethod
    def check(cls, options: Options) -> None:
        """Raise RunError if runs are to be sent at once but no account is known."""
        if _mode(options) == "online":
            import wandb

            if not wandb.login(prompt=False):
                raise RunError("logger wandb: mode online, but no API key is known; run `wandb login`, or use offline")

    def begin(self, run: LoggedRun) -> str:
        """Begin the run, or go on with it; return its id."""
        import wandb

        self.step = run.sent
        quiet = wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
        )
        self.run = wandb.init(
            project=self.options.project or os.environ.get("WANDB_PROJECT", "clsim"),
            entity=self.options.entity,
            mode=_mode(self.options),
            dir=run.folder,
            id=run.id,
            resume="allow",
            name=run.name,
            group=run.scenario,
            config=dict(run.settings),
            settings=quiet,
        )
        return str(self.run.id)

    def write(self, line: dict[str, Any]) -> None:
        """Send a line; its number is W&B's step, so that W&B passes over one that comes a second time."""
        self.step += 1
        axis = AXES[line["phase"]]
        values = {tag: value for tag, value in line["values"].items() if value is not None}
        for tag in sorted(values.keys() - self.placed):
            self.run.define_metric(tag, step_metric=axis, step_sync=False)
        self.placed |= values.keys()
        self.run.log(values | {axis: line["step"]}, step=self.step)

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Have all of it written; a run that is not finished is marked so."""
        self.run.finish(exit_code=0 if result is not None else 1)


def _mode(options: WandbLogger.Options) -> Any:
    return options.mode or os.environ.get("WANDB_MODE", "offline")
