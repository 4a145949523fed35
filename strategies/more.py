"""MORE, model rebalancing (Luo et al., "Long-tailed Recognition with Model Rebalancing", NeurIPS 2025)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from clsim import kit

Weight = Annotated[float, Field(ge=0)]


class MORE(kit.Strategy):
    """Train each weight as G + BA and make frequent classes rely on G; BA is merged when the task ends (MORE).

        L = L_all + amplitude sin(pi step / steps) L_MORE,   see `rebalancing_loss` in clsim.training.more.plugin

    It combines with any loss and any other part: `er+more`, `rebll+more`, `finetune+more` on one joint task. Inference
    costs what it costs without. The paper is about single labels; what it means in a multi-label stream is DECIDED in
    clsim.training.more.plugin. DECIDED: amplitude 0.5 by default. The published one is about 2, where a re-run saw no
    effect; sweep it, with 0 as the control.
    """

    name = "more"
    claims: ClassVar[frozenset[str]] = frozenset({"weights"})
    whole_task = "weighs classes by the labels of"
    report_section: ClassVar[str] = "clsim.strategies.report_sections.more:section"
    family = "imbalance"
    year = 2025
    stores = "nothing"
    cost = "a second pass in each step, with gradients or without (gradient)"
    bib = """@inproceedings{luo2025longtailed,
  author = {Luo, Jiaan and Hong, Feng and Hu, Qiang and Cao, Xiaofeng and Liu, Feng and Yao, Jiangchao},
  title = {Long-tailed Recognition with Model Rebalancing},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2025},
}"""

    class Options(kit.Options):
        amplitude: float = Field(
            0.5, ge=0, description="A', factor of the term in the middle of a task; 0: decomposed, but no term"
        )
        rank: float = Field(0.1, gt=0, le=1, description="rank of BA, as a share of a weight's smaller dimension")
        gradient: Literal["full", "student_only"] = Field(
            "full", description="of the general path too (as published, twice the cost), or of the full path only"
        )
        weights: Literal["exposure", "class", "sample", "uniform"] = Field(
            "exposure",
            description="what an entry counts: by its class where it is present and by its image's classes where not; "
            "by class; by image (as published); all the same",
        )
        kappa: float = Field(
            0.0, ge=0, le=1, description="0: weights by what this task's batches hold; 1: by all positives seen so far"
        )
        clip: tuple[Weight, Weight] = Field(
            (0.02, 10.0), description="least and greatest weight of a class, before clipping 1 on average"
        )
        init_b: float = Field(0.0, ge=0, description="standard deviation of B at the start of a task")
        lr_factor: float = Field(1.0, gt=0, description="learning rate of A and B, as a multiple of the others'")

        @model_validator(mode="after")
        def _ascending(self) -> Self:
            if self.clip[0] > self.clip[1]:
                raise ValueError(f"clip must ascend, such as [0.02, 10], given {list(self.clip)}")
            return self

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        model = config.training.model
        if model.freeze == "backbone" and model.hidden is None:
            raise kit.StrategyError(
                "more has nothing to decompose: the backbone is frozen and the head stays whole; set "
                "training.model.hidden, for example to 256, or training.model.freeze: batch-norm"
            )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.models.low_rank import Factors
        from clsim.training.more.plugin import ModelRebalancing

        options = self.options
        return [
            ModelRebalancing(
                amplitude=options.amplitude,
                factors=Factors(options.rank, options.init_b, options.lr_factor),
                gradient=options.gradient,
                kind=options.weights,
                kappa=options.kappa,
                clip=options.clip,
                store=context.rows,
                n_classes=context.n_classes,
                seed=context.seed,
            )
        ]
