"""The control `er+identity`: what a memory could know that recognises photographs. Not a method."""

from __future__ import annotations

from typing import ClassVar

from clsim import kit


class Identity(kit.Strategy):
    """A control, not a method: infer unknown labels of memory rows from the tasks in which a photograph came back.

    In an overlap stream an earlier image that does not come back in a task has none of its classes. A method must not
    use that, as it is an artefact of how the benchmark is made; `er+identity` shows what it would be worth.
    """

    name = "identity"
    claims: ClassVar[frozenset[str]] = frozenset({"relabelling"})
    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    control = "knows which rows show the same photograph"
    family = "reference"
    stores = "which photograph each row shows"
    cost = "none"
    whole_task = "looks up the labels of"

    def check(self, config: kit.ScenarioConfig, n_classes: int) -> None:
        if not config.stream.overlaps:
            raise kit.StrategyError(
                "identity needs stream.assignment: overlap; where an image is in one task only, that it does not come "
                "back says nothing"
            )

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.memory.photo_identity import PhotoIdentity

        assert context.samples is not None  # because of `control`
        return [PhotoIdentity(context.samples, context.tasks)]

    def first_task_key(self) -> str | None:
        return ""  # the memory is empty until the first task ends
