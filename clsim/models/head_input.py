"""What the head of a network reads, kept from a forward pass that takes place anyway."""

from __future__ import annotations

from typing import Any

from torch import nn


class HeadInput:
    """Keeps the first input of the head in its next forward pass. `close` it afterwards.

    Attributes:
        value: the input, usually embeddings float [B, h]; None before that pass. Later passes change nothing.

    Args:
        head: of the network.
    """

    def __init__(self, head: nn.Module) -> None:
        self.value: Any = None
        self._handle = head.register_forward_pre_hook(self._keep)

    def _keep(self, head: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.value is None:
            self.value = inputs[0]

    def close(self) -> None:
        """Look no longer."""
        self._handle.remove()
