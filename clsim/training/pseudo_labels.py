"""Pseudo-labels: the model before the task says which old classes its new rows show (KRT, HCP, KBK, RCLP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.training.class_thresholds import f1_optimal, of_positives, searched
from clsim.training.held_out import HeldOut
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot
from clsim.training.unknown import runs
from clsim.transfer import sent

Rule = Literal["fixed", "dynamic", "recall", "uncertain", "f1"]
Rest = Literal["negative", "ignore", "distil"]


class PseudoLabels(Plugin):
    """Fills unknown old classes of the task's new rows: present where q_c > theta_c, the others as `rest` says.

    q is what the snapshot gives for the image of the batch. Given labels are never overwritten, and neither the task's
    own classes nor classes to come are touched. theta_c follows from `rule`:
        fixed: `threshold`.
        dynamic: one threshold of all old classes, found before the first epoch of a task on its new rows, see
            `searched`, from `threshold` on in every task.
        recall: a statistic of the scores of the class's positives, in its own task, by the model just trained.
        uncertain: likewise by their entropy; see `of_positives`.
        f1: the threshold with the best F1 on a tenth of the class's own task that is held out from training.
    The last three are set once, when the task of the class ends, and anew when the class comes back.

    After each task the plugin hands in what it says of the task's rows, from images that are not augmented.

    Args:
        rule: see above.
        threshold: of `fixed`, where `dynamic` starts, and of classes that the other rules cannot judge. Above 1 no
            label is written.
        statistic: of `recall`: "mean", or a quantile in 0..1.
        labels_per_image: of `dynamic`: classes that an image shows on average, of all that the stream will have; or
            "seen", see `_target`.
        rest: what the other unknown old classes of these rows are: negative (absent), ignore (in no loss), or distil
            (unknown, and left to a teacher).
        all_rows: rows of a memory are filled too, where no other part has done so.
        n_classes: of the stream.
        snapshot: the run's, from `Context.snapshot`.
        held_out: the run's, from `Context.held_out`, for the rule f1; otherwise None.
    """

    def __init__(
        self,
        *,
        rule: Rule,
        threshold: float,
        statistic: Literal["mean"] | float,
        labels_per_image: Literal["seen"] | float,
        rest: Rest,
        all_rows: bool,
        n_classes: int,
        snapshot: Snapshot,
        held_out: HeldOut | None,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.threshold = threshold
        self.statistic = "mean" if statistic == "mean" else f"quantile:{statistic}"
        self.labels_per_image = labels_per_image
        self.rest = rest
        self.all_rows = all_rows
        self.snapshot = snapshot
        self.held_out = held_out
        self.thresholds = np.full(n_classes, threshold, dtype=np.float32)
        self.positives = np.zeros(n_classes, dtype=np.int64)
        self.rows_seen = 0
        self.searched: dict[str, float] = {}
        self._on_device: Tensor | None = None
        self._written = _nothing_written()

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        self.searched = {}
        if self.rule == "dynamic":  # alone; a row of an online stream has not come yet
            labels = learner.store.targets(learner.experience.dataset.rows()).numpy()
            self.rows_seen += len(labels)
            self.positives += (labels == 1).sum(axis=0)
        old = np.array(learner.experience.old_classes, dtype=np.int64)
        if self.rule == "dynamic" and self.snapshot.model is not None and len(old):
            rows = learner.adapted_dataset.rows()
            known = learner.store.targets(rows).numpy()[:, old] >= 0
            scores = learner.probabilities(self.snapshot.model, learner.store, rows, old)
            found = searched(np.where(known, np.nan, scores), self._target(old), self.threshold)
            self.thresholds[old] = found.threshold
            self.searched = {
                "pseudo/threshold": found.threshold,
                "pseudo/ones_per_row": found.per_row,
                "pseudo/search_settled": float(found.settled),
            }
        self._on_device = None

    def _target(self, old: NDArray[np.int64]) -> float:
        """Positives of old classes that a row should get.

        KRT: L |O| / |C_all|, with the mean number L of labels in an image of the whole data set, which a method does
        not know. DECIDED, seen: the sum over the old classes of their visible positives, per image seen so far, those
        of the current task among them: a lower bound, because a positive that no row shows is not counted.
        """
        if self.labels_per_image == "seen":
            return float(self.positives[old].sum()) / max(1, self.rows_seen)
        return self.labels_per_image * len(old) / len(self.thresholds)

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        rows = torch.ones_like(learner.replayed) if self.all_rows else ~learner.replayed
        answer = self.snapshot.outputs(learner)
        if answer is not None:
            q = answer.logits.sigmoid()
            thresholds = self._thresholds(q.device)
            for part in runs(tuple(learner.experience.old_classes)):
                block = learner.mb_y[:, part]
                free = rows[:, None] & (block < 0)
                block.masked_fill_(free & (q[:, part] > thresholds[part]), 1.0)
                if self.rest == "negative":
                    block.masked_fill_(rows[:, None] & (block < 0), 0.0)
        if self.rest == "ignore":
            learner.distillable &= ~rows

    def _thresholds(self, device: torch.device) -> Tensor:
        if self._on_device is None:
            self._on_device = sent(torch.from_numpy(self.thresholds.copy()), device)
        return self._on_device

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        self._written = self._write(learner)
        columns = np.array(learner.experience.classes_in_this_experience, dtype=np.int64)
        if self.held_out is not None:
            self.thresholds[columns] = f1_optimal(*self.held_out.judged(learner, columns), self.threshold)
        elif self.rule in ("recall", "uncertain"):
            rows = learner.experience.dataset.rows()
            scores = learner.probabilities(learner.model, learner.store, rows, columns)
            labels = learner.store.targets(rows).numpy()[:, columns]
            statistic = "certain" if self.rule == "uncertain" else self.statistic
            self.thresholds[columns] = of_positives(scores, labels, self.threshold, statistic)

    def _write(self, learner: Learner) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
        """Return the labels that the task's rows have got."""
        old = np.array(learner.experience.old_classes, dtype=np.int64)
        if self.snapshot.model is None or not len(old):
            return _nothing_written()
        rows = learner.adapted_dataset.rows()
        present = learner.probabilities(self.snapshot.model, learner.store, rows, old) > self.thresholds[old]
        written = learner.store.targets(rows).numpy()[:, old] < 0
        if self.rest != "negative":
            written &= present
        place, column = np.nonzero(written)
        return rows[place], old[column], present[written].astype(np.float32)

    def written_labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
        """Return the labels of the task just trained, once: row ids, columns and values, [n] each."""
        written, self._written = self._written, _nothing_written()
        return written

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        """Return what the search of the rule `dynamic` found: threshold, positives per row, 1 if it settled."""
        return self.searched

    def state_dict(self) -> dict[str, Any]:
        return {
            "thresholds": torch.from_numpy(self.thresholds.copy()),
            "positives": torch.from_numpy(self.positives.copy()),
            "rows_seen": self.rows_seen,
            "searched": dict(self.searched),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.thresholds = state["thresholds"].numpy().copy()
        self.positives = state["positives"].numpy().copy()
        self.rows_seen = state["rows_seen"]
        self.searched = dict(state["searched"])
        self._on_device = None


def _nothing_written() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
