"""The relational term of AESL (EmoGrowth: Fu et al., ICML 2025, PMLR 267), without its label graph."""

from __future__ import annotations

from pydantic import Field

from clsim import kit


class Relational(kit.Strategy):
    """Hold the similarity of two images' embeddings at its value in the model before the task.

        L = ... + weight * mean over pairs i < j of (cos(f_i, f_j) - cos(f'_i, f'_j))^2,   f centred

    See `clsim.training.relations`. It holds the embeddings and not the scores, so combine it with what holds these:
    `lwf+relational`. All rows of a batch count, replayed ones too.
    """

    name = "relational"
    family = "distillation"
    year = 2025
    stores = "the model before the task"
    cost = "a forward pass of that model in each step, and similarities of all pairs of a batch"
    bib = """@inproceedings{fu2025emogrowth,
  author = {Fu, Kaicheng and Du, Changde and Peng, Jie and Wang, Kunpeng and Zhao, Shuangchen and Chen, Xiaoyu and
            He, Huiguang},
  title = {{EmoGrowth}: Incremental Multi-label Emotion Decoding with Augmented Emotional Relation Graph},
  booktitle = {International Conference on Machine Learning},
  series = {Proceedings of Machine Learning Research},
  volume = {267},
  year = {2025},
}"""

    class Options(kit.Options):
        weight: float = Field(1.0, ge=0, description="factor of the term")

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        model = config.training.model
        fixed = model.freeze == "backbone" or model.name == "identity"
        if fixed and model.hidden is None and not self.brought("network"):
            raise kit.StrategyError(
                "relational has nothing to hold: the backbone is frozen, so embeddings do not change; set "
                "training.model.hidden, for example to 256, or training.model.freeze: batch-norm"
            )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.relations import RelationalDistillation

        return [RelationalDistillation(self.options.weight, context.snapshot)]

    def first_task_key(self) -> str | None:
        return ""  # the first task has no teacher
