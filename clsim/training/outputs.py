"""What a network says of a batch, with what its head reads, from one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Outputs:
    """What one forward pass gave of a batch of B rows.

    Attributes:
        logits: float32 [B, S].
        embedding: what the head reads, float32 [B, h].
    """

    logits: Tensor
    embedding: Tensor


def outputs_of(model: nn.Module, run: Callable[[], Tensor]) -> Outputs:
    """Return the outputs of the forward pass that `run()` makes of a model with a `head`; it returns the logits."""
    head: Any = model.head
    noted: dict[str, Tensor] = {}

    def note_embedding(module: nn.Module, given: tuple[Any, ...]) -> None:
        noted["embedding"] = given[0].float()

    handle = head.register_forward_pre_hook(note_embedding)
    try:
        return Outputs(run(), **noted)
    finally:
        handle.remove()
