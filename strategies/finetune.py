"""Plain fine-tuning: the lower reference of every comparison."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from clsim.training import strategy
from clsim.training.strategy import Context, Strategy


class Finetune(Strategy):
    """Train on each task's visible labels and do nothing against forgetting."""

    name = "finetune"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes"})
    reference = "lower"

    class Options(strategy.Options):
        old_classes: Literal["ignore", "negative"] = Field(
            "ignore", description="unknown old classes of new images: left out of the loss, or read as absent"
        )

    def plugins(self, context: Context) -> list[Any]:
        from clsim.training.unknown import OldClassesOfNewRows

        return [OldClassesOfNewRows(self.options.old_classes)]

    def first_task_key(self) -> str | None:
        return ""  # the first task has no old classes
