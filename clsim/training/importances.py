"""What weights mattered for: along the path of training (SI), and for the size of the logits (MAS)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from clsim.models.evaluation_mode import in_evaluation_mode
from clsim.training.learner import Learner
from clsim.training.quadratic_penalty import Named, WeightPenalty, copied, grown


class SynapticIntelligence(WeightPenalty):
    """Importances from the path that weights take in training (SI; Zenke, Poole, Ganguli, ICML 2017).

        omega <- omega - g dtheta                                each step, g without the penalty's gradient
        Omega <- Omega + max(omega, 0) / ((theta_T - theta_0)^2 + xi)   when a task ends

    g is taken before the norm of gradients is clipped; dtheta is what the optimiser did, with its weight decay.
    DECIDED: a negative omega counts as 0: the loss rose along that weight, and a penalty below 0 has no minimum.

    Args:
        weight: factor of the penalty, c.
        damping: xi.
    """

    def __init__(self, weight: float, damping: float) -> None:
        super().__init__(weight)
        self.damping = damping
        self._start: Named = {}
        self._omega: Named = {}
        self._gradients: Named = {}
        self._before: Named = {}

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        super().before_training_exp(learner)
        trained = {name: theta for name, theta in learner.model.named_parameters() if theta.requires_grad}
        self._start = copied(trained)
        self._omega = {name: torch.zeros_like(theta) for name, theta in self._start.items()}

    def after_backward(self, learner: Learner, **kwargs: Any) -> None:
        """Keep gradients and weights of the step, in the few operations on all weights that a GPU wants."""
        parameters = {name: theta for name, theta in self._trained(learner) if theta.grad is not None}
        gradients = [theta.grad.detach() for theta in parameters.values() if theta.grad is not None]
        weights = [theta.detach() for theta in parameters.values()]
        kept = torch._foreach_add(gradients, 0.0)
        self._gradients = dict(zip(parameters, kept, strict=True))
        self._before = dict(zip(parameters, torch._foreach_add(weights, 0.0), strict=True))
        known = [name for name in self.anchors if name in parameters]
        if known and self.weight:
            moved = torch._foreach_sub(
                [self._before[name] for name in known],
                [self.anchors[name] for name in known],
            )
            torch._foreach_mul_(moved, [self.importances[name] for name in known])
            torch._foreach_add_([self._gradients[name] for name in known], moved, alpha=-2 * self.weight)

    def after_update(self, learner: Learner, **kwargs: Any) -> None:
        parameters = dict(learner.model.named_parameters())
        names = list(self._gradients)
        if names:
            moved = torch._foreach_sub(
                [parameters[name].detach() for name in names],
                [self._before[name] for name in names],
            )
            torch._foreach_mul_(moved, [self._gradients[name] for name in names])
            torch._foreach_sub_([self._omega[name] for name in names], moved)
        self._gradients, self._before = {}, {}

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        importances = {}
        for name, theta in self._trained(learner):
            path = self._omega[name].clamp(min=0) / ((theta.detach() - self._start[name]) ** 2 + self.damping)
            earlier = self.importances.get(name)
            importances[name] = path if earlier is None else path + earlier
        self.consolidate(learner, importances)
        self._start, self._omega = {}, {}

    def _trained(self, learner: Learner) -> list[tuple[str, torch.nn.Parameter]]:
        parameters = [(name, theta) for name, theta in learner.model.named_parameters() if name in self._start]
        if parameters and self._start[parameters[0][0]].device != parameters[0][1].device:  # of a resumed run
            for kept in (self._start, self._omega):
                kept.update({name: kept[name].to(theta.device) for name, theta in parameters})
        return parameters

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "start": copied(self._start), "omega": copied(self._omega)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._start, self._omega = dict(state["start"]), dict(state["omega"])


class MemoryAwareSynapses(WeightPenalty):
    """Importances from how much weights change the logits (MAS; Aljundi et al., ECCV 2018).

        Omega <- decay Omega + 1/N sum_batches |d / d theta  sum_{i in batch} sum_{c < S} z_ic^2|   when a task ends

    No label has a part in it. The network is in evaluation mode, images are as stored. DECIDED: logits, not
    probabilities, which saturate; all seen columns.

    Args:
        weight: factor of the penalty, lambda.
        per: batches of the training's size, as the authors' code has them; or row: each row's gradient by itself.
        decay: what earlier importances keep.
    """

    def __init__(self, weight: float, per: Literal["batch", "row"], decay: float) -> None:
        super().__init__(weight)
        self.per = per
        self.decay = decay

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        rows = learner.experience.dataset.rows()
        parameters = {name: theta for name, theta in learner.model.named_parameters() if theta.requires_grad}
        importances = self._of_rows(learner, rows, parameters)
        for name, earlier in self.importances.items():
            if name in importances:
                importances[name] += self.decay * grown(earlier, importances[name])
        self.consolidate(learner, importances)

    def _of_rows(self, learner: Learner, rows: np.ndarray, parameters: dict[str, torch.nn.Parameter]) -> Named:
        model, size = learner.model, learner.config.batch_size if self.per == "batch" else 1
        sums = [torch.zeros_like(theta) for theta in parameters.values()]
        with in_evaluation_mode(model):
            for start in range(0, len(rows), size):
                x = learner.store.images(rows[start : start + size], learner.device)
                norm = learner.logits(model, x).square().sum()
                gradients = torch.autograd.grad(norm, list(parameters.values()), allow_unused=True)
                for total, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        total += gradient.abs()
        return {name: total / max(1, len(rows)) for name, total in zip(parameters, sums, strict=True)}
