"""AGCN (Du et al., "AGCN: Augmented Graph Convolutional Network for Lifelong Multi-Label Image Recognition", ICME 2022,
arXiv 2203.05534)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from clsim import kit


class AGCN(kit.Strategy):
    """Build classifiers with a graph of classes that occur together; two loss terms hold those of old classes.

        L = alpha mean over new classes of bce + (1 - alpha) mean over old classes of kd
          + graph mean over old classes of ||h_c - h'_c||^2 / 2048

    h_c and h'_c are the classifiers of an old class, now and before the task. See `clsim.models.label_graph` for the
    head and `clsim.training.label_graph` for the graph. The head reads the maximum of the backbone's map, so a frozen
    backbone needs `training.model.cache_features: maps` or false. The first task has no old classes.

    DECIDED: statistics are taken of all rows of a task at once (the batch-by-batch form of the source depends on the
    order of batches and is not built); class vectors are drawn unless a file of GloVe is given, as the paper has it;
    and the whole is multiplied by |C_t| / alpha, so that the classification term is that of all other methods. With
    Adam only the ratios count. DECIDED: `first_threshold` 0.4, where the released code has 0 by an unset variable, so
    that its first graph is complete and uses no statistics; `halve` off, which the released code has and the paper not.
    """

    name = "agcn"
    claims: ClassVar[frozenset[str]] = frozenset({"old_classes", "distillation"})
    family = "architecture"
    year = 2022
    stores = "the model before the task; a number per pair of classes"
    cost = "two forward passes of that model: in each step, and over the rows of a task"
    bib = """@inproceedings{du2022agcn,
  author = {Du, Kaile and Lyu, Fan and Hu, Fuyuan and Li, Linyan and Feng, Wei and Xu, Fenglei and Fu, Qiming},
  title = {{AGCN}: Augmented Graph Convolutional Network for Lifelong Multi-Label Image Recognition},
  booktitle = {IEEE International Conference on Multimedia and Expo},
  year = {2022},
}"""
    whole_task = "counts which classes are shown together in"

    class Options(kit.Options):
        alpha: float = Field(0.07, gt=0, le=1, description="share of the classification term, against distillation")
        graph: float = Field(1e5, ge=0, description="factor of the term that holds old classifiers")
        width: PositiveInt = Field(1024, description="e, width between the two layers of the graph")
        vectors: Annotated[str | None, kit.FILE_CONTENT] = Field(
            None,
            description="file of class vectors in the format of GloVe (published: GloVe, 300 numbers); none: drawn",
        )
        threshold: float = Field(0.4, ge=0, description="P(i | j) from which new classes are linked; 0: all are")
        cross_threshold: float = Field(0.3, ge=0, description="likewise of old and new classes")
        first_threshold: float = Field(0.4, ge=0, description="likewise of the first task's classes (released code: 0)")
        halve: bool = Field(False, description="halve P(new | old) before it is compared (released code)")

    options: Options

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        from clsim.models.label_graph import LabelGraphHead

        file = Path(self.options.vectors) if self.options.vectors else None
        network.head = LabelGraphHead(network.map_place.width, seed, network.class_names, self.options.width, file)
        return network

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.label_graph import GraphOptions, LabelGraph

        options = self.options
        graph = GraphOptions(options.threshold, options.cross_threshold, options.first_threshold, options.halve)
        loss = partial(kit.balanced_distillation, alpha=options.alpha)
        return [
            kit.OldClassesOfNewRows("distil"),
            kit.Distillation(loss, 1.0, context.snapshot),
            LabelGraph(graph, options.graph / options.alpha, context.snapshot),
        ]

    def first_task_key(self) -> str | None:
        if self.options.vectors:
            return None  # the file may have changed between two runs
        return f"agcn width={self.options.width} first_threshold={self.options.first_threshold}"  # there is no teacher
