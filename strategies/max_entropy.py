"""The maximum-entropy term of CSC (Du et al., ECCV 2024, arXiv 2403.12559), without its network."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from clsim import kit


class MaximumEntropy(kit.Strategy):
    """Penalise confidence in old classes from the second task on. Combine it with distillation: `lwf+max-entropy`.

        L = ... - beta H,   H = -1/B sum_i sum_{c old} p_ic log(p_ic + 1e-5)

    See `clsim.training.entropy`. It needs distillation: without it nothing holds the old classes, which the term pulls
    towards 0.37. DECIDED: the entropy is over the old classes, as the paper says, where the released code takes all
    seen ones (`classes: seen`). DECIDED: beta is the published one, beside terms that are means over columns; beside
    clsim's sums over entries the term weighs as much less as there are columns. Raise beta for the published balance.
    """

    name = "max-entropy"
    needs: ClassVar[frozenset[str]] = frozenset({"distillation"})
    family = "regularisation"
    year = 2024
    stores = "nothing"
    cost = "almost nothing"
    bib = """@inproceedings{du2024confidence,
  author = {Du, Kaile and Zhou, Yifan and Lyu, Fan and Li, Yuyang and Lu, Chen and Liu, Guangcan},
  title = {Confidence Self-Calibration for Multi-Label Class-Incremental Learning},
  booktitle = {European Conference on Computer Vision},
  year = {2024},
}"""

    class Options(kit.Options):
        beta: float = Field(0.04, ge=0, description="factor of the entropy")
        classes: Literal["old", "seen"] = Field("old", description="over the old classes, or over all that are seen")
        binary: bool = Field(False, description="binary entropy, whose pull is to 1/2; false: p log p, as published")

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.entropy import MaximumEntropy as Plugin

        return [Plugin(self.options.beta, self.options.classes, self.options.binary)]

    def first_task_key(self) -> str | None:
        return ""  # the term begins with the second task
