"""Weight aligning (Zhao et al., "Maintaining Discrimination and Fairness in Class Incremental Learning", CVPR 2020).

Average precision per class cannot see it: a class's logit becomes a z + b with a > 0, which keeps the order of images.
So mAP, and forgetting in mAP, are those of the host after the same training; what changes are scores at a threshold
(CF1, OF1, FPR), and later tasks through a teacher. A softmax lets new classes outgrow old ones; sigmoids do not
compete, and factors near 1 are to be expected (1.00 to 1.10 on digits with er).
"""

from __future__ import annotations

from typing import ClassVar

from clsim import kit


class WA(kit.Strategy):
    """After each task, scale the head's weights of new classes to the mean norm of old ones; AP does not change.

    The authors' method is `lwf+er+wa`. DECIDED: weights are not clipped to be positive in training, as the authors do
    for a backbone that ends in a ReLU.
    """

    name = "wa"
    claims: ClassVar[frozenset[str]] = frozenset({"calibration"})
    family = "imbalance"
    year = 2020
    stores = "nothing"
    cost = "almost nothing: one factor after each task"
    bib = """@inproceedings{zhao2020maintaining,
  author = {Zhao, Bowen and Xiao, Xi and Gan, Guojun and Zhang, Bin and Xia, Shu-Tao},
  title = {Maintaining Discrimination and Fairness in Class Incremental Learning},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020},
}"""

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        for other in self.others:
            if type(other).network is not kit.Strategy.network:
                raise kit.StrategyError(
                    f"wa needs the linear head of the scenario's network, which {other.name} replaces"
                )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.weight_aligning import WeightAligning

        return [WeightAligning()]

    def first_task_key(self) -> str | None:
        return ""  # the first task has no old classes
