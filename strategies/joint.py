"""Joint training: the upper reference, which forgets nothing because it sees everything again."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clsim.scenario.plan.planning import joint_plan
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.training import strategy
from clsim.training.strategy import Strategy


class Joint(Strategy):
    """After each task a fresh network, trained on all images so far with the true labels of all seen classes."""

    name = "joint"
    claims: ClassVar[frozenset[str]] = frozenset({"plan"})
    restarts = True

    class Options(strategy.Options):
        tasks: Literal["all", "last"] = Field("all", description="last: train only at the end of the stream")

    def derive_plan(
        self, plan: StreamPlan, truth: NDArray[np.int8], soft: NDArray[np.float32] | None = None
    ) -> StreamPlan:
        return joint_plan(plan, truth, self.options.tasks == "last", soft)
