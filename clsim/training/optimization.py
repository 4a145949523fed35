"""Optimiser and learning-rate schedule of one task."""

from __future__ import annotations

import inspect
import math
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from clsim.errors import ClsimError, RunError
from clsim.parts import find, made
from clsim.plugin_files import told
from clsim.scenario.training_schema import OptimizerSection, ScheduleSection, name_and_options


def build_optimizer(config: OptimizerSection, model: nn.Module, first_task: bool) -> Optimizer:
    """A new optimiser over every trainable parameter, each once.

    Built anew for each task, after the head has grown: an optimiser that outlives the growth never trains the new
    rows. DECIDED: weight decay acts on matrices and kernels, not on biases and norms (as the KRT recipe).

    A module may have an attribute `lr_factor`: its own parameters then learn at that multiple of the rate. They are in
    groups of their own, after those of all others.

    torch's fused steps: one pass over each parameter, on a CPU 3 to 4 times as fast as its default.
    """
    lr = config.lr if first_task else (config.later_lr or config.lr)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    factors = {
        id(parameter): factor
        for module in model.modules()
        if (factor := getattr(module, "lr_factor", None)) is not None
        for parameter in module.parameters(recurse=False)
    }
    groups = []
    for factor in sorted({factors.get(id(p), 1.0) for p in trainable}, key=lambda factor: (factor != 1, factor)):
        own = [p for p in trainable if factors.get(id(p), 1.0) == factor]
        for decay, members in (
            (config.weight_decay, [p for p in own if p.ndim > 1]),
            (0.0, [p for p in own if p.ndim <= 1]),
        ):
            if members:
                groups.append({"params": members, "weight_decay": decay, "lr": factor * lr})
    more: dict[str, Any] = {"lr": lr}
    if config.name in ("adamw", "adam", "sgd"):
        more["fused"] = True
    if config.name == "sgd":
        more["momentum"] = config.momentum
    ours = {key: value for key, value in more.items() if key not in config.options}
    optimizer = _made("optimizer", config.name, config.options, groups, **ours)
    if not isinstance(optimizer, Optimizer):
        raise RunError(f"training.optimizer: {config.name} makes {type(optimizer).__name__}, expected an Optimizer")
    if config.weight_decay and "weight_decay" not in optimizer.defaults:
        raise RunError(f"training.optimizer.weight_decay: {config.name} knows none; allowed: 0")
    return optimizer


def one_cycle(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Rise to the rate of each group within the first fifth and fall to nearly 0 (Smith & Topin, 2018).

    pct_start is 0.2 as in the KRT recipe. Adam's first beta moves against the rate, as in that recipe; sgd keeps the
    momentum it was given.
    """
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=max(2, total_steps),  # a cycle of one step has only its end, at nearly 0
        pct_start=math.nextafter(0.2, 1),  # with 0.2 itself torch divides by zero in a cycle of 5 steps
        cycle_momentum="betas" in optimizer.defaults,
    )


def constant(optimizer: Optimizer) -> LRScheduler:
    """Keep the rate of each group."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def build_schedule(choice: str | ScheduleSection, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Return the schedule over the `total_steps` steps of a task.

    Of its parameters `total_steps` and `T_max` get the steps of the task, `max_lr` the rate of each group.

    Raises:
        PartError, RunError: no such schedule or options, or not a scheduler that steps by itself.
    """
    name, options = name_and_options(choice)
    fitting = {
        "total_steps": total_steps,
        "T_max": total_steps,
        "max_lr": [group["lr"] for group in optimizer.param_groups],
    }
    known = inspect.signature(find("schedule", name)).parameters
    ours = {key: value for key, value in fitting.items() if key in known}
    schedule = _made("schedule", name, options, optimizer, **ours)
    if not isinstance(schedule, LRScheduler) or isinstance(schedule, ReduceLROnPlateau):
        raise RunError(
            f"training.schedule: {name} makes {type(schedule).__name__}, expected an LRScheduler without metric"
        )
    return schedule


def _made(kind: str, name: str, options: dict[str, Any], *given: Any, **more: Any) -> Any:
    """Make an optimiser or schedule from the user's options and what clsim has for it."""
    constructor = made(kind, name, options, f"training.{kind}")
    try:
        return constructor(*given, **more)
    except ClsimError:
        raise
    except Exception as error:
        raise RunError(f"training.{kind}: {name} cannot be made: {told(error)}") from error
