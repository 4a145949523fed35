"""Online EWC (Schwarz et al., "Progress & Compress", ICML 2018), the name that papers use for a mode of `ewc`."""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class OnlineEWC(kit.Strategy):
    """EWC with one penalty for all earlier tasks; memory for weights and importances does not grow with the tasks.

    Its options are those of its part: strategy.ewc.weight and strategy.ewc.decay.
    """

    name = "oewc"
    made_of: ClassVar[tuple[str, ...]] = ("ewc",)
    part_options: ClassVar[dict[str, Any]] = {"ewc.mode": "online"}
