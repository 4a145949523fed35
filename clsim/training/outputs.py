"""What a network says of a batch, with what its head reads and the tokens it makes of that, from one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from clsim.models.head import TokenHead


@dataclass(frozen=True)
class Outputs:
    """The results of one forward pass over a batch of B rows.

    Attributes:
        logits: float32 [B, S].
        embedding: what the head reads: features float32 [B, h], or maps float32 [B, d, h, w] or [B, N, d].
        tokens: what a `TokenHead` makes of it, float32 [B, K, e]; None of any other head.
    """

    logits: Tensor
    embedding: Tensor
    tokens: Tensor | None = None


def outputs_of(model: nn.Module, run: Callable[[], Tensor]) -> Outputs:
    """Return the outputs of the forward pass that `run()` makes of a model with a `head`; it returns the logits."""
    head: Any = model.head
    noted: dict[str, Tensor] = {}

    def note_embedding(module: nn.Module, given: tuple[Any, ...]) -> None:
        noted["embedding"] = given[0].float()

    def note_tokens(module: nn.Module, given: tuple[Any, ...]) -> None:
        noted["tokens"] = given[0].float()

    handles = [head.register_forward_pre_hook(note_embedding)]
    if isinstance(head, TokenHead):
        handles.append(head.tap.register_forward_pre_hook(note_tokens))
    try:
        return Outputs(run(), **noted)
    finally:
        for handle in handles:
            handle.remove()
