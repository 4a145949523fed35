"""StreamPlan -> real Avalanche benchmark. Hidden labels end here: nothing below holds a truth that no row shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.scenarios.generic_scenario import CLScenario, EagerCLStream
from numpy.typing import NDArray

from clsim.data.source import ImageSource, Split
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.stream.device_images import Place
from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.vocabulary import UNKNOWN


class MultiLabelBenchmark(CLScenario):
    """The Avalanche benchmark of a plan.

    Streams:
        train_stream: one experience a task; y shows what the plan makes visible.
        evaluation_stream: one experience, all test images, y = -1; the evaluator joins the truth by row id.
        test_stream: for stock Avalanche: after task t the test images in scope, true labels of the seen columns.
            Row ids as in evaluation_stream.

    Each experience carries `classes_in_this_experience`, `old_classes`, `classes_seen_so_far`, `previous_classes` and
    `future_classes`, lists of column indices.

    Args:
        plan: what is streamed.
        source: images, at `image_size` pixels, normalised with `mean` and `std`.
        features: float32 [N, d] of each split that the plan uses, or maps float16 [N, ...], in the source's order: x is
            then float32 [B, ...], and no image is read.
        for_run: what a method meets in a run: no `test_stream`, and rows are closed until `begin` opens their task's.

    Attributes:
        train_rows: the store behind the train stream; replay fetches its images there by row id.
    """

    train_stream: EagerCLStream[Any]
    evaluation_stream: EagerCLStream[Any]
    test_stream: EagerCLStream[Any]

    def __init__(
        self,
        plan: StreamPlan,
        source: ImageSource,
        image_size: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        features: Mapping[Split, NDArray[np.floating[Any]]] | None = None,
        for_run: bool = False,
    ) -> None:
        look: dict[str, Any] = {"mean": mean, "std": std}
        train_images, test_images = (
            source.images(split, image_size) if features is None else features[split]
            for split in ("train", plan.test_split)
        )
        targets = _visible_targets(plan)
        self.train_rows = RowStore(
            train_images, plan.row_samples, targets, 0, memory_targets=_memory_targets(plan), **look
        )
        first = plan.n_train_rows
        hidden = RowStore(test_images, plan.test_samples, np.full_like(plan.test_truth, UNKNOWN), first, **look)
        self._test_rows = [hidden]
        train = [MultiLabelDataset.from_rows(self.train_rows, plan.rows(t)) for t in range(len(plan.tasks))]
        test = []
        for index, task in enumerate(() if for_run else plan.tasks):
            seen = task.classes[1]
            store = RowStore(test_images, plan.test_samples, plan.test_truth, first, seen=seen, **look)
            self._test_rows.append(store)
            test.append(MultiLabelDataset.from_rows(store, plan.test_rows()[plan.in_scope(index)]))
        evaluation = [MultiLabelDataset.from_rows(hidden, plan.test_rows())]
        tested = {} if for_run else {"test": test}
        streams = benchmark_from_datasets(train=train, **tested, evaluation=evaluation).streams
        super().__init__(list(streams.values()))
        everything = list(range(plan.n_classes))
        for name in ("train", *tested):
            for experience, task in zip(self.streams[name], plan.tasks, strict=True):
                _describe(experience, everything, task.of_classes)
        _describe(self.streams["evaluation"][0], everything, TaskClasses(0, plan.n_classes))
        self._ends = plan.row_offsets[1:].tolist() if for_run else None
        if for_run:
            self.train_rows.open_until(0)

    def begin(self, task: int) -> None:
        """Open the rows of a task to whoever holds the benchmark of a run; those of later tasks stay closed."""
        if self._ends is not None:
            self.train_rows.open_until(self._ends[task])

    if not TYPE_CHECKING:  # mypy goes by the streams above

        def __getattr__(self, name: str) -> Any:
            """Say why a run has no `test_stream`."""
            if name == "test_stream":
                raise AttributeError(
                    "a run has no test_stream, whose labels are closed while it trains; scenario.benchmark() has one"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def place(self, device: torch.device, place: Place) -> None:
        """Have the images come to the device of a run; see `clsim.scenario.stream.device_images.placed`."""
        self.train_rows.place(device, place)
        first, *others = self._test_rows
        first.place(device, place)
        for store in others:
            store.on_device = first.on_device


def _describe(experience: Any, columns: list[int], task: TaskClasses) -> None:
    experience.classes_in_this_experience = task.current.tolist()
    experience.old_classes = task.old.tolist()
    experience.previous_classes = columns[: task.start]
    experience.classes_seen_so_far = columns[: task.stop]
    experience.future_classes = columns[task.stop :]


def _visible_targets(plan: StreamPlan) -> NDArray[np.int8] | NDArray[np.float32]:
    kind = np.float32 if plan.has_soft_labels else np.int8
    targets: NDArray[Any] = np.full((plan.n_train_rows, plan.n_classes), UNKNOWN, dtype=kind)
    for index, task in enumerate(plan.tasks):
        shown = task.values if task.soft is None else np.where(task.soft > 0, task.soft, task.values)
        targets[plan.rows(index)[:, None], task.columns] = shown
    return targets


def _memory_targets(plan: StreamPlan) -> NDArray[np.int8] | None:
    parts = [task.memory_values for task in plan.tasks if task.memory_values is not None]
    return np.concatenate(parts) if len(parts) == len(plan.tasks) else None
