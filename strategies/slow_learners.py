"""The slow learners of CLS-ER (Arani, Sarfraz, Zonooz: "Learning Fast, Learning Slow", ICLR 2022)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from clsim import kit


class SlowLearners(kit.Strategy):
    """Two slow means of the weights: they hold the logits of memory rows, and the stable one scores images.

    Equations: `clsim.training.slow_learners.SlowLearners`. DECIDED: the better copy is chosen for each entry, where the
    source chooses it for each row by the one true class; where a label is unknown the stable copy answers. DECIDED: the
    copies take the network's batch statistics; the source's move theirs on memory rows. After the last task the network
    takes the weights of the copy that was scored. Other parts, such as a teacher or `or`, use the network itself. Rates
    are the authors' for their smallest memory; they go from 0.05 and 0.08 to 0.8 and 1.
    """

    name = "slow-learners"
    claims: ClassVar[frozenset[str]] = frozenset({"scores"})
    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    family = "replay"
    year = 2022
    stores = "two copies of the network"
    cost = "two forward passes over the memory rows of each step"
    bib = """@inproceedings{arani2022learning,
  author = {Arani, Elahe and Sarfraz, Fahad and Zonooz, Bahram},
  title = {Learning Fast, Learning Slow: A General Continual Learning Method based on Complementary Learning System},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}"""

    class Options(kit.Options):
        weight: float = Field(0.1, ge=0, description="factor of the squared distance to the copies' logits")
        stable_rate: float = Field(0.1, ge=0, le=1, description="probability of an update of the stable copy per step")
        plastic_rate: float = Field(0.3, ge=0, le=1, description="likewise of the plastic copy")
        decay: float = Field(0.999, ge=0, lt=1, description="what a copy keeps of its weights in an update, at most")
        scored: Literal["stable", "plastic", "network"] = Field(
            "stable", description="what scores images: a copy, or the network that is trained"
        )

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.slow_learners import SlowLearners as Plugin

        options, last_task = self.options, len(context.tasks) - 1
        rates = (options.stable_rate, options.plastic_rate)
        return [Plugin(context.new_model, last_task, options.weight, rates, options.decay, options.scored)]

    def first_task_key(self) -> str | None:
        return None  # the copies follow the network from its first step on
