"""Avalanche's own methods on multi-label streams: adapters for some, and a refusal where nothing else would say it.

docs/avalanche.md lists what works as it is, what needs an adapter, and what cannot work.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from avalanche.benchmarks.utils import make_avalanche_dataset
from avalanche.benchmarks.utils.data_attribute import TensorDataAttribute
from avalanche.benchmarks.utils.flat_data import FlatData
from avalanche.core import SupervisedPlugin
from avalanche.models.base_model import BaseModel
from avalanche.training.storage_policy import ReservoirSamplingBuffer
from avalanche.training.supervised.der import DER, compute_dataset_logits
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn

from clsim.errors import RunError

UNUSABLE = {
    "SynapticIntelligencePlugin": "computes zero importances on a CPU in version 0.6 and trains as fine-tuning does; "
    "use si",
    "LwFPlugin": "takes a softmax over classes, of which each image has one; use lwf",
    "RARPlugin": "moves samples to another class, of which each image has one; only use_adversarial_replay=False works",
    "_ICaRLPlugin": "classifies by the mean of a class, of which each image has one; use er",
}
"""Stock plugins that train and are wrong, or fail without a reason: name -> why, and what to use."""


def refuse_unusable(plugins: Iterable[Any]) -> None:
    """Refuse stock plugins, or subclasses of them, that cannot work on a multi-label stream and would not say so.

    Raises:
        RunError: one of `UNUSABLE` is there.
    """
    for plugin in plugins:
        for kind in type(plugin).__mro__:
            stock = kind.__module__.startswith("avalanche.") and kind.__name__ in UNUSABLE
            if stock and getattr(plugin, "use_adversarial_replay", True):  # RAR without it only replays
                raise RunError(f"{kind.__name__} of Avalanche {UNUSABLE[kind.__name__]}")


class TrainMode(SupervisedPlugin[Any]):
    """Set the model to training mode before each forward pass.

    Put it behind a plugin that leaves the model in evaluation mode, so that its batch norm tracks no batch: Avalanche's
    `RWalkPlugin` and `LFLPlugin` do.
    """

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.train()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


class FeatureModel(nn.Module, BaseModel):
    """A network that exposes its features for Avalanche's `LFLPlugin` and `FeatureDistillationPlugin`.

    Args:
        trunk: images [B, 3, H, W] -> features float [B, d].
        head: features -> logits [B, C]. `LFLPlugin` freezes the last linear layer after the first task.

    Attributes:
        features: of the last forward pass, float [B, d]; None before the first.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.features: Tensor | None = None

    def get_features(self, x: Tensor) -> Tensor:
        """Return the features of x, float [B, d]."""
        features: Tensor = self.trunk(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of x, [B, C]."""
        self.features = self.get_features(x)
        logits: Tensor = self.head(self.features)
        return logits

    def __deepcopy__(self, memo: dict[int, Any]) -> FeatureModel:
        """Copy without `features`, which belong to a graph and cannot be copied."""
        with torch.no_grad():
            return FeatureModel(copy.deepcopy(self.trunk, memo), copy.deepcopy(self.head, memo))


class MultiLabelDER(DER):
    """Avalanche's DER and DER++ with any criterion and a reservoir, in place of softmax and class buffers.

    loss = criterion(new rows) + alpha * MSE(logits of memory rows, those stored) + beta * criterion(memory rows)

    All options are those of Avalanche's `DER`. The model has all outputs from the beginning.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.storage_policy: Any = _ReservoirWithLogits(self.mem_size)

    def training_epoch(self, **kwargs: Any) -> None:
        """Train an epoch with `criterion`, which Avalanche's own loop replaces by a cross-entropy."""
        SupervisedTemplate.training_epoch(self, **kwargs)

    def criterion(self) -> Tensor:
        """Return the loss of the batch, whose first rows are from the memory where there is one."""
        if not self.is_training or self.replay_loader is None:
            return super().criterion()
        n = self.batch_size_mem
        out, y = self.mb_output, self.mb_y
        new = self._criterion(out[n:], y[n:])
        logits = nn.functional.mse_loss(out[:n], self.batch_logits)
        loss: Tensor = new + self.alpha * logits + self.beta * self._criterion(out[:n], y[:n])
        return loss


class _ReservoirWithLogits(ReservoirSamplingBuffer):
    """A reservoir of rows and of the logits that the model gave them at the end of their task."""

    def update(self, strategy: Any, **kwargs: Any) -> None:
        data = strategy.experience.dataset
        logits = compute_dataset_logits(data.eval(), strategy.model, strategy.train_mb_size, strategy.device)
        stored = FlatData([logits], discard_elements_not_in_indices=True)
        attribute = TensorDataAttribute(stored, name="logits", use_in_getitem=True)
        self.update_from_dataset(make_avalanche_dataset(data, data_attributes=[attribute]))
