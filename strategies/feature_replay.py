"""Feature replay: Gaussian features of earlier tasks in place of stored rows, learnt from by gradient steps.

The insight of `moments` without its closed form: rows of other tasks are negatives of a task's classes, and on a frozen
backbone a Gaussian stands for them. Related: feature generation for class-incremental learning (FeTrIL: Petit et al.,
WACV 2023) and classifier alignment with Gaussian features (SLCA: Zhang et al., ICCV 2023), whose one Gaussian per class
has no form for images of several classes; here it is one mean per task and one covariance for all.
"""

from __future__ import annotations

from pydantic import Field, PositiveInt

from clsim import kit


class FeatureReplay(kit.Strategy):
    """Replay features drawn from Gaussians; labels are absent for the task's classes and unknown for all others."""

    name = "feature-replay"
    claims = frozenset({"memory"})
    family = "replay"
    stores = "a mean of features per task, one covariance of low rank"
    cost = "drawn features in each step, through the head only"
    whole_task = "fits Gaussians to"

    class Options(kit.Options):
        rank: PositiveInt = Field(32, description="rank of the covariance within tasks; the rest is its diagonal")
        share: float = Field(1.0, gt=0, description="drawn features for each new row of a step")

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        model = config.training.model
        if model.cache_features is not True and model.name != "identity":
            raise kit.StrategyError(
                "feature-replay needs features as data: set training.model.freeze to 'backbone' and "
                "training.model.cache_features to true"
            )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        return [
            kit.GaussianFeatures(context.new_model().n_features, self.options.rank, self.options.share, context.seed)
        ]

    def first_task_key(self) -> str | None:
        return ""  # there is nothing to replay before the first task ends
