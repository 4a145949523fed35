"""What changes while a template trains, as a dict to save and to continue from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.templates.base_sgd import PeriodicEval

from clsim.errors import NotResumable
from clsim.training.events import provides
from clsim.training.image_count import ImageCount
from clsim.training.learner import Position

if TYPE_CHECKING:
    from clsim.training.template import MultiLabelTemplate

OF_AVALANCHE = (EvaluationPlugin, Clock, PeriodicEval)
"""Plugins that every template has. What they keep is saved apart, or follows from the position."""


def stateful(template: MultiLabelTemplate) -> list[Any]:
    """Return the plugins, metrics and loggers that a state holds, in order.

    Raises:
        NotResumable: a plugin has no `state_dict`, so that the run cannot be resumed.
    """
    owners: list[Any] = [plugin for plugin in template.plugins if not isinstance(plugin, OF_AVALANCHE)]
    observers = [*template.evaluator.metrics, *template.evaluator.loggers]
    owners += [observer for observer in observers if provides(observer, "state_dict")]
    for owner in owners:
        if not provides(owner, "state_dict"):
            raise NotResumable(f"not resumable: plugin {type(owner).__name__} has no state_dict")
    return owners


def state_of(template: MultiLabelTemplate) -> dict[str, Any]:
    """Return everything that changes during training; see `MultiLabelTemplate.state_dict`."""
    return {"plugins": [plugin.state_dict() for plugin in stateful(template)], **task_state(template)}


def task_state(template: MultiLabelTemplate) -> dict[str, Any]:
    """Return what the steps of training change, without what plugins, metrics and loggers have of their own.

    Raises:
        NotResumable: a plugin has replaced the data loader.
    """
    model = template.model
    state: dict[str, Any] = {
        "position": asdict(template.position),
        "model": model.state_dict(),
        "growth": model.growth,
        "frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        "clock": dict(vars(template.clock)),
        "samples_trained": template.samples_trained,
        "images": asdict(template.images),
    }
    if template.position.started:
        if template.dataloader is not template.loader:
            raise NotResumable("not resumable: a plugin has replaced the data loader")
        state["task"] = {
            "optimizer": template.optimizer.state_dict(),
            "schedule": template.schedule.state_dict(),
            "pool": template.loader.pool,
            "loss_sums": dict(template.loss_sums),
            "learning_rate": template.learning_rate,
            "in_eval_mode": [name for name, module in model.named_modules() if not module.training],
            "stopping": template._stop_training,
        }
    return state


def load_state(template: MultiLabelTemplate, state: dict[str, Any]) -> None:
    """Put the template where `state_of` was taken; inside a task, `load_task_state` follows once it is set up."""
    template.model.grow(*state["growth"])
    owned = stateful(template)
    kept = state["plugins"] if template.ranks.rank == 0 else state["plugins"][: len(owned)]  # others observe nothing
    owners = list(zip(owned, kept, strict=True))
    for owner, saved in owners:
        if provides(owner, "rebuild_model"):
            owner.rebuild_model(template.model, saved)
    load_model(template, state)
    for owner, saved in owners:
        owner.load_state_dict(saved)


def load_model(template: MultiLabelTemplate, state: dict[str, Any]) -> None:
    """Load position, network and counts of a `task_state`, and keep the rest for `load_task_state`."""
    template.position = Position(**state["position"])
    template.model.load_state_dict(state["model"])
    for name, parameter in template.model.named_parameters():
        parameter.requires_grad_(name not in state["frozen"])
    template.clock.__dict__.update(state["clock"])
    template.samples_trained = state["samples_trained"]
    template.images = ImageCount(**state.get("images", {}))  # none in a state of an earlier version
    template.saved_task = state.get("task", {})


def load_task_state(template: MultiLabelTemplate) -> None:
    """Load what has been saved of a task into its loader, optimiser and schedule, which must be those of the task."""
    saved, template.saved_task = template.saved_task, {}  # not kept: the optimiser's moments would outlive it
    template.loader.pool = saved["pool"]
    template.make_schedule()
    template.optimizer.load_state_dict(saved["optimizer"])
    template.schedule.load_state_dict(saved["schedule"])
    template.loss_sums = {name: value.to(template.device) for name, value in saved["loss_sums"].items()}
    template.learning_rate = saved["learning_rate"]
    for name, module in template.model.named_modules():
        module.training = name not in saved["in_eval_mode"]
    template._stop_training = saved["stopping"]
