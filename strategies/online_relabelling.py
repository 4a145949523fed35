"""OR, the label-level half of RebLL (Du et al., "Rebalancing Multi-Label Class-Incremental Learning", AAAI 2025).

The same relabelling of a memory, with hard labels, is earlier: pseudo-label replay of RCLP (Ceccon et al., WACV 2025,
arXiv 2404.06859, first version of 10 April 2024; the preprint of RebLL is of 22 August 2024). Its threshold is `f1`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from clsim import kit

HOLD_OUT = ("adaptive", "f1")
"""Thresholds that are judged on images that are not trained on."""


class OnlineRelabelling(kit.Strategy):
    """After each task, fill unknown labels of the memory with predictions. Combine it with a memory: `er+or`.

    DECIDED: soft labels by default. The paper writes hard ones; with the fixed threshold 0.8 of a study after it hardly
    a positive is written, and nearly every unknown label becomes a confident absence (docs/rebll.md).
    """

    name = "or"
    claims: ClassVar[frozenset[str]] = frozenset({"relabelling"})
    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    family = "labels"
    year = 2025
    stores = "the model before the task; a label per memory row and class"
    cost = "a pass of both models over the memory after each task"
    bib = """@inproceedings{du2025rebalancing,
  author = {Du, Kaile and Zhou, Yifan and Lyu, Fan and Li, Yuyang and Xie, Junzhou and Shen, Yixi and Hu, Fuyuan and
            Liu, Guangcan},
  title = {Rebalancing Multi-Label Class-Incremental Learning},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2025},
}"""

    class Options(kit.Options):
        threshold: Annotated[float, Field(gt=0)] | Literal["none", "adaptive", "f1", "prior"] = Field(
            "none",
            description="none: the label is the probability itself; otherwise a label is 1 above it and 0 below: a "
            "number (above 1: all are 0); adaptive: break-even of a class on a held-out tenth of its task; f1: the "
            "best F1 there; prior: the quantile at the class's share of the images seen",
        )
        fallback: float = Field(0.8, gt=0, description="threshold of classes that adaptive and f1 cannot judge")
        ternary: bool = Field(False, description="leave probabilities between 1 - threshold and threshold unknown")

        @model_validator(mode="after")
        def _needs_a_threshold(self) -> Self:
            if self.ternary and self.threshold == "none":
                raise ValueError("ternary needs a threshold, such as 0.8")
            return self

    options: Options

    @property
    def whole_task(self) -> str:
        threshold = self.options.threshold
        return f"with threshold: {threshold} holds out a tenth of" if threshold in HOLD_OUT else ""

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.memory.relabelling import OnlineRelabelling as Plugin

        options = self.options
        return [
            Plugin(
                options.threshold,
                options.fallback,
                options.ternary,
                context.tasks,
                context.snapshot,
                context.held_out if options.threshold in HOLD_OUT else None,
            )
        ]

    def first_task_key(self) -> str | None:
        return "or adaptive" if self.options.threshold in HOLD_OUT else ""  # which hold images out from the start
