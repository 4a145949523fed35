"""Label smoothing of negatives: a label given as absent may be a positive that the annotator missed.

clsim compare digits-b0c2 --strategies er,er+docs/examples/my_method.py:MyMethod --set strategy.my.missed=0.05
"""

import torch
from pydantic import Field

from clsim import kit


class MyMethod(kit.Strategy):
    name = "my"
    claims = frozenset({"criterion"})

    class Options(kit.Options):
        missed: float = Field(0.1, ge=0, lt=0.5, description="probability that an absent label is in truth present")

    def criterion(self):
        def smoothed(logits, targets):  # float [B, S], [B, C]: 1 present, 0 absent, -1 unknown
            return kit.masked_bce(logits, torch.where(targets == 0, self.options.missed, targets))

        return smoothed
