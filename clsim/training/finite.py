"""The end of a run whose losses or weights are no longer finite."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.training.learner import Position

LOOK_EVERY = {"cpu": 1}
OTHER_DEVICES = 50
"""Steps between two looks at whether the losses are finite; a look waits for the device, which costs on a GPU."""


class FiniteCheck:
    """Watches the losses of one run.

    Args:
        device: where they are computed.
    """

    def __init__(self, device: torch.device) -> None:
        self.every = LOOK_EVERY.get(device.type, OTHER_DEVICES)
        self.unseen: list[tuple[tuple[int, int, int], Mapping[str, Tensor]]] = []

    def watch(self, position: Position, terms: Mapping[str, Tensor]) -> None:
        """Take the loss terms of a step, `total` among them, before it changes a weight.

        They are looked at now, or on a GPU every `OTHER_DEVICES` steps.

        Raises:
            RunError: as `look`.
        """
        self.unseen.append((position.place, terms))
        if len(self.unseen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at the losses taken since the last look.

        A term that is not finite makes the total so. If only the total is, a plugin has added to it by itself.

        Raises:
            RunError: a loss is not finite. The message names the first such step and the term.
        """
        unseen, self.unseen = self.unseen, []
        if _finite_in_all([terms["total"] for _, terms in unseen]):
            return
        for (task, epoch, step), terms in unseen:
            for name, value in terms.items():
                if not value.isfinite().all():
                    at = f"task {task}, epoch {epoch}, step {step}"
                    raise RunError(f"loss term {name!r} is {float(value)} in {at}; training stopped")

    def look_at_all(self, model: nn.Module, position: Position) -> None:
        """Look at the losses taken so far and at all weights and statistics of a model.

        Raises:
            RunError: one is not finite. The message names where, and the loss term or the weight.
        """
        self.look()
        state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        if _surely_finite(list(state.values())):
            return
        for name, value in state.items():
            if not value.isfinite().all():
                task, epoch, step = position.place
                raise RunError(f"{name} is not finite after task {task}, epoch {epoch}, step {step}; training stopped")


def _finite_in_all(totals: list[Tensor]) -> bool:
    """Tell whether losses of one number each are finite; of one of them as a float, which costs no kernel."""
    if len(totals) == 1:
        return math.isfinite(totals[0].item())
    return not totals or bool(torch.cat(totals).isfinite().all())


def _surely_finite(tensors: list[Tensor]) -> bool:
    """Tell whether the 2-norms of all tensors are finite, and so all numbers; a GPU is waited for once.

    Squares of finite numbers may be infinite: False says nothing. The largest magnitude would be exact, but takes
    twenty times as long on a CPU.
    """
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel():
            by_type.setdefault(tensor.dtype, []).append(tensor)
    finite = [torch.stack(torch._foreach_norm(same)).isfinite().all() for same in by_type.values()]
    return not finite or bool(torch.stack(finite).all())
