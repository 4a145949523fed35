"""CSC's network and loss (Du et al., "Confidence Self-Calibration for Multi-Label Class-Incremental Learning", ECCV
2024, arXiv 2403.12559)."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from pydantic import Field, PositiveInt

from clsim import kit


class CSC(kit.Strategy):
    """A graph of classes on the backbone's feature map, and distillation of old classes with the weight of new ones.

        L = alpha mean over new classes of bce + (1 - alpha) mean over old classes of kd

    See `clsim.models.class_graph`. The head reads the backbone's map, so a frozen backbone needs
    `training.model.cache_features: maps` or false. The published method also takes -0.04 H into the loss, which has a
    part of its own. The first task has no old classes.

    DECIDED: means per term, as published; and the whole is multiplied by |C_t| / alpha, so that the classification term
    is that of all other methods, a sum over known entries divided by the batch size. With Adam only the ratio counts.
    """

    name = "csc"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes", "distillation"})
    leaves: ClassVar[dict[str, str]] = {"old_classes": "completion"}
    family = "architecture"
    year = 2024
    stores = "the model before the task"
    cost = "its head: matrices of classes by classes per image; a forward pass of that model in each step"
    bib = """@inproceedings{du2024confidence,
  author = {Du, Kaile and Zhou, Yifan and Lyu, Fan and Li, Yuyang and Lu, Chen and Liu, Guangcan},
  title = {Confidence Self-Calibration for Multi-Label Class-Incremental Learning},
  booktitle = {European Conference on Computer Vision},
  year = {2024},
}"""

    class Options(kit.Options):
        alpha: float = Field(0.5, gt=0, le=1, description="share of the classification term, against distillation")
        width: PositiveInt = Field(1024, description="e, width of the nodes")

    options: Options

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        from clsim.models.class_graph import ClassGraphHead

        network.head = ClassGraphHead(network.map_place.width, seed, self.options.width)
        return network

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        loss = partial(kit.balanced_distillation, alpha=self.options.alpha)
        return [kit.Distillation(loss, 1.0, context.snapshot)]  # of what no label says

    def first_task_key(self) -> str | None:
        return f"csc width={self.options.width}"  # there is no teacher
