"""A-GEM (Chaudhry, Ranzato, Rohrbach, Elhoseiny: "Efficient Lifelong Learning with A-GEM", ICLR 2019)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from clsim import kit


class AGEM(kit.Strategy):
    """Project each gradient so that no step raises the loss on a memory; the memory itself is not trained on.

        g <- g - (g'r / r'r) r   if g'r < 0,   r: gradient of the scenario's loss on memory rows

    Nothing changes for images of several classes but the loss. It costs a second forward and backward pass per step.
    DECIDED: unknown labels of memory rows are read as `er` reads them, without a teacher. GEM's program over one
    constraint per task is not offered: it keeps a gradient of all weights for each task.
    """

    name = "a-gem"
    claims: ClassVar[frozenset[str]] = frozenset({"memory"})
    family = "gradients"
    year = 2019
    stores = "memory rows: images and their labels"
    cost = "a forward and backward pass over memory rows in each step"
    bib = """@inproceedings{chaudhry2019efficient,
  author = {Chaudhry, Arslan and Ranzato, Marc'Aurelio and Rohrbach, Marcus and Elhoseiny, Mohamed},
  title = {Efficient Lifelong Learning with {A-GEM}},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}"""

    class Options(kit.Options):
        selection: Annotated[str, kit.PartOption("selection", "selection_options")] = Field(
            "class-balanced", description="which rows of a task are stored, as of er"
        )
        selection_options: dict[str, Any] = Field({}, description="options of the selection")
        rows: PositiveInt | None = Field(None, description="memory rows for each step; nothing: as many as the batch")
        current_classes: Literal["negative", "ignore"] = Field(
            "negative", description="unknown classes of the current task in memory rows: read as absent, or left out"
        )
        other_classes: Literal["negative", "ignore"] = Field(
            "ignore", description="other unknown classes of memory rows: read as absent, or left out"
        )

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        kit.Budget.of(config).check(n_classes, config)
        if config.stream.online is not None:
            options, key = self.options, "strategy.a-gem"
            selection = kit.make_selection(options.selection, options.selection_options, f"{key}.selection")
            kit.check_online_replay(key, selection, options.selection, "paired", options.current_classes)

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.memory.projection import GradientProjection

        options = self.options
        selection = kit.make_selection(options.selection, options.selection_options, "strategy.a-gem.selection")
        memory = kit.Memory(context.budget, selection, context.tasks, context.seed)
        unknown = options.current_classes, options.other_classes
        return [GradientProjection(memory, context.rows, options.rows, *unknown)]

    def first_task_key(self) -> str | None:
        return ""  # the memory is empty until the first task ends
