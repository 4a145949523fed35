"""What the training template does where several ranks train a run; each function does nothing for one alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clsim.errors import RunError
from clsim.training import state
from clsim.training.batches import EvaluationLoader
from clsim.training.seeding import seed_generators
from clsim.training.synced_batch_norm import synchronise

if TYPE_CHECKING:
    from clsim.training.step import StepTemplate
    from clsim.training.template import MultiLabelTemplate


def prepare_task(template: MultiLabelTemplate) -> None:
    """See that the ranks can share the steps of a task that is set up.

    Raises:
        RunError: a plugin has replaced the loader, or a batch norm cannot be synchronised.
    """
    template.ranks.ending = False
    synchronise(template.model, template.ranks)
    if not template.ranks.alone and template.dataloader is not template.loader:
        names = who_replaced(template)
        raise RunError(f"{names} has replaced the data loader, whose batches cannot be divided among several ranks")


def backward(template: StepTemplate, rows: int, terms: dict[str, Tensor]) -> tuple[int, dict[str, Tensor]]:
    """Compute the gradients of the whole batch; return its rows and loss terms, from those of this rank."""
    groups = [parameter for group in template.optimizer.param_groups for parameter in group["params"]]
    trained = {id(parameter): parameter for parameter in [*template.model.parameters(), *groups]}
    whole = template.ranks.backward(template.loss, trained.values(), rows, terms, bool(template.retain_graph))
    _take_end(template)
    return whole


def begin_epoch(template: MultiLabelTemplate) -> None:
    """End the task's training on all ranks where a plugin of one has asked for it since the last step."""
    if not template.ranks.alone:
        template.ranks.ending = bool(template.ranks.sum(torch.tensor(int(template.ranks.ending))))
        _take_end(template)


def _take_end(template: StepTemplate) -> None:
    template._stop_training = template._stop_training or template.ranks.ending
    template.ranks.ending = False


def end_epoch(template: MultiLabelTemplate) -> None:
    """See that all ranks have the same weights, and let them draw alike until the next step.

    Raises:
        RunError: they differ.
    """
    if not template.ranks.alone:
        at = "after task {}, epoch {}, step {}".format(*template.position.place)
        template.ranks.refuse_divergence(template.model, at, _unknown_plugins(template))
        seed_generators(template.seed, "epoch end", *template.position.place[:2], device=template.device)


def score(template: MultiLabelTemplate, **kwargs: Any) -> None:
    """Score the evaluation stream, each rank its batches; then call the last event of every batch, in order, on all.

    In that event `mb_output` and `rows` are those of the batch, `mb_x` is not.
    """
    loader: Any = template.dataloader
    if not isinstance(loader, EvaluationLoader):
        raise RunError("a plugin has replaced the loader of the evaluation stream, which several ranks must divide")
    parts = []
    for template.mbatch in loader:
        template._unpack_minibatch()
        template._before_eval_iteration(**kwargs)
        template._before_eval_forward(**kwargs)
        template.mb_output = template.forward()
        template._after_eval_forward(**kwargs)
        parts.append(template.mb_output.float().cpu().numpy())
    data, size = loader.dataset, loader.batch_size
    scores = torch.from_numpy(template.ranks.gathered(parts, len(data), size))
    for start, outputs in zip(range(0, len(data), size), scores.split(size), strict=True):
        template.mb_output = outputs
        template.rows = data.rows_at(np.arange(start, start + len(outputs)))
        template._after_eval_iteration(**kwargs)


def who_replaced(template: MultiLabelTemplate) -> str:
    """Return which plugins may have replaced the data loader, as the subject of a sentence."""
    return " or ".join(_unknown_plugins(template)) or "a plugin"


def _unknown_plugins(template: MultiLabelTemplate) -> list[str]:
    """Return the names of the plugins that do not come with clsim."""
    plugins: list[Any] = [plugin for plugin in template.plugins if not isinstance(plugin, state.OF_AVALANCHE)]
    return [type(plugin).__name__ for plugin in plugins if type(plugin).__module__.partition(".")[0] != "clsim"]
