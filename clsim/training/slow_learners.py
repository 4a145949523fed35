"""Two slow copies of the network, which memory rows are held to and which images are scored by (CLS-ER)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from clsim.models.network import MultiLabelNet
from clsim.randomness import uniforms
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin

Scored = Literal["stable", "plastic", "network"]


def nearest_answer(targets: Tensor, stable: Tensor, plastic: Tensor) -> Tensor:
    """Return for each entry the logit of the copy that is more right, float [B, S]: for 1 the larger, for 0 the less.

    Args:
        targets: y, float [B, C]; where it is neither 1 nor 0 the stable copy's logit is taken.
        stable, plastic: logits of the copies, float [B, S].
    """
    y = targets[:, : stable.shape[1]]
    of_known = torch.where(y == 1, torch.maximum(stable, plastic), torch.minimum(stable, plastic))
    return torch.where((y == 1) | (y == 0), of_known, stable)


class SlowLearners(Plugin):
    """Keeps a stable and a plastic mean of the network's weights; holds memory rows to them; scores by one of them.

        theta_copy <- a theta_copy + (1 - a) theta   after a step, with the copy's probability,
        a = min(1 - 1 / (step + 1), decay)
        L += weight 1/B sum_{i replayed} sum_{c < S} (z_ic - z_ic of the nearer copy)^2

    Args:
        new_model: makes a network of the run's architecture, to load a saved copy into.
        last_task: index of the last task, after which the network takes the weights of the copy that is scored, so
            that the trained model is the one that was scored.
        weight: factor of the term.
        rates: probability of an update of the stable copy and of the plastic one.
        decay: see above.
        scored: which network scores images.
    """

    def __init__(
        self,
        new_model: Callable[[], MultiLabelNet],
        last_task: int,
        weight: float,
        rates: tuple[float, float],
        decay: float,
        scored: Scored,
    ) -> None:
        super().__init__()
        self.new_model = new_model
        self.last_task = last_task
        self.weight = weight
        self.rates = rates
        self.decay = decay
        self.scored = scored
        self.copies: list[MultiLabelNet] = []
        self.steps = 0

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Make the copies in the first task; later let their heads grow, with the new rows of the network's."""
        if not self.copies:
            self.copies = [copy.deepcopy(learner.model).eval().requires_grad_(False) for _ in self.rates]
        for slow in self.copies:
            slow.grow(learner.model.n_classes)
            slow.to(learner.device).eval().requires_grad_(False)

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        rows = _memory_rows(learner)
        x, y, z = learner.mb_x[rows], learner.mb_y[rows], learner.mb_output[rows]
        if len(x):
            with torch.no_grad():
                stable, plastic = (learner.logits(slow, x) for slow in self._on(learner.device))
            gap = z - nearest_answer(y, stable, plastic)
            learner.add_loss("consistency", self.weight * gap.square().sum() / len(learner.mb_x))

    def after_update(self, learner: Learner, **kwargs: Any) -> None:
        self.steps += 1
        decay = min(1 - 1 / (self.steps + 1), self.decay)
        coins = uniforms(2, learner.seed, "slow learners", *learner.position.place)
        for slow, rate, coin in zip(self._on(learner.device), self.rates, coins, strict=True):
            if coin < rate:
                _follow(slow, learner.model, decay)

    def after_eval_forward(self, learner: Learner, **kwargs: Any) -> None:
        if self.copies and self.scored != "network":
            learner.mb_output = learner.logits(self._answering(learner.device), learner.mb_x)

    def after_training(self, learner: Learner, **kwargs: Any) -> None:
        if learner.experience.current_experience == self.last_task and self.scored != "network":
            learner.model.load_state_dict(self._answering(learner.device).state_dict())

    def _answering(self, device: torch.device) -> MultiLabelNet:
        return self._on(device)[0 if self.scored == "stable" else 1]

    def _on(self, device: torch.device) -> list[MultiLabelNet]:
        """The copies, on a device, where those of a resumed run are not yet."""
        if next(self.copies[0].parameters()).device.type != device.type:
            self.copies = [slow.to(device) for slow in self.copies]
        return self.copies

    def state_dict(self) -> dict[str, Any]:
        saved = [{"model": slow.state_dict(), "growth": slow.growth} for slow in self.copies]
        return {"steps": self.steps, "copies": saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.copies = state["steps"], []
        for saved in state["copies"]:
            slow = self.new_model()
            slow.grow(*saved["growth"])
            slow.load_state_dict(saved["model"])
            self.copies.append(slow.eval().requires_grad_(False))


def _memory_rows(learner: Learner) -> slice | Tensor:
    """Where the rows of a memory are in the batch: behind the new ones, whose number clsim's loader knows."""
    if learner.rows is None:
        return learner.replayed
    part = learner.loader.part
    return slice(part.stop - part.start, None)


@torch.no_grad()
def _follow(slow: MultiLabelNet, network: MultiLabelNet, decay: float) -> None:
    """Move a copy's weights towards the network's, and take over its buffers, such as batch statistics."""
    own, theirs = ([theta.detach() for theta in each.parameters()] for each in (slow, network))
    torch._foreach_mul_(own, decay)
    torch._foreach_add_(own, theirs, alpha=1 - decay)
    for buffer, other in zip(slow.buffers(), network.buffers(), strict=True):
        buffer.copy_(other)
