"""Joint training: the upper reference, which forgets nothing because it sees everything again."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clsim import kit
from clsim.scenario.plan.planning import joint_plan


class Joint(kit.Strategy):
    """After each task, train a fresh network on all images so far with the true labels of all seen classes."""

    name = "joint"
    claims: ClassVar[frozenset[str]] = frozenset({"plan"})
    restarts = True
    reference = "upper"
    family = "reference"
    stores = "all images so far and their true labels"
    cost = "a training on all images so far after each task"

    class Options(kit.Options):
        tasks: Literal["all", "last"] = Field("all", description="last: train only at the end of the stream")

    options: Options

    def derive_plan(
        self, plan: kit.StreamPlan, truth: NDArray[np.int8], soft: NDArray[np.float32] | None = None
    ) -> kit.StreamPlan:
        return joint_plan(plan, truth, self.options.tasks == "last", soft)
