"""Replay memory: rows with the labels they were seen with, and where each label came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.errors import StrategyError
from clsim.randomness import raw_integers
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.schema import ScenarioConfig
from clsim.training.memory.selection import Selection
from clsim.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from clsim.training.memory.network_view import NetworkView

GIVEN = 0
_ARRAYS = ("rows", "labels", "provenance", "stored_by")
AHEAD = 2**12
"""Random numbers that `Memory.draw` takes at once, for the steps that come: half the time of one step at a time,
whose code the network of each step drives out of the processor's caches."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Budget:
    """Limit of a memory, in one of three forms.

    Attributes:
        per_class: rows for each class of a task.
        total: rows in all, shared by the seen classes.
        bytes: total bytes of everything that is kept; `in_rows` converts it to a `total`.
    """

    per_class: int | None = None
    total: int | None = None
    bytes: int | None = None

    @classmethod
    def of(cls, config: ScenarioConfig) -> Budget:
        """Return the budget that `memory.budget` of a scenario sets.

        Raises:
            StrategyError: it is none.
        """
        budget = config.memory.budget
        if budget == "none":
            raise StrategyError("memory.budget: given 'none', expected for example {per_class: 4} or {total: 100}")
        return cls(**budget.model_dump())

    def in_rows(self, row_bytes: int) -> Budget:
        """Return the budget in rows of `row_bytes` bytes each.

        Raises:
            StrategyError: not one row fits.
        """
        if self.bytes is None:
            return self
        if self.bytes < row_bytes:
            raise StrategyError(f"memory.budget.bytes: given {self.bytes}, must be at least {row_bytes}, one row")
        return Budget(total=self.bytes // row_bytes)

    def in_bytes(self, n_classes: int, image_bytes: int) -> int:
        """Return the bytes of a full memory of exemplars after the last task.

        Args:
            image_bytes: of one stored image, or of its features.
        """
        if self.bytes is not None:
            return self.bytes
        return self.of_all(n_classes) * row_bytes(n_classes, image_bytes)

    def of_classes(self, seen: int) -> NDArray[np.int64]:
        """Rows for each class once `seen` columns are known, int64 [seen].

        DECIDED: a total is divided by seen classes, and what the division leaves goes to the first columns, one each.
        """
        if self.per_class is not None:
            return np.full(seen, self.per_class)
        if self.total is None:
            raise StrategyError("memory.budget.bytes: a memory needs a budget in rows, which Context.budget gives")
        share, rest = divmod(self.total, seen)
        return share + (np.arange(seen) < rest)

    def of_tasks(self, tasks: Sequence[TaskClasses]) -> list[int]:
        """Rows for each task once these are known.

        DECIDED: what a class may have is divided evenly by the tasks that it is a class of. What is left of a row, as
        only classes that come back leave it, is not used.
        """
        rows = self.of_classes(tasks[-1].stop)
        times = np.zeros(len(rows))
        for task in tasks:
            times[task.current] += 1
        return [int((rows[task.current] / times[task.current]).sum() + 1e-9) for task in tasks]

    def of_all(self, seen: int) -> int:
        """Rows in all once `seen` columns are known."""
        return int(self.of_classes(seen).sum())

    def check(self, n_classes: int, config: ScenarioConfig | None = None) -> None:
        """See that the budget holds one row for each class, or one row at all if it is in bytes.

        Args:
            config: the scenario's, which tells the size of an image, if not of cached features.

        Raises:
            StrategyError: it does not.
        """
        model = None if config is None else config.training.model
        self.in_rows(row_bytes(n_classes, 0 if model is None or model.cache_features else 3 * model.image_size**2))
        if self.total is not None and self.total < n_classes:
            raise StrategyError(
                f"memory.budget.total: given {self.total}, must be at least {n_classes}, one row for each class"
            )


def row_bytes(n_classes: int, image_bytes: int) -> int:
    """Return the bytes of one stored row: image or features as stored, row id, labels, provenance and storing task."""
    return image_bytes + 8 + (4 + 2) * n_classes + 8


class Memory:
    """The stored rows.

    Attributes:
        rows: int64 [M], row ids of the train stream.
        labels: float32 [M, C], labels as seen when stored: 1, 0, -1 unknown, (0, 1) soft.
        provenance: int16 [M, C], -1 unknown, 0 given by the stream, k + 1 relabelled after task k.
        stored_by: int64 [M], task that stored the row.
        left_out: bool [M], rows that are stored but not trained on, such as validation exemplars. A plugin sets it in
            `memory_updated`; it follows the rows.
        payload: what plugins keep beside each row, arrays [M, ...] by name; see `keep_beside`.
        offered: how many rows the current `update` has offered; while a selection chooses, they are the last ones.
        whole: whether these are all rows of the task.
        view: answers of the network about the rows, while a selection chooses; None without a network.

    Args:
        tasks: classes of each task.
    """

    def __init__(self, budget: Budget, selection: Selection, tasks: tuple[TaskClasses, ...], seed: int) -> None:
        self.budget = budget
        self.selection = selection
        self.tasks = tasks
        self.seed = seed
        self.rows = np.empty(0, dtype=np.int64)
        self.labels = np.empty((0, tasks[-1].stop), dtype=np.float32)
        self.provenance = np.empty((0, tasks[-1].stop), dtype=np.int16)
        self.stored_by = np.empty(0, dtype=np.int64)
        self.left_out = np.empty(0, dtype=np.bool_)
        self.payload: dict[str, NDArray[Any]] = {}
        self._fills: dict[str, float] = {}
        self.offered = 0
        self.whole = True
        self.view: NetworkView | None = None
        self._ahead: dict[tuple[int, int, tuple[int, ...]], NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def nbytes(self, image_bytes: int) -> int:
        """Bytes of the memory with its images at `image_bytes` each, and its payload."""
        payload = sum(values.nbytes for values in self.payload.values())
        return len(self) * row_bytes(self.labels.shape[1], image_bytes) + payload

    @property
    def positives(self) -> NDArray[np.bool_]:
        """Which labels are positive and given by the stream, bool [M, C]; soft and relabelled ones are not."""
        return (self.labels == 1) & (self.provenance == GIVEN)

    @property
    def trained(self) -> NDArray[np.int64]:
        """Positions of the rows that are trained on, those not left out, int64 [m]."""
        return np.flatnonzero(~self.left_out)

    def keep_beside(self, name: str, like: NDArray[Any], fill: float = np.nan) -> NDArray[Any]:
        """Return the payload of a name, array [M, ...], which follows the rows and is saved with them.

        Each update of the memory makes another array: ask for it again.
        Write the values of new rows into it in `memory_updated`. It counts in `nbytes`; a strategy also says its bytes
        in `bytes_beside_row`, so that a budget in bytes holds the fewer rows.

        Args:
            like: of one row: gives shape and dtype.
            fill: of rows for which nothing has been written.
        """
        self._fills[name] = fill
        if name not in self.payload:
            self.payload[name] = np.full((len(self), *like.shape), fill, dtype=like.dtype)
        return self.payload[name]

    def update(
        self,
        task: int,
        rows: NDArray[np.int64],
        labels: Floats,
        features: Floats | None = None,
        view: NetworkView | None = None,
        whole: bool = True,
    ) -> None:
        """Take in rows of a task and keep what the selection chooses.

        A task's rows may come at once or in portions, each row once.

        Args:
            rows: int64 [n], row ids of the task.
            labels: float32 [n, C], the labels to store with them.
            features: float32 [n, d] of these rows, if the selection needs them.
            view: what the network says of rows of this memory, for selections that ask.
            whole: whether these are all rows of the task.
        """
        self.rows = np.concatenate([self.rows, rows])
        self.labels = np.concatenate([self.labels, labels])
        provenance = np.where(labels == UNKNOWN, UNKNOWN, GIVEN).astype(np.int16)
        self.provenance = np.concatenate([self.provenance, provenance])
        self.stored_by = np.concatenate([self.stored_by, np.full(len(rows), task)])
        self.left_out = np.concatenate([self.left_out, np.zeros(len(rows), dtype=np.bool_)])
        for name, values in self.payload.items():
            new = np.full((len(rows), *values.shape[1:]), self._fills[name], dtype=values.dtype)
            self.payload[name] = np.concatenate([values, new])
        if len(self):
            self.offered, self.whole, self.view = len(rows), whole, view
            keep = self.selection.choose(self, task, features)
            self.view = None
            for name in (*_ARRAYS, "left_out"):
                setattr(self, name, getattr(self, name)[keep])
            self.payload = {name: values[keep] for name, values in self.payload.items()}

    def draw(self, n: int, *position: int) -> NDArray[np.int64]:
        """`n` positions of trained rows for one step, int64 [n]: without repeats as long as the memory allows.

        Args:
            position: task, epoch and step.
        """
        trained = self.trained
        if not len(trained):
            return np.empty(0, dtype=np.int64)
        draw = len(trained), n, position
        if draw not in self._ahead:
            *place, step = position
            steps = range(step, step + max(1, AHEAD // max(n, len(trained))))
            self._ahead = {(*draw[:2], (*place, at)): self._order(*draw[:2], *place, at) for at in steps}
        return trained[self._ahead[draw]]

    def _order(self, count: int, n: int, *position: int) -> NDArray[np.int64]:
        """Return n of `count` places for one step, int64 [n], round after round in random order."""
        rounds = -(-n // count)
        keys = raw_integers(rounds * count, self.seed, "replay", *position).reshape(rounds, count)
        return np.argsort(keys, axis=1, kind="stable").reshape(-1)[:n]

    def relabel(
        self, which: NDArray[np.int64], columns: NDArray[np.int64], labels: NDArray[np.float32], task: int
    ) -> None:
        """Write predicted labels over entries that nothing was given for.

        Args:
            which: int64 [n], positions in the memory.
            columns: int64 [k].
            labels: float32 [n, k]: 1, 0, (0, 1) soft, -1 leaves an entry unknown.
            task: index of the task after which they were predicted.
        """
        block = np.ix_(which, columns)
        free = self.provenance[block] != GIVEN
        self.labels[block] = np.where(free, labels, self.labels[block])
        source = np.where(labels == UNKNOWN, UNKNOWN, task + 1)
        self.provenance[block] = np.where(free, source, self.provenance[block]).astype(np.int16)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows with all that is kept beside them, and what the selection keeps.

        What a memory does not have is not in it, so that the state of a plain memory has only rows and labels.
        """
        state: dict[str, Any] = {name: torch.from_numpy(getattr(self, name).copy()) for name in _ARRAYS}
        if self.left_out.any():
            state["left_out"] = torch.from_numpy(self.left_out.copy())
        if self.payload:
            state["payload"] = {name: torch.from_numpy(values.copy()) for name, values in self.payload.items()}
            state["fills"] = dict(self._fills)
        if hasattr(self.selection, "state_dict"):
            state["selection"] = self.selection.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _ARRAYS:
            setattr(self, name, state[name].numpy().copy())
        left_out = state.get("left_out")
        self.left_out = np.zeros(len(self), dtype=np.bool_) if left_out is None else left_out.numpy().copy()
        self.payload = {name: values.numpy().copy() for name, values in state.get("payload", {}).items()}
        self._fills = dict(state.get("fills", {}))
        if hasattr(self.selection, "load_state_dict"):
            self.selection.load_state_dict(state["selection"])
