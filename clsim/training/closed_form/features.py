"""What methods with a head in closed form share: where features come from, and the rows of a task in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clsim.errors import StrategyError
from clsim.model_names import NO_BACKBONE
from clsim.models.anchored_backbone import AnchoredBackbone
from clsim.models.closed_form_head import ClosedFormHead, PairedHead
from clsim.models.head import GrowingHead
from clsim.models.network import MultiLabelNet
from clsim.scenario.schema import ScenarioConfig
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin

Features = Literal["frozen", "first-task", "anchor", "transport", "memory"]

CHUNK = 2**22
"""Numbers of phi that are held at once, float64."""


def check_features(name: str, features: Features, config: ScenarioConfig, claims: frozenset[str] | None) -> None:
    """Check that a part's option `features` suits the scenario's backbone and the other parts.

    Args:
        name: of the part.
        features: its option: `frozen`, the scenario's backbone; `first-task`, trained in the first task only; beside
            parts that go on training it `anchor`, a copy made after the first task, or the live one with statistics
            that follow it, by `transport` or from a `memory`.
        claims: what other parts of the composition claim; None: there are no others.

    Raises:
        StrategyError: they do not.
    """
    model = config.training.model
    fixed = model.freeze == "backbone" or model.name == NO_BACKBONE
    given = f"strategy.{name}.features: given {features!r}"
    if claims is not None and features == "first-task":
        raise StrategyError(
            f"{given}, which stands alone; allowed beside other parts: {'frozen' if fixed else 'anchor'}"
        )
    if fixed and features != "frozen":
        raise StrategyError(f"{given}, but the scenario's backbone never changes; allowed: frozen")
    if not fixed and features == "frozen":
        allowed = "first-task" if claims is None else "anchor, transport or memory"
        raise StrategyError(
            f"{given}, but training.model.freeze is {model.freeze!r}, and statistics of features that change mean "
            f"nothing; set training.model.freeze to 'backbone', or strategy.{name}.features to {allowed}"
        )
    if claims is None and features not in ("frozen", "first-task"):
        raise StrategyError(f"{given}, which needs parts that train a head, such as rebll+{name}")
    if features == "memory" and "memory" not in (claims or ()):
        raise StrategyError(f"{given}, which needs a part that brings the memory, such as er+{name}")


def with_solved_head(network: MultiLabelNet, solved: ClosedFormHead, features: Features, alone: bool) -> MultiLabelNet:
    """Return the network with a head in closed form, combined with the trained head if another part trains.

    Args:
        network: a fresh one of the scenario.
        solved: the head, without classes, over the backbone's features.
        features: see `check_features`.
        alone: no other part trains the network.
    """
    if alone and features == "frozen":
        network.head = solved
    else:
        trained = GrowingHead(network.head.n_features, solved.seed)
        combination: Literal["mean", "solved"] = "solved" if features == "first-task" else "mean"
        network.head = PairedHead(trained, solved, network.hidden, combination)
    network.hidden = nn.Identity()
    if features == "anchor":
        network.backbone = AnchoredBackbone(network.backbone)
    return network


def computing_device(learner: Learner) -> torch.device:
    """Return the run's device, or the CPU where that has no float64."""
    return torch.device("cpu") if learner.device.type == "mps" else learner.device


class ClosedForm(Plugin):
    """Base of plugins that compute the head in `finish_model`; with `first-task` later tasks make no training steps.

    Args:
        features: see `check_features`.
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        if self.features == "first-task" and learner.position.task:
            learner.model.backbone.requires_grad_(False)

    def before_training_epoch(self, learner: Learner, **kwargs: Any) -> None:
        if self.features == "first-task" and learner.position.task:
            learner.stop_training()

    def head(self, learner: Learner) -> ClosedFormHead | PairedHead:
        """Return the network's head, which is solved for.

        Raises:
            StrategyError: it is another one.
        """
        head = learner.model.head
        if not isinstance(head, ClosedFormHead | PairedHead):
            raise StrategyError(
                f"{type(self).__name__}: the head is a {type(head).__name__}, expected a ClosedFormHead"
            )
        return head

    def phi(self, learner: Learner, rows: NDArray[np.int64], model: MultiLabelNet | None = None) -> Tensor:
        """Return phi of training rows without augmentation, float64 [n, p], by the network of now or by another."""
        found = learner.scored((model or learner.model).trunk, learner.store, rows)
        return self.head(learner).phi(torch.from_numpy(found).to(computing_device(learner)).double())

    def chunks(self, learner: Learner) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
        """Yield row ids of the task with phi, float64 [n, p], and visible labels, float64 [n, S]; -1 unknown."""
        rows = learner.adapted_dataset.rows()
        size = max(1, CHUNK // self.head(learner).solved.width)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            phi = self.phi(learner, part)
            yield part, phi, learner.store.targets(part)[:, : learner.model.n_classes].to(phi)
