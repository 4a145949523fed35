"""GDumb (Prabhu, Torr, Dokania: "GDumb: A Simple Approach that Questions Our Progress in CL", ECCV 2020)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clsim import kit


class GDumb(kit.Strategy):
    """Train a fresh network for each task, only on a balanced memory; its rows are chosen before training.

    An epoch has as many rows as the memory, so its cost is not that of other methods. DECIDED: unknown labels of all
    seen classes are read as absent; else each class would see the rows of its own task only. DECIDED: epochs, optimiser
    and augmentation are the scenario's; the authors' 256 epochs with cutmix are a recipe for one label per image.
    """

    name = "gdumb"
    claims: ClassVar[frozenset[str]] = frozenset({"memory", "old_classes"})
    restarts = True
    family = "replay"
    year = 2020
    stores = "memory rows: images and their labels"
    cost = "less than finetune: it trains on the memory alone"
    bib = """@inproceedings{prabhu2020gdumb,
  author = {Prabhu, Ameya and Torr, Philip H. S. and Dokania, Puneet K.},
  title = {{GDumb}: A Simple Approach that Questions Our Progress in Continual Learning},
  booktitle = {European Conference on Computer Vision},
  year = {2020},
}"""

    class Options(kit.Options):
        selection: Annotated[str, kit.PartOption("selection", "selection_options")] = Field(
            "class-balanced", description="which rows are stored, as of er; one that asks no network"
        )
        selection_options: dict[str, Any] = Field({}, description="options of the selection")
        unknown: Literal["negative", "ignore"] = Field(
            "negative", description="unknown labels of seen classes: read as absent, or left out"
        )

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        kit.Budget.of(config).check(n_classes, config)
        if config.memory.labels == "oracle":
            raise kit.StrategyError("gdumb trains on labels as they were seen: set memory.labels to as_seen")

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.memory.memory_only import MemoryOnly

        options = self.options
        selection = kit.make_selection(options.selection, options.selection_options, "strategy.gdumb.selection")
        memory = kit.Memory(context.budget, selection, context.tasks, context.seed)
        return [MemoryOnly(memory, context.rows, options.unknown == "negative")]
