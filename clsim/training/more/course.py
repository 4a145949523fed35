"""What a report must know of model rebalancing, without torch; see `clsim.training.more.plugin`."""

from __future__ import annotations

import math

OF_LAYER, WEIGHT, DISCREPANCY = "more_low_rank/", "more_weight/", "more_discrepancy/"
"""Before a layer's or a class's name: the tags of `ModelRebalancing.report`, apart from the few of `more/`."""

COLLAPSED = 0.01
"""Mean ||BA|| / ||W|| at the end of a task below which log and report warn: what BA then adds to a layer is less than
1 % of it, and the model is hardly more than its general path."""


def schedule(step: int, total: int) -> float:
    """sin(pi step / total), exactly 0 at both ends: neither decomposing nor merging makes the objective jump."""
    return math.sin(math.pi * min(step, total - step) / total)
