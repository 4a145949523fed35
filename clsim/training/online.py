"""What a method must forgo in an online stream, whose images come in batches that are gone after one step. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clsim.errors import StrategyError

if TYPE_CHECKING:
    from clsim.training.memory.selection import Selection


def check_online_replay(key: str, selection: Selection, name: str, mode: str, current_classes: str) -> None:
    """Check that a memory works on an online stream, which offers it the new rows of each step.

    Args:
        key: before the names of the options, in messages: "strategy.er".
        name: of the selection.
        mode, current_classes: as of `Replay`.

    Raises:
        StrategyError: with each option that does not, what it may be, and what to type for that.
    """
    refused, instead = [], {}
    if not selection.takes_batches:
        text = f"given {name!r}, which chooses among all rows of a task"
        refused.append(
            f"{key}.selection: {text}, allowed: a shipped one, or a class of yours with takes_batches = True"
        )
        instead["selection"] = "reservoir"
    if mode == "concat":
        instead["replay"] = "paired"
        refused.append(f"{key}.replay: given 'concat', which mixes a memory into the whole of a task, allowed: paired")
    if current_classes == "refresh":
        instead["current_classes"] = "negative"
        text = "given 'refresh', which labels the memory once before an epoch, allowed: negative, ignore"
        refused.append(f"{key}.current_classes: {text}")
    if refused:
        refused.append("because stream.online has a memory change after each step")
        section, _, part = key.rpartition(".")
        if section == "strategy":
            typed = " ".join(f"--set {key}.{option}={value}" for option, value in instead.items())
            settings = ", ".join(f"{part}.{option}={value}" for option, value in instead.items())
            refused.append(f"type {typed}, or in a list of strategies NAME({settings})")
        raise StrategyError("; ".join(refused))
