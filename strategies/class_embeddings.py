"""The network of HCP and KBK, and their unknown class (HCP: Zhang et al., "Specifying What You Know or Not for
Multi-Label Class-Incremental Learning", AAAI 2025, arXiv 2503.17017; KBK: its journal form, arXiv 2608.30316)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clsim import kit


class ClassEmbeddings(kit.Strategy):
    """One embedding per class attends to the backbone's map, and a unit for unknown classes learns from absent ones.

        z_c = <w_c, O_c> + b_c,   O = outputs of the embeddings in self-attention with the map
        L = L_cls + weight L_unknown,   L_unknown = ASL(unit(o_V), 1) + ASL(unit(o_P), 0)

    o_V mixes an image's absent classes' outputs, by their likeness to present ones (KBK) or at random (HCP). Embeddings
    and classifiers of earlier tasks are frozen. See `clsim.models.class_embeddings` and `clsim.training.unknown_class`.
    The head reads the backbone's map, so a frozen backbone needs `training.model.cache_features: maps` or false.

    The whole methods are `kbk` and `hcp`, which fill old classes by pseudo-labels.

    DECIDED: the deep map alone (FP in the papers). KBK's fusion with a map of the middle of the backbone (HFP) is not
    built: a head reads one map. In the paper FP stands behind HFP by 3 points of average mAP on VOC B10-C2.
    """

    name = "class-embeddings"
    family = "architecture"
    year = 2025
    stores = "nothing"
    cost = "self-attention over the positions of the map and the classes"
    bib = """@inproceedings{zhang2025specifying,
  author = {Zhang, Aoting and Yang, Dongbao and Liu, Chang and Hong, Xiaopeng and Zhou, Yu},
  title = {Specifying What You Know or Not for Multi-Label Class-Incremental Learning},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2025},
}"""

    class Options(kit.Options):
        width: PositiveInt | None = Field(
            None, description="e, width of embeddings and map; none: the map's, as published"
        )
        depth: PositiveInt = Field(1, description="number of blocks (published: COCO 1, VOC 3)")
        heads: PositiveInt = Field(4, description="heads of each attention; they divide width")
        unknown: Literal["similar", "random", "none"] = Field(
            "similar", description="how absent classes' outputs are mixed: by likeness (KBK), at random (HCP); or not"
        )
        concentration: float = Field(
            0.2, ge=0.05, le=1, description="of the Beta distribution from which the factors of the mix are drawn"
        )
        weight: float = Field(1.0, ge=0, description="factor of the unknown unit's loss")

    options: Options

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        from clsim.models.class_embeddings import ClassEmbeddingHead

        options, of_map = self.options, network.map_place.width
        width = options.width or of_map
        if width % options.heads:
            whose = "given" if options.width else "the map has"
            raise kit.StrategyError(
                f"strategy.{self.name}.width: must be a multiple of heads, {options.heads}, {whose} {width}"
            )
        network.head = ClassEmbeddingHead(of_map, seed, options.width, options.depth, options.heads)
        return network

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.unknown_class import UnknownClass

        options = self.options
        if options.unknown == "none" or not options.weight:
            return []
        return [UnknownClass(options.unknown, options.concentration, options.weight)]

    def first_task_key(self) -> str | None:
        return "class-embeddings " + self.options.model_dump_json()
