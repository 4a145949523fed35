"""Plain fine-tuning: the lower reference of every comparison."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from clsim import kit


class Finetune(kit.Strategy):
    """Train on each task's visible labels, without any means against forgetting."""

    name = "finetune"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes"})
    reference = "lower"
    family = "reference"
    stores = "nothing"
    cost = "none: the lower reference"

    class Options(kit.Options):
        old_classes: Literal["ignore", "negative"] = Field(
            "ignore", description="unknown old classes of new images: left out of the loss, or read as absent"
        )

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        return [kit.OldClassesOfNewRows(self.options.old_classes)]

    def first_task_key(self) -> str | None:
        return ""  # the first task has no old classes
