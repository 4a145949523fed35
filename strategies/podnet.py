"""PODNet (Douillard, Cord, Ollion, Robert, Valle, ECCV 2020), in the form that the KRT family compares with.

DECIDED: the classification term is the scenario's loss on an ordinary head, as in the code of KRT (Dong et al., ICCV
2023), and POD is POD-flat on what the head reads: that code has a factor of 0 for the spatial terms in its COCO and VOC
recipes. The cosine head with several proxies per class is made for a softmax. Which form the published rows "PODNet" of
multi-label tables used is not said.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clsim import kit


class PODNet(kit.Strategy):
    """Hold each image's features near their direction before the task. Combine it with `er` and `lwf`.

        L += weight sqrt(S / classes of the task) 1/B sum_i (1 - cos(h_i, h_i before the task))

    DECIDED: the default weight is that recipe's 180 against a loss that sums over batches of 64: 180 / 64.
    """

    name = "podnet"
    claims: ClassVar[frozenset[str]] = frozenset({"features"})
    family = "distillation"
    year = 2020
    stores = "the model before the task"
    cost = "a forward pass of that model in each step"
    bib = """@inproceedings{douillard2020podnet,
  author = {Douillard, Arthur and Cord, Matthieu and Ollion, Charles and Robert, Thomas and Valle, Eduardo},
  title = {{PODNet}: Pooled Outputs Distillation for Small-Tasks Incremental Learning},
  booktitle = {European Conference on Computer Vision},
  year = {2020},
}"""

    class Options(kit.Options):
        weight: float = Field(2.8125, ge=0, description="factor of the term (lambda_f)")

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        model = config.training.model
        if model.hidden is None and (model.freeze == "backbone" or model.name == "identity"):
            raise kit.StrategyError(
                "podnet binds features that are trained, and here none are: the backbone is frozen; set "
                "training.model.hidden, for example to 256, or training.model.freeze: batch-norm"
            )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.feature_distillation import FeatureDistillation

        return [FeatureDistillation(self.options.weight, context.snapshot)]

    def first_task_key(self) -> str | None:
        return ""  # the first task has no teacher
