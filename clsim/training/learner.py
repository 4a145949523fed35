"""The contract between the training loop and the plugins of a method: what a plugin may use, and nothing else.

`MultiLabelTemplate` fulfils it, and mypy checks both sides. Nothing in it leads to a label that the stream hides: it
has no benchmark, no other stream than the one being trained, no evaluator and no scenario. A plugin that reaches for
`learner.benchmark` gets an error from mypy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from clsim.models.network import MultiLabelNet
from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.scenario.training_schema import TrainingSection
from clsim.training.batches import EpochLoader
from clsim.training.outputs import Outputs
from clsim.training.ranks import Part

if TYPE_CHECKING:
    from clsim.training.plugin import Plugin

Kind = TypeVar("Kind", bound="Plugin")


@dataclass
class Position:
    """Where a run stands: `step` steps of `epoch` of `task` are done; `started`: the task's before-hooks have run."""

    task: int = 0
    epoch: int = 0
    step: int = 0
    started: bool = False

    @property
    def place(self) -> tuple[int, int, int]:
        """Task, epoch and step, as a path for derived random numbers."""
        return self.task, self.epoch, self.step


class Experience(Protocol):
    """The task being trained, or the pass being scored.

    Avalanche's experience has more, such as its stream and its benchmark. A method uses what is listed here.

    Attributes:
        current_experience: index of the task.
        dataset: the task's rows with their visible labels; while scoring, every label is -1.
        classes_in_this_experience, classes_seen_so_far, previous_classes, future_classes: column indices, ascending. A
            class that comes back is in this experience and among the previous ones.
        old_classes: the previous ones that are not in this experience.
    """

    classes_in_this_experience: list[int]
    old_classes: list[int]
    classes_seen_so_far: list[int]
    previous_classes: list[int]
    future_classes: list[int]

    @property
    def current_experience(self) -> int: ...

    @property
    def dataset(self) -> MultiLabelDataset: ...


class Learner(Protocol):
    """The argument of each event of a plugin: the network, the current batch, and operations on them.

    B is the number of rows in the batch, R of them from a memory, C the number of classes of the stream, S of them seen
    so far. In a run on several ranks, `mb_x` to `distillable` are this rank's part of the batch, and `loss` is that of
    its part until the gradients are there; see `batch_rows`, `part` and `summed`.

    The batch:
        mb_x: images float32 [B, 3, H, W], augmented and normalised; or features float32 [B, d].
        mb_y: targets float32 [B, C]: 1 present, 0 absent, -1 unknown, (0, 1) soft. Plugins may write into it.
        rows: row ids int64 [B], or None where a stock Avalanche loader made the batch. An image has another row id in
            each task.
        mb_output: logits float32 [B, S]. In `after_eval_forward` a plugin may replace it by other scores.
        outputs: from `after_forward` on what the network said of the batch in this step: logits, what its head read
            (`embedding`) and the tokens of a `TokenHead`, all with their graph. A teacher's are `Snapshot.outputs`.
        loss: scalar, the terms added so far in this step.
        replayed: bool [B], rows from a memory. They follow the new rows.
        distillable: bool [B], rows whose unknown old classes a teacher may fill. Plugins may replace it.

    The run:
        position: task, epoch and step being trained.
        experience: the current task.
        online: whether each row of a task comes once, in the batch of one step; a row that has not come is closed.
        is_training: False while the evaluation images are scored.
        train_epochs, steps_per_epoch: length of the current task.
        learning_rate: of the last step.
        config: the scenario's training section.
        seed: the run's seed. Derive random numbers from it and `position` with `clsim.randomness`.
        device: where network and batch are.

    Network and data:
        model: the network. Its head has S outputs.
        optimizer: that of the current task.
        loader: the task's mini-batches.
        adapted_dataset: the rows that are trained on. In `after_train_dataset_adaptation` a plugin may replace it by a
            subset.
        store: images and visible labels of all training rows, by row id.
    """

    mb_output: Tensor
    distillable: Tensor
    adapted_dataset: MultiLabelDataset

    @property
    def mb_x(self) -> Tensor: ...

    @property
    def mb_y(self) -> Tensor: ...

    @property
    def rows(self) -> Tensor | None: ...

    @property
    def outputs(self) -> Outputs: ...

    @property
    def loss(self) -> Tensor: ...

    @property
    def replayed(self) -> Tensor: ...

    @property
    def position(self) -> Position: ...

    @property
    def experience(self) -> Experience: ...

    @property
    def online(self) -> bool: ...

    @property
    def is_training(self) -> bool: ...

    @property
    def train_epochs(self) -> int: ...

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def config(self) -> TrainingSection: ...

    @property
    def seed(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def model(self) -> MultiLabelNet: ...

    @property
    def optimizer(self) -> Optimizer: ...

    @property
    def loader(self) -> EpochLoader: ...

    @property
    def store(self) -> RowStore: ...

    def logits(self, model: torch.nn.Module, x: Tensor) -> Tensor:
        """Run `model` on images or features x [B, ...] in the scenario's precision; float32 [B, outputs]."""
        ...

    def scored(
        self, model: torch.nn.Module, store: RowStore, rows: NDArray[np.int64], *, augmented: str | None = None
    ) -> NDArray[np.float32]:
        """Run `model`, or its `trunk`, on training rows in evaluation mode, without gradient; float32 [n, outputs].

        The model's mode and the random generators are left as they were.

        Args:
            augmented: name of a pass over images changed as `training.augmentation` says, with numbers derived from
                the position and this name; None: images as they are.
        """
        ...

    def loss_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the criterion's loss of any rows, scalar: the sum over known entries / B.

        Args:
            logits: float [B, S].
            targets: float [B, C]: 1 present, 0 absent, (0, 1) soft, -1 unknown.
        """
        ...

    def probabilities(
        self, model: torch.nn.Module, store: RowStore, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return the sigmoid of `scored`: probabilities in 0..1, float32 [n, outputs].

        Args:
            columns: int64 [k]: only these outputs, float32 [n, k]; the others of many rows are never in memory at once.
        """
        ...

    def add_loss(self, name: str, value: Tensor) -> None:
        """Add a scalar term to the loss of this step. Its epoch mean is logged as `loss/<name>`."""
        ...

    @property
    def batch_rows(self) -> int:
        """Rows that the batch has so far, over all ranks of the run."""
        ...

    def part(self, n: int) -> Part:
        """Return this rank's part of n rows that are to be appended to the batch; of a run in one process all."""
        ...

    def summed(self, value: Tensor) -> Tensor:
        """Return a sum over all rows of the batch, from the sum over this rank's rows; in every rank, at each step."""
        ...

    def extend_batch(self, x: Tensor, y: Tensor, index: Tensor, part: Part | None = None) -> None:
        """Append replayed rows to the batch; only in `before_training_iteration`.

        Args:
            x: images [R, 3, H, W], uint8 as `RowStore.stored` gives them or float32 and normalised; or features [R, d].
            y: targets float [R, C].
            index: row ids int64 [R].
            part: which of the rows appended on all ranks they are, from `part(n)`; a run on several ranks needs it.
        """
        ...

    def stop_training(self) -> None:
        """End the training of the current task after this step."""
        ...

    def find_plugin(self, kind: type[Kind]) -> Kind | None:
        """Return the first plugin of a clsim kind in this run, or None."""
        ...

    def notify(self, event: str, **kwargs: Any) -> None:
        """Call `event(learner, **kwargs)` of each plugin that has it, in the order of the plugins."""
        ...
