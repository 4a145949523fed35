"""One step of training: its batch, what the network says of it, its loss terms and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from avalanche.training.templates import SupervisedTemplate
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError
from clsim.models.network import MultiLabelNet
from clsim.scenario.stream.rows import RowStore
from clsim.scenario.training_schema import TrainingSection
from clsim.training import on_ranks
from clsim.training.augmentation.pipeline import Augmentation
from clsim.training.batches import EpochLoader, EvaluationLoader
from clsim.training.finite import FiniteCheck
from clsim.training.image_count import ImageCount
from clsim.training.learner import Position
from clsim.training.outputs import Outputs, outputs_of
from clsim.training.precision import run_network
from clsim.training.ranks import Part, Ranks
from clsim.training.seeding import seed_generators
from clsim.transfer import sent

SCORED_AT_ONCE = 2**14
"""Rows whose scores for all classes are in memory at once, at least, where some columns are asked for."""


class StepTemplate(SupervisedTemplate):
    """Avalanche's template, with what a step of clsim's `MultiLabelTemplate` works on; the loop is there.

    Args:
        config: the scenario's training section.
        seed: the run's seed.
        ranks: the processes of the run.
        of_avalanche: arguments of Avalanche's template.
    """

    model: MultiLabelNet
    device: torch.device
    loader: EpochLoader
    rows: Tensor | None
    mb_output: Tensor
    outputs: Outputs

    def __init__(self, *, config: TrainingSection, seed: int, ranks: Ranks, **of_avalanche: Any) -> None:
        super().__init__(**of_avalanche)
        self.config = config
        self.seed = seed
        self.ranks = ranks
        self.augmentation = Augmentation(config, seed)
        self.position = Position()
        self.loss_sums: dict[str, Tensor] = {}
        self.rows = None
        self.images = ImageCount()
        self._new_rows = 0
        self._step_rows = 0
        self._replayed = 0
        self._first_replayed = 0
        self._distillable: Tensor | None = None
        self._terms: dict[str, Tensor] = {}
        self._finite = FiniteCheck(self.device)

    # the batch

    def _begin_step(self, batch: list[Tensor]) -> None:
        """Make a batch of the loader the current one: seed the step, move the batch to the device, augment it."""
        self.mbatch = batch
        seed_generators(self.seed, "step", *self.position.place, *self.ranks.seed_path, device=self.device)
        self._unpack_minibatch()
        x = self.augmentation(self.mb_x, "new", *self.position.place, before=self.loader.part.start)
        self.mbatch = [x, *self.mbatch[1:]]
        self._new_rows = self.loader.part.whole if self.dataloader is self.loader else len(x)
        self._first_replayed = len(x)
        self._distillable = None
        self._replayed = 0

    def _unpack_minibatch(self) -> None:
        """Move the batch to the device, and the row ids that its loader has beside it; normalise what is scored."""
        self.mbatch = [sent(part, self.device) for part in self.mbatch]
        if not self.is_training and self.mb_x.dtype == torch.uint8:
            self.mbatch[0] = self.augmentation.normalisation.of_bytes(self.mb_x)
        rows = self.dataloader.rows if isinstance(self.dataloader, EpochLoader | EvaluationLoader) else None
        self.rows = None if rows is None else sent(rows, self.device)

    @property
    def replayed(self) -> Tensor:
        """Which rows of the current batch are from a memory, bool [B]: those that follow the new ones."""
        return torch.arange(len(self.mb_x), device=self.device) >= self._first_replayed

    @property
    def distillable(self) -> Tensor:
        """Rows whose unknown old classes a teacher may fill, bool [B]; all, until a plugin says otherwise."""
        if self._distillable is None:
            self._distillable = torch.ones(len(self.mb_x), dtype=torch.bool, device=self.device)
        return self._distillable

    @distillable.setter
    def distillable(self, rows: Tensor) -> None:
        self._distillable = rows

    @property
    def batch_rows(self) -> int:
        """Rows of the current batch so far, over all ranks."""
        return len(self.mb_x) if self.ranks.alone else self.loader.part.whole + self._replayed

    def part(self, n: int) -> Part:
        """Return this rank's part of n rows that the whole batch gets; of one rank all."""
        return self.ranks.split(n) if self.ranks.divided else Part.all_of(n)

    def summed(self, value: Tensor) -> Tensor:
        """Return a sum over the rows of the whole batch, from that over the rows of this rank."""
        return self.ranks.sum(value) if self.ranks.divided else value

    def extend_batch(self, x: Tensor, y: Tensor, index: Tensor, part: Part | None = None) -> None:
        """Append replayed rows to the current batch, changed as `training.augmentation` says.

        Args:
            x: images [R, 3, H, W], uint8 as `RowStore.stored` gives them or float32 and normalised; or features [R, d].
            y: float [R, C].
            index: row ids, int64 [R].
            part: which of the rows that the whole batch gets they are; needed by a run on several ranks.

        Raises:
            RunError: no part in a run on several ranks.
        """
        if part is None and self.ranks.divided:
            raise RunError("extend_batch: a run on several ranks must be told part=, from learner.part")
        part = part or Part.all_of(len(x))
        before = self._replayed + part.start
        self._replayed += part.whole
        if not len(x):
            return
        x = self.augmentation(sent(x, self.device), "replayed", *self.position.place, before=before)
        new = [x, sent(y, self.device), torch.zeros(len(x), dtype=torch.long, device=self.device)]
        self.mbatch = [torch.cat(pair) for pair in zip(self.mbatch, new, strict=True)]
        if self.rows is not None:
            self.rows = torch.cat([self.rows, sent(index, self.device)])
        if self._distillable is not None:
            self._distillable = torch.cat([self._distillable, self._distillable.new_ones(len(x))])

    # what a network says

    def forward(self) -> Tensor:
        """Logits of the current batch, float [B, seen classes]."""
        self.outputs = outputs_of(self.model, lambda: self.logits(self.model, self.mb_x))
        return self.outputs.logits

    def logits(self, model: torch.nn.Module, x: Tensor) -> Tensor:
        """What a module says of images [B, 3, H, W], in the scenario's precision; float32 [B, its outputs]."""
        return run_network(model, x, self.config)

    def probabilities(
        self, model: torch.nn.Module, store: RowStore, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return scores of training rows in evaluation mode, in 0..1, float32 [n, outputs], or [n, k] of k columns."""
        unit = 64 * self.eval_mb_size  # batches stay those of one pass, and so do the elements of a vector
        block = -(-SCORED_AT_ONCE // unit) * unit
        parts = []
        for at in range(0, max(1, len(rows)), block):
            part = torch.from_numpy(self.scored(model, store, rows[at : at + block])).sigmoid().numpy()
            parts.append(part if columns is None else part[:, columns])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @torch.no_grad()
    def scored(
        self,
        model: torch.nn.Module,
        store: RowStore,
        rows: NDArray[np.int64],
        dealt: bool = True,
        *,
        augmented: str | None = None,
    ) -> NDArray[np.float32]:
        """Outputs of a model, or of its backbone, for training rows under evaluation mode, float32 [n, outputs].

        The model's mode and the random generators are left as they were. Where several ranks call it, each runs its
        share of the batches; with `dealt=False` the one that calls it runs all.

        Args:
            augmented: name of a pass over images changed as `training.augmentation` says; None: images as they are.
        """
        modes = {module: module.training for module in model.modules()}
        model.to(self.device).eval()
        parts, size = [], self.eval_mb_size
        ranks = self.ranks if dealt else Ranks()
        starts = ranks.starts(len(rows), size)
        for start in starts:
            part = rows[start : start + size]
            if augmented is None:
                x = store.images(part, self.device)
            else:
                x = self.augmentation(
                    sent(store.fetched(part), self.device), augmented, *self.position.place, before=start
                )
            store.prefetch(rows[start + starts.step : start + starts.step + size])
            parts.append(self.logits(model, x).cpu().numpy())
        for module, training in modes.items():
            module.training = training
        return ranks.gathered(parts, len(rows), size)

    # loss and gradients

    def loss_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the criterion's loss of any rows, logits float [B, S] and targets float [B, C]; scalar."""
        loss: Tensor = self._criterion(logits, targets)
        return loss

    def _begin_loss(self) -> None:
        self.loss = self._make_empty_loss()
        self._terms = {}

    def add_loss(self, name: str, value: Tensor) -> None:
        """Add a scalar term to the loss of this step; its epoch mean is logged as `loss/<name>`."""
        self.loss = self.loss + value
        if self.ranks.alone:
            self._sum_loss(name, value)
        else:  # once it is that of the whole batch
            self._terms[name] = value.detach() + self._terms.get(name, 0.0)

    def epoch_losses(self) -> dict[str, float]:
        """Mean over the epoch's steps of each loss term, `total` among them."""
        return {name: float(value) / max(1, self.position.step) for name, value in self.loss_sums.items()}

    def _sum_losses(self) -> None:
        """Count the terms of this step that are not counted yet."""
        for name, value in {"total": self.loss}.items() if self.ranks.alone else self._terms.items():
            self._sum_loss(name, value)

    def _sum_loss(self, name: str, value: Tensor) -> None:
        value = value.detach()
        known = self.loss_sums.get(name)
        self.loss_sums[name] = value.double() if known is None else known + value
        self._terms[name] = value

    def backward(self) -> None:
        """Compute the gradients of the loss; where several ranks have a part of the batch each, of the whole batch."""
        self._step_rows = len(self.mb_x)
        self._terms["total"] = self.loss.detach()
        if self.ranks.alone:
            super().backward()
        else:
            self._step_rows, self._terms = on_ranks.backward(self, self._step_rows, self._terms)
            self.loss = self._terms["total"]

    def optimizer_step(self) -> None:
        """One step, after limiting the norm of all gradients together if the scenario says so."""
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        super().optimizer_step()
