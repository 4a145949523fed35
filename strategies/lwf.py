"""Learning without Forgetting in its multi-label form (Li & Hoiem, ECCV 2016; as the LwF rows of KRT, ICCV 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from clsim.training import strategy
from clsim.training.strategy import Context, Strategy


class LwF(Strategy):
    """Sigmoid distillation of the old classes from the model after the previous task."""

    name = "lwf"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes", "distillation"})

    class Options(strategy.Options):
        weight: float = Field(1.0, ge=0, description="factor of the distillation term")
        old_classes: Literal["distil", "negative", "ignore"] = Field(
            "distil", description="unknown old classes of new images: from the teacher, read as absent, or left out"
        )

    def plugins(self, context: Context) -> list[Any]:
        from clsim.training.distillation import Distillation
        from clsim.training.losses import sigmoid_distillation
        from clsim.training.unknown import OldClassesOfNewRows

        return [
            OldClassesOfNewRows(self.options.old_classes),
            Distillation(sigmoid_distillation, self.options.weight, context.snapshot),
        ]

    def first_task_key(self) -> str | None:
        return ""  # the first task has neither old classes nor a teacher
