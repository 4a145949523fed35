"""A quadratic penalty on all weights of a network at once, and the base of methods that differ in its importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.plugin import Plugin

Named = dict[str, Tensor]
"""Tensors by the names of the network's parameters."""


def plus_penalty(
    total: Tensor, weights: Sequence[Tensor], saved: Sequence[Tensor], importances: Sequence[Tensor]
) -> Tensor:
    """Return total + sum of importance (weight - saved)^2, with a gradient for the weights.

    A GPU gets a few operations in all, where one weight after the other asks for ten operations each. On a CPU the sum
    has the bits of Avalanche's `EWCPlugin`, which goes from weight to weight; gradients have them on any device.

    Args:
        total: scalar.
        weights, saved, importances: tensors of equal shapes; no importance is below 0.
    """
    result: Tensor = _PlusPenalty.apply(total, saved, importances, *weights)
    return result


class _PlusPenalty(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, total: Tensor, saved: Sequence[Tensor], importances: Sequence[Tensor], *weights: Tensor
    ) -> Tensor:
        ctx.moved = torch._foreach_sub(weights, saved)  # type: ignore[arg-type]
        ctx.importances = importances
        parts = torch._foreach_mul(torch._foreach_pow(ctx.moved, 2), importances)  # type: ignore[arg-type]
        if total.device.type != "cpu" and parts:
            return total + torch.stack(torch._foreach_norm(parts, 1)).sum()
        for part in parts:
            total = total + part.sum()
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        parts = torch._foreach_mul(ctx.importances, gradient)
        torch._foreach_mul_(parts, torch._foreach_mul(ctx.moved, 2))
        return gradient, None, None, *parts


def grown(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor with the shape and device of a parameter that may have grown; 0 where it has."""
    if tensor.shape == like.shape and tensor.device == like.device:
        return tensor
    result = torch.zeros_like(like, requires_grad=False)
    result[tuple(slice(n) for n in tensor.shape)] = tensor.to(like.device)
    return result


def copied(tensors: Mapping[str, Tensor]) -> Named:
    """Return detached copies."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


class WeightPenalty(Plugin):
    """Base of penalties on changes of weights, each weighted by its importance for earlier tasks.

        L += weight sum_theta importance (theta - anchor)^2,   from the second task on

    A method calls `consolidate` after a task has been trained. New rows of a head have importance 0 until then.

    Attributes:
        anchors: the weights after the task before, by parameter; empty in the first task.
        importances: of these weights, not below 0.

    Args:
        weight: factor of the penalty.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.anchors: Named = {}
        self.importances: Named = {}

    def consolidate(self, learner: Learner, importances: Named) -> None:
        """Make the current weights the anchors.

        Args:
            importances: of each trainable parameter, of its shape, over all tasks so far.
        """
        parameters = dict(learner.model.named_parameters())
        self.importances = dict(importances)
        self.anchors = copied({name: parameters[name] for name in importances})

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Fit what is kept to the network of the task, whose head may have grown."""
        self._fit(dict(learner.model.named_parameters()))

    def _fit(self, parameters: Mapping[str, Tensor]) -> None:
        for kept in (self.anchors, self.importances):
            for name, tensor in kept.items():
                if name in parameters:
                    kept[name] = grown(tensor, parameters[name])

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        if self.anchors:
            learner.add_loss("penalty", self.weight * self.penalty(dict(learner.model.named_parameters())))

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return sum of importance (theta - anchor)^2 over the parameters that have one, scalar."""
        known = [name for name in self.anchors if name in parameters]
        if known and self.anchors[known[0]].device != parameters[known[0]].device:
            self._fit(parameters)  # of a resumed run
        weights = [parameters[name] for name in known]
        zero = torch.zeros((), device=weights[0].device if weights else None)
        anchors, importances = ([kept[name] for name in known] for kept in (self.anchors, self.importances))
        return plus_penalty(zero, weights, anchors, importances)

    def state_dict(self) -> dict[str, Any]:
        return {"anchors": copied(self.anchors), "importances": copied(self.importances)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.anchors, self.importances = dict(state["anchors"]), dict(state["importances"])
