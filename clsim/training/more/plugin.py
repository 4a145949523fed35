"""Model rebalancing (MORE; Luo et al., "Long-tailed Recognition with Model Rebalancing", NeurIPS 2025).

Inside a task every weight is W = G + BA: the general path G alone, the full path with the low-rank BA. Classes that
training sees often are pushed to agree on both paths, so that BA is left to the rare ones; at the end of a task it is
merged. The paper is about single labels and one data set. What it says there, and what clsim DECIDED for streams:

* Head and tail are what training sees in this task's mixture of new and replayed rows (`exposure`), not what the stream
  holds: an old class that lives on in a small memory only is tail.
* An image has several labels, known, filled by a teacher or unknown: see `rebalancing_loss`.
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
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.more.terms import (
    Floats,
    Weights,
    class_weights,
    exposure,
    filled_labels,
    rank_correlation,
    rebalancing_loss,
    tail_to_head,
)
from clsim.training.plugin import Plugin
from clsim.training.schedules import half_sine
from clsim.training.seeding import drawing_again, torch_generators
from clsim.training.unknown import OldClassesOfNewRows
from clsim.transfer import sent
from clsim.vocabulary import (
    MORE_COLLAPSED,
    MORE_CORRELATION,
    MORE_DISCREPANCY,
    MORE_LOW_RANK,
    MORE_OF_LAYER,
    MORE_TAIL_TO_HEAD,
    MORE_WEIGHT,
)

Gradient = Literal["full", "student_only"]

CONFIDENT = 0.8
"""DECIDED: a teacher counts a class as present above it, as online relabelling does; below it half the old classes of a
poorly calibrated teacher would count."""

log = logging.getLogger("clsim")


class ModelRebalancing(Plugin):
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

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        self.decomposed, left_out = decomposable(learner.model)
        if left_out and not learner.position.task:
            log.info("more: grouped convolutions are not decomposed: %s", ", ".join(left_out))
        self._decompose(learner.model, learner.position.task)

    def _decompose(self, model: nn.Module, task: int) -> None:
        decompose(model, self.decomposed, self.factors, derive_seed(self.seed, "more", task))

    def rebuild_model(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Decompose the network of a run that is resumed inside a task; its weights are loaded after."""
        self.decomposed = list(state["decomposed"])
        self._decompose(model, 0)

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        """Merge, so that teacher, memory and relabelling meet the network without its decomposition."""
        self._sizes = relative_sizes(learner.model)
        mean = float(np.mean(list(self._sizes.values())))
        if not mean >= MORE_COLLAPSED:
            log.warning(
                "more: after task %d the low-rank parts have collapsed: mean ||BA|| / ||W|| is %.2g, below %g; a "
                "smaller amplitude, a larger rank or lr_factor, or init_b above 0 keep them alive",
                learner.position.task,
                mean,
                MORE_COLLAPSED,
            )
        merge(learner.model)
        self.decomposed = []

    # the weights

    def before_training_epoch(self, learner: Learner, **kwargs: Any) -> None:
        self._gaps, self._rows = None, 0
        if learner.position.epoch == 0:
            self.weights = self._class_weights(learner)

    def _class_weights(self, learner: Learner) -> Floats:
        """The weights of the task, once the memory, the task's data and the teacher are those of its first step."""
        rows = learner.adapted_dataset.rows()
        seen = learner.model.n_classes
        shown = (self.store.targets(rows).numpy() == 1).sum(axis=0).astype(np.float64)
        self.positives += shown
        replay = learner.find_plugin(Replay)
        memory = None if replay is None else replay.memory
        stored = np.zeros((0, len(shown)), np.float32) if memory is None else memory.labels[memory.trained]
        rho = exposure(
            shown[:seen],
            len(rows),
            np.clip(stored, 0, None).sum(axis=0, dtype=np.float64)[:seen],
            len(stored),
            replay.share(len(rows)) if replay is not None else 0.0,
            self._confident_positives(learner, rows, seen),
        )
        return class_weights(rho, self.positives[:seen], self.kappa, self.clip)

    def _confident_positives(self, learner: Learner, rows: NDArray[np.int64], seen: int) -> Floats | None:
        """Unannotated positives of the new rows that the teacher is confident of, where it is asked about them."""
        distillation, policy = learner.find_plugin(Distillation), learner.find_plugin(OldClassesOfNewRows)
        if distillation is None or distillation.teacher is None or (policy is not None and policy.policy != "distil"):
            return None
        scores = learner.probabilities(distillation.teacher, self.store, rows)
        unknown = self.store.targets(rows).numpy()[:, : scores.shape[1]] < 0
        confident = np.zeros(seen)
        confident[: scores.shape[1]] = (unknown & (scores > CONFIDENT)).sum(axis=0)
        return confident

    # the loss

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        self._generators = torch_generators(learner.device)

    def alpha(self, learner: Learner) -> float:
        """Factor of the term in the current step."""
        position, steps = learner.position, learner.steps_per_epoch
        return self.amplitude * half_sine(position.epoch * steps + position.step, learner.train_epochs * steps)

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        alpha = self.alpha(learner)
        with_gradient = alpha > 0 and self.gradient == "full"
        with (
            general_path(learner.model),
            drawing_again(self._generators, learner.device),
            nullcontext() if with_gradient else torch.no_grad(),
        ):
            general = learner.logits(learner.model, learner.mb_x)
        full = learner.mb_output
        self._remember(learner, (full - general).detach())
        if alpha > 0:
            weights = sent(torch.from_numpy(self.weights).to(full.dtype), full.device)
            loss = rebalancing_loss(full, general, self._labels(learner, full.shape[1]), weights, self.kind)
            learner.add_loss("more", alpha * loss)

    def _labels(self, learner: Learner, seen: int) -> Tensor:
        distillation = learner.find_plugin(Distillation)
        if distillation is None or distillation.answer is None:
            return filled_labels(learner.mb_y, seen, None, None)
        return filled_labels(learner.mb_y, seen, distillation.answer, distillation.where(learner))

    # the report

    def _remember(self, learner: Learner, gap: Tensor) -> None:
        squares = learner.summed(gap.double().square().sum(dim=0))
        self._gaps = squares if self._gaps is None else self._gaps.to(squares.device) + squares
        self._rows += learner.batch_rows

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
        if not len(weights):
            return {}  # tasks without epochs
        values = {MORE_LOW_RANK: float(np.mean(list(self._sizes.values()))) if self._sizes else math.nan}
        values[MORE_CORRELATION] = rank_correlation(discrepancy, weights)
        values[MORE_TAIL_TO_HEAD] = tail_to_head(discrepancy, weights)
        values |= {MORE_OF_LAYER + name.removesuffix(".weight"): size for name, size in self._sizes.items()}
        for tag, numbers in ((MORE_WEIGHT, weights), (MORE_DISCREPANCY, discrepancy)):
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
