"""MULTI-LANE (De Min, Mancini, Lathuilière, Roy, Ricci: "Less is more: Summarizing Patch Tokens for efficient
Multi-Label Class-Incremental Learning", CoLLAs 2024, arXiv 2405.15633)."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from clsim import kit

HELD: frozenset[str] = frozenset({"old_classes", "completion", "distillation", "weights", "features"})
"""Claims of parts that hold or teach what earlier tasks learnt."""


class MultiLane(kit.Strategy):
    """One lane per task on a frozen ViT: selectors that summarise patches, prompts, and a linear classifier.

    See `clsim.models.prompted_vit`. An image goes through all lanes, and each gives the logits of its task's classes.
    Only the newest lane learns, so logits of earlier classes never change by a bit. Labels of earlier classes, visible
    or not, change nothing: no weight is left to learn from them.

    It needs a ViT of torchvision or timm with `training.model.freeze: backbone`; features cannot be cached. Published
    recipe: a ViT-B/16 of ImageNet-21k and 1k, Adam and a cosine schedule anew for each task, 30 epochs, no decay.

    DECIDED: written from the equations, not from the released code, whose licence forbids commercial use. The published
    loss is a mean over all classes of the data set, of which those outside the task have no gradient; here it is a sum
    over those of the task, as in all other methods. With Adam the factor is nearly neutral.
    """

    name = "multi-lane"
    family = "architecture"
    year = 2024
    stores = "nothing"
    cost = "a pass of selectors + 1 tokens per task, in addition to the frozen ViT"
    bib = """@inproceedings{demin2024multilane,
  author = {De Min, Thomas and Mancini, Massimiliano and Lathuili{\\`e}re, St{\\'e}phane and Roy, Subhankar and
            Ricci, Elisa},
  title = {Less is more: Summarizing Patch Tokens for efficient Multi-Label Class-Incremental Learning},
  booktitle = {Conference on Lifelong Learning Agents},
  series = {Proceedings of Machine Learning Research},
  volume = {274},
  pages = {852--868},
  year = {2024},
}"""

    class Options(kit.Options):
        selectors: PositiveInt = Field(20, description="G, summaries of the patches (published: COCO 20, VOC 10)")
        prompts: PositiveInt = Field(20, description="L, keys and values put before a block's (COCO 20, VOC 10)")
        blocks: int = Field(5, ge=0, description="first blocks of the ViT that get prompts, at most all")

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        for other in self.others:
            if other.claims & HELD:
                raise kit.StrategyError(
                    f"multi-lane freezes what earlier tasks learnt, so {other.name} has nothing to change there; leave "
                    "it out"
                )
        model = config.training.model
        if model.name == "identity":
            raise kit.StrategyError("multi-lane puts prompts into a frozen ViT, and the data are features; give images")
        for key, given, allowed, word in (
            ("freeze", model.freeze, "backbone", "backbone"),
            ("cache_features", model.cache_features, False, "false"),
            ("hidden", model.hidden, None, "none"),
        ):
            if given != allowed:
                raise kit.StrategyError(
                    f"multi-lane puts prompts into the blocks of a frozen ViT: training.model.{key}: given {given}, "
                    f"allowed: {word}"
                )

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        from clsim.models.prompted_vit import PromptedViT

        options, size = self.options, network.image_size
        assert size is not None, "a network of a scenario has an image size"
        network.backbone = backbone = PromptedViT(network.backbone, size)
        network.head = backbone.new_head(seed, options.selectors, options.prompts, options.blocks)
        return network

    def first_task_key(self) -> str | None:
        options = self.options
        return f"multi-lane selectors={options.selectors} prompts={options.prompts} blocks={options.blocks}"
