"""Experience replay with partially labelled exemplars."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clsim.errors import StrategyError
from clsim.parts import PartOption, option_problems
from clsim.scenario.schema import PerClass, ScenarioConfig, Total
from clsim.training import strategy
from clsim.training.strategy import Context, Strategy


class ER(Strategy):
    """Replay stored rows with the labels they were seen with.

    DECIDED: by default the memory is added to the task's data (as KRT does), not paired row by row with the new images:
    better on all validation streams of docs/rebll.md, where a paired memory of few rows is learnt by heart.
    """

    name = "er"
    claims: ClassVar[frozenset[str]] = frozenset({"memory"})

    class Options(strategy.Options):
        selection: Annotated[str, PartOption("selection", "selection_options")] = Field(
            "class-balanced",
            description="which rows of a task are stored: class-balanced, herding, random, reservoir, or file.py:Name",
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

    def check(self, config: ScenarioConfig, n_classes: int) -> None:
        if config.memory.budget == "none":
            raise StrategyError("er needs a memory: set memory.budget, for example to {per_class: 4}")
        _budget(config).check(n_classes)
        for name, text in option_problems("selection", self.options.selection, self.options.selection_options).items():
            raise StrategyError(f"strategy.er.selection_options.{name}: {text}")

    def plugins(self, context: Context) -> list[Any]:
        from clsim.training.memory import Memory, make_selection
        from clsim.training.replay import Replay

        options = self.options
        selection = make_selection(options.selection, options.selection_options, "strategy.er.selection")
        memory = Memory(_budget(context.config), selection, context.tasks, context.seed)
        return [Replay(memory, context.rows, options.replay, options.current_classes, options.other_classes)]

    def first_task_key(self) -> str | None:
        return ""  # the memory is empty until the first task ends


def _budget(config: ScenarioConfig) -> Any:
    from clsim.training.memory import Budget

    budget = config.memory.budget
    if isinstance(budget, PerClass):
        return Budget(per_class=budget.per_class)
    assert isinstance(budget, Total)
    return Budget(total=budget.total)
