"""Experience replay from a memory of partially labelled rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError
from clsim.scenario.stream.rows import RowStore
from clsim.training.learner import Learner
from clsim.training.memory.network_view import NetworkView
from clsim.training.memory.store import Memory
from clsim.training.online import check_online_replay
from clsim.training.plugin import Plugin
from clsim.training.unknown import assume_negative, runs
from clsim.transfer import sent

Mode = Literal["paired", "concat"]
CurrentClasses = Literal["negative", "ignore", "refresh"]
OtherClasses = Literal["distil", "negative", "ignore"]


REFRESH_THRESHOLD = 0.8
"""DECIDED: as online relabelling's; an untrained head, near 0.5 everywhere, then says negative, not noise."""


class Replay(Plugin):
    """Add memory rows to the training batches, and store rows after each task (in an online stream after each step).

    Once a task's rows are stored, the event `memory_updated(learner, replay)` lets other plugins relabel them, or keep
    something beside them. The order of the plugins does not matter. Rows that the memory leaves out are not trained on.

    In an online stream the new rows of each step are offered to the memory after it, with the labels that they show
    then, and the event `batch_stored(learner, replay)` follows. DECIDED: `memory_updated` comes once there too, when
    the task is over, because what relabels a memory asks a model that has been trained on the task.

    Args:
        memory: what is stored.
        store: where the images of row ids are.
        mode: paired adds as many memory rows as new rows to every step; concat adds the memory to the task's data, so
            that a small memory weighs little (the KRT way).
        current_classes: what the unknown classes of the task being trained mean in memory rows: negative; ignore; or
            refresh: at the start of each epoch the model itself says, 1 above `REFRESH_THRESHOLD`, else 0.
        other_classes: what their other unknown classes mean: distil (where there is a teacher), negative or ignore.

    Attributes:
        drawn: int64 [R], positions in the memory of the rows that the current batch has from it.
        place: where in the batch these are.
    """

    def __init__(
        self, memory: Memory, store: RowStore, mode: Mode, current_classes: CurrentClasses, other_classes: OtherClasses
    ) -> None:
        super().__init__()
        self.memory = memory
        self.store = store
        self.mode = mode
        self.current_classes = current_classes
        self.other_classes = other_classes
        self._refreshed: NDArray[np.float32] | None = None
        self.drawn: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.place = slice(0, 0)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the memory, its images included."""
        return self.memory.nbytes(self.store.image_bytes)

    def share(self, new: int) -> float:
        """Share of memory rows among the rows an epoch of a task of `new` rows meets."""
        stored = len(self.memory.trained)
        if not stored:
            return 0.0
        return 0.5 if self.mode == "paired" else stored / (new + stored)

    def turns(self, new_rows: int) -> float:
        """How often an epoch of a task of `new_rows` rows shows each stored row, on average."""
        stored = len(self.memory.trained)
        return 1.0 if self.mode == "concat" or not stored else new_rows / stored

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        if learner.online:
            selection = self.memory.selection
            check_online_replay("Replay", selection, type(selection).__name__, self.mode, self.current_classes)
        if self.mode == "concat":
            learner.loader.enlarge(len(self.memory.trained))

    def before_training_epoch(self, learner: Learner, **kwargs: Any) -> None:
        if self.current_classes == "refresh" and len(self.memory):
            classes = np.array(learner.experience.classes_in_this_experience, dtype=np.int64)
            scores = learner.probabilities(learner.model, self.store, self.memory.rows, classes)
            self._refreshed = (scores > REFRESH_THRESHOLD).astype(np.float32)

    def before_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        if self.mode == "concat":
            drawn, part = self.memory.trained[learner.loader.beyond], learner.loader.part_beyond
        else:
            whole = self.memory.draw(learner.batch_rows, *learner.position.place)
            part = learner.part(len(whole))
            drawn = whole[part.rows]
        self.drawn, self.place = drawn, slice(len(learner.mb_x), len(learner.mb_x) + len(drawn))
        if part.whole:
            learner.extend_batch(*self._fetch(drawn), part=part)
        if len(drawn):
            self._apply_policies(learner, drawn)

    def _fetch(self, positions: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        rows = self.memory.rows[positions]
        return self.store.fetched(rows), torch.from_numpy(self.memory.labels[positions]), torch.from_numpy(rows)

    def _apply_policies(self, learner: Learner, drawn: NDArray[np.int64]) -> None:
        current = learner.experience.classes_in_this_experience
        if self._refreshed is not None:
            refreshed = sent(torch.from_numpy(self._refreshed[drawn]), learner.mb_y.device)
            first = 0
            for part in runs(tuple(current)):
                block = learner.mb_y[-len(drawn) :, part]
                block.copy_(torch.where(block < 0, refreshed[:, first : first + block.shape[1]], block))
                first += block.shape[1]
        if self.current_classes == "negative":
            assume_negative(learner.mb_y[self.place], current)
        if self.other_classes == "negative":
            assume_negative(learner.mb_y[self.place], learner.experience.old_classes)
        elif self.other_classes == "ignore":
            learner.distillable &= ~learner.replayed

    def after_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        if learner.online:
            if learner.loader.new_rows is None:
                raise RunError("a replay memory needs row ids, which the data set that a plugin has put in has not")
            self.offer(learner, learner.loader.new_rows, whole=False)
            learner.notify("batch_stored", replay=self)

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        if not learner.online:
            self.offer(learner, learner.experience.dataset.rows())
        self._refreshed = None
        learner.notify("memory_updated", replay=self)

    def offer(self, learner: Learner, rows: NDArray[np.int64], whole: bool = True) -> None:
        """Offer rows of the current task to the memory, and let other plugins know.

        Args:
            rows: int64 [n], row ids.
            whole: whether they are all rows of the task, and not one of several portions.
        """
        task = learner.experience.current_experience
        needed = self.memory.selection.needs_features
        features = learner.scored(learner.model.pooled, self.store, rows) if needed else None
        view = NetworkView(learner, self.store, self.memory)
        self.memory.update(task, rows, self.store.memory_targets(rows), features, view, whole)

    def state_dict(self) -> dict[str, Any]:
        refreshed = None if self._refreshed is None else torch.from_numpy(self._refreshed.copy())
        return {"memory": self.memory.state_dict(), "refreshed": refreshed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.load_state_dict(state["memory"])
        self._refreshed = None if state["refreshed"] is None else state["refreshed"].numpy().copy()
