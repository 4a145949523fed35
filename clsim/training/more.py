"""Model rebalancing (MORE; Luo et al., "Long-tailed Recognition with Model Rebalancing", NeurIPS 2025).

Inside a task every weight is W = G + BA: the general path G alone, the full path with the low-rank BA. Classes that
training sees often are pushed to agree on both paths, so that BA is left to the rare ones; at the end of a task it is
merged. The paper is about single labels and one data set. What it says there, and what clsim DECIDED for streams:

* Head and tail are what training sees in this task's mixture of new and replayed rows (`exposure`), not what the stream
  holds: an old class that lives on in a small memory only is tail.
* An image has several labels, known, told by a teacher or unknown: see `rebalancing_loss`.
* The full path carries every other term, distillation too. The general path is not distilled, which would undo the
  reservation, and z_full is never detached.
* Batch norm keeps running statistics of the full path only, and both paths drop out the same units.
* A and B decay like every other matrix.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from numpy.typing import NDArray
from torch import Tensor, nn

from clsim.models.low_rank import (
    Factors,
    decomposable,
    decompose,
    general_path,
    merge,
    relative_sizes,
)
from clsim.randomness import derive_seed
from clsim.scenario.stream.rows import RowStore
from clsim.training.distillation import Distillation
from clsim.training.events import find_plugin
from clsim.training.rebalancing import (
    Floats,
    Weights,
    class_weights,
    exposure,
    rank_correlation,
    rebalancing_loss,
    tail_to_head,
    told_labels,
)
from clsim.training.rebalancing_course import COLLAPSED, DISCREPANCY, OF_LAYER, WEIGHT, schedule
from clsim.training.replay import Replay
from clsim.training.seeding import drawing_again, torch_generators
from clsim.training.unknown import OldClassesOfNewRows

Gradient = Literal["full", "student_only"]

CONFIDENT = 0.8
"""DECIDED: a teacher counts a class as present above it, as online relabelling does; below it half the old classes of a
poorly calibrated teacher would count."""

log = logging.getLogger("clsim")


class ModelRebalancing(SupervisedPlugin):
    """Decomposes the network for each task, adds the discrepancy of its two paths to the loss, and merges it again.

    With amplitude 0 the paths are compared for the report and nothing is added: the control for the decomposition.

    Attributes:
        weights: w of the classes seen so far, float64 [S]; set at the first epoch of a task, and reported even where
            `kind` makes no use of them.
        discrepancy: mean squared difference of the two paths' logits over the rows of the last epoch, float64 [S].

    Args:
        amplitude: A', factor of the term at the middle of a task.
        factors: of the decomposition.
        gradient: student_only computes z_general without gradient: the full path then moves towards the general one,
            not both towards each other, for one more forward pass in place of a second step.
        kind: what an entry's weight is, see `rebalancing_loss`.
        kappa, clip: see `class_weights`.
        store: where the labels of new rows are.
        n_classes: of the whole stream.
        seed: the run's seed.
    """

    def __init__(
        self,
        *,
        amplitude: float,
        factors: Factors,
        gradient: Gradient,
        kind: Weights,
        kappa: float,
        clip: tuple[float, float],
        store: RowStore,
        n_classes: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.amplitude = amplitude
        self.factors = factors
        self.gradient = gradient
        self.kind = kind
        self.kappa = kappa
        self.clip = clip
        self.store = store
        self.seed = seed
        self.decomposed: list[str] = []
        self.positives: Floats = np.zeros(n_classes)
        self.weights: Floats = np.ones(0)
        self._gaps: Tensor | None = None
        self._rows = 0
        self._sizes: dict[str, float] = {}
        self._generators: list[Tensor] = []

    # the life of a decomposition

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.decomposed, left_out = decomposable(strategy.model)
        if left_out and not strategy.position.task:
            log.info("more: grouped convolutions are not decomposed: %s", ", ".join(left_out))
        self._decompose(strategy.model, strategy.position.task)

    def _decompose(self, model: nn.Module, task: int) -> None:
        decompose(model, self.decomposed, self.factors, derive_seed(self.seed, "more", task))

    def rebuild_model(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Decompose the network of a run that is resumed inside a task; its weights are loaded after."""
        self.decomposed = list(state["decomposed"])
        self._decompose(model, 0)

    def finish_model(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Merge, so that teacher, memory and relabelling meet the network without its decomposition."""
        self._sizes = relative_sizes(strategy.model)
        mean = float(np.mean(list(self._sizes.values())))
        if not mean >= COLLAPSED:
            log.warning(
                "more: after task %d the low-rank parts have collapsed: mean ||BA|| / ||W|| is %.2g, below %g; a "
                "smaller amplitude, a larger rank or lr_factor, or init_b above 0 keep them alive",
                strategy.position.task,
                mean,
                COLLAPSED,
            )
        merge(strategy.model)
        self.decomposed = []

    # the weights

    def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self._gaps, self._rows = None, 0
        if strategy.position.epoch == 0:
            self.weights = self._class_weights(strategy)

    def _class_weights(self, strategy: Any) -> Floats:
        """The weights of the task, once the memory, the task's data and the teacher are those of its first step."""
        rows = strategy.adapted_dataset.rows()
        seen = strategy.model.head.n_classes
        shown = (self.store.targets(rows).numpy() == 1).sum(axis=0).astype(np.float64)
        self.positives += shown
        replay = find_plugin(strategy, Replay)
        stored = replay.memory.labels if replay is not None else np.zeros((0, len(shown)), dtype=np.float32)
        rho = exposure(
            shown[:seen],
            len(rows),
            np.clip(stored, 0, None).sum(axis=0, dtype=np.float64)[:seen],
            len(stored),
            replay.share(len(rows)) if replay is not None else 0.0,
            self._told(strategy, rows, seen),
        )
        return class_weights(rho, self.positives[:seen], self.kappa, self.clip)

    def _told(self, strategy: Any, rows: NDArray[np.int64], seen: int) -> Floats | None:
        """Unannotated positives of the new rows that the teacher is confident of, where it is asked about them."""
        distillation, policy = find_plugin(strategy, Distillation), find_plugin(strategy, OldClassesOfNewRows)
        if distillation is None or distillation.teacher is None or (policy is not None and policy.policy != "distil"):
            return None
        scores = strategy.probabilities(distillation.teacher, self.store, rows)
        unknown = self.store.targets(rows).numpy()[:, : scores.shape[1]] < 0
        told = np.zeros(seen)
        told[: scores.shape[1]] = (unknown & (scores > CONFIDENT)).sum(axis=0)
        return told

    # the loss

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self._generators = torch_generators(strategy.device)

    def alpha(self, strategy: Any) -> float:
        """Factor of the term in the current step."""
        position, steps = strategy.position, len(strategy.dataloader)
        return self.amplitude * schedule(position.epoch * steps + position.step, strategy.train_epochs * steps)

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        alpha = self.alpha(strategy)
        with_gradient = alpha > 0 and self.gradient == "full"
        with (
            general_path(strategy.model),
            drawing_again(self._generators, strategy.device),
            nullcontext() if with_gradient else torch.no_grad(),
        ):
            general = strategy.logits(strategy.model, strategy.mb_x)
        full = strategy.mb_output
        self._remember((full - general).detach())
        if alpha > 0:
            weights = torch.from_numpy(self.weights).to(full)
            loss = rebalancing_loss(full, general, self._labels(strategy, full.shape[1]), weights, self.kind)
            strategy.add_loss("more", alpha * loss)

    def _labels(self, strategy: Any, seen: int) -> Tensor:
        distillation = find_plugin(strategy, Distillation)
        if distillation is None or distillation.answer is None:
            return told_labels(strategy.mb_y, seen, None, None)
        return told_labels(strategy.mb_y, seen, distillation.answer, distillation.where(strategy))

    # the report

    def _remember(self, gap: Tensor) -> None:
        squares = gap.double().square().sum(dim=0)
        self._gaps = squares if self._gaps is None else self._gaps + squares
        self._rows += len(gap)

    @property
    def discrepancy(self) -> Floats:
        if self._gaps is None:
            return np.full(len(self.weights), math.nan)
        mean: Floats = self._gaps.cpu().numpy() / self._rows
        return mean

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        """What the task just trained has done, by TensorBoard tag.

        more/low_rank, more_low_rank/<layer>: ||BA|| / ||W|| when merged, the mean over layers and each.
        more_weight/<class>, more_discrepancy/<class>: w_c and the squared difference of the paths in the last epoch.
        more/rank_correlation: Spearman's, of discrepancy and weight; negative if the reservation works.
        more/tail_to_head: see `tail_to_head`.
        """
        weights, discrepancy = self.weights, self.discrepancy
        values = {"more/low_rank": float(np.mean(list(self._sizes.values()))) if self._sizes else math.nan}
        values["more/rank_correlation"] = rank_correlation(discrepancy, weights)
        values["more/tail_to_head"] = tail_to_head(discrepancy, weights)
        values |= {OF_LAYER + name.removesuffix(".weight"): size for name, size in self._sizes.items()}
        for tag, numbers in ((WEIGHT, weights), (DISCREPANCY, discrepancy)):
            values |= {tag + class_names[c]: float(value) for c, value in enumerate(numbers)}
        return values

    # state

    def state_dict(self) -> dict[str, Any]:
        return {
            "decomposed": list(self.decomposed),
            "positives": torch.from_numpy(self.positives.copy()),
            "weights": torch.from_numpy(self.weights.copy()),
            "gaps": self._gaps,
            "rows": self._rows,
            "sizes": dict(self._sizes),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.positives = state["positives"].numpy().copy()
        self.weights = state["weights"].numpy().copy()
        self._gaps = state["gaps"]
        self._rows = state["rows"]
        self._sizes = dict(state["sizes"])
