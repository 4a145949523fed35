"""Experience replay (Rolnick et al., NeurIPS 2019) with partially labelled exemplars."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clsim import kit


class ER(kit.Strategy):
    """Replay stored rows with the labels that were visible when they were stored.

    DECIDED: by default the memory is added to the task's data (as KRT does), not paired row by row with the new images:
    better on all validation streams of docs/rebll.md, where a paired memory of few rows is learnt by heart.
    """

    name = "er"
    claims: ClassVar[frozenset[str]] = frozenset({"memory"})
    family = "replay"
    year = 2019
    stores = "memory rows: images and their labels"
    cost = "memory rows: further steps (concat) or rows in each step (paired)"
    bib = """@inproceedings{rolnick2019experience,
  author = {Rolnick, David and Ahuja, Arun and Schwarz, Jonathan and Lillicrap, Timothy and Wayne, Gregory},
  title = {Experience Replay for Continual Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}"""

    class Options(kit.Options):
        selection: Annotated[str, kit.PartOption("selection", "selection_options")] = Field(
            "class-balanced",
            description="which rows of a task are stored: class-balanced, herding, random, reservoir, prs, ocdm, cbrs, "
            "label-density, rainbow, gss, or file.py:Name",
        )
        selection_options: dict[str, Any] = Field(
            {}, description="options of the selection; clsim parts selection NAME"
        )
        replay: Literal["concat", "paired"] = Field(
            "concat", description="the memory added to the task's data, or one memory row for each new row of a step"
        )
        current_classes: Literal["negative", "ignore", "refresh"] = Field(
            "negative",
            description="unknown classes of the current task in memory rows: read as absent, left out, or told by the "
            "model itself at the start of every epoch",
        )
        other_classes: Literal["distil", "negative", "ignore"] = Field(
            "distil",
            description="other unknown classes of memory rows: of a teacher if any, read as absent, left out",
        )

    options: Options

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        if config.memory.budget == "none":
            raise kit.StrategyError("er needs a memory: set memory.budget, for example to {per_class: 4}")
        kit.Budget.of(config).check(n_classes, config)
        if config.stream.online is not None:
            options, key = self.options, "strategy.er"
            selection = kit.make_selection(options.selection, options.selection_options, f"{key}.selection")
            kit.check_online_replay(key, selection, options.selection, options.replay, options.current_classes)

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        options = self.options
        selection = kit.make_selection(options.selection, options.selection_options, "strategy.er.selection")
        memory = kit.Memory(context.budget, selection, context.tasks, context.seed)
        return [kit.Replay(memory, context.rows, options.replay, options.current_classes, options.other_classes)]

    def first_task_key(self) -> str | None:
        return ""  # the memory is empty until the first task ends
