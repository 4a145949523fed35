"""L3A: label-augmented analytic adaptation (Zhang et al., ICML 2025, PMLR 267:74938, arXiv 2506.00816)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from clsim import kit


class L3A(kit.Strategy):
    """Weighted ridge regression on random features; the previous head fills in old classes of new rows.

        z = W' phi,  phi = ReLU(V f),  V random       W = (A + ridge I)^-1 C
        A += sum of om_i phi_i phi_i'                  C += sum of om_i phi_i y_i'

    y_i has the visible labels, and for old classes 1 where sigmoid(z) of the head before is above `threshold`, else 0.
    om_i is the mean over the labels of row i of w_c = K v_c / sum v, v_c = n_c^-1/2 of the n_c visible positives so
    far (K classes seen). Rows of earlier tasks count as absent for new classes and keep the weight they came with.
    """

    name = "l3a"
    family = "closed form"
    year = 2025
    stores = "second moments of random features and a sum of them per class"
    cost = "a pass over the rows of a task and a linear system after it; frozen features need no step"
    bib = """@inproceedings{zhang2025l3a,
  author = {Zhang, Xiang and He, Run and Jiao, Chen and Fang, Di and Li, Ming and Zeng, Ziqian and Chen, Cen and
            Zhuang, Huiping},
  title = {{L3A}: Label-Augmented Analytic Adaptation for Multi-Label Class Incremental Learning},
  booktitle = {International Conference on Machine Learning},
  series = {Proceedings of Machine Learning Research},
  volume = {267},
  year = {2025},
}"""
    whole_task = "solves for its head from"

    class Options(kit.Options):
        features: Literal["frozen", "first-task"] = Field(
            "frozen",
            description="frozen: the scenario's backbone, with training.model.freeze: backbone; first-task: trained in "
            "the first task only, as in the paper",
        )
        expansion: PositiveInt = Field(4096, description="width of the random layer; keeps 4 expansion^2 bytes")
        ridge: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
            "auto", description="strength of the ridge; auto: 0.001 of A's trace; the paper's code: 1000"
        )
        threshold: float = Field(0.7, gt=0, lt=1, description="sigmoid(z) above which an old class counts as present")
        completion: bool = Field(True, description="complete unknown old classes of new rows; else they are absent")
        weighted: bool = Field(True, description="weigh rows by their classes' frequency")
        solver: Literal["sums", "recursive"] = Field(
            "sums", description="keep A and C, or (A + ridge I)^-1 and W; the same head, for a ridge that is a number"
        )

    options: Options

    @property
    def closed_form(self) -> bool:
        return self.options.features == "frozen"

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        if self.others:
            raise kit.StrategyError("l3a solves for the whole head and stands alone")
        kit.check_features("l3a", self.options.features, config, None)
        if self.options.solver == "recursive" and self.options.ridge == "auto":
            raise kit.StrategyError("strategy.l3a.ridge: given 'auto', expected a number with solver: recursive")

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        expansion = self.options.expansion
        solved = kit.ClosedFormHead(network.n_features, seed, False, expansion, constant=False)
        return kit.with_solved_head(network, solved, self.options.features, alone=True)

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        options, width = self.options, self.options.expansion
        ridge = None if options.ridge == "auto" else options.ridge
        solver = (
            kit.RecursiveRidge(width, ridge)
            if options.solver == "recursive" and ridge is not None
            else kit.RidgeSums(width, ridge)
        )
        threshold = options.threshold if options.completion else None
        return [kit.WeightedAnalytic(solver, options.features, threshold, options.weighted)]
