"""Sample predictions in TensorBoard: the same evaluation images each time, and some of what was just trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray

from clsim.data.source import Split
from clsim.errors import ClsimError
from clsim.evaluation.event_file import EventFile
from clsim.evaluation.history import History
from clsim.evaluation.pictures import is_pictured
from clsim.evaluation.sample_sheet import Tile, sheet
from clsim.evaluation.samples import Mark, Verdict, evaluation_places, training_places, verdicts
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.training.template import MultiLabelTemplate
from clsim.vocabulary import SEEN_MAP, UNKNOWN

Pixels = Callable[[Split, NDArray[np.int64]], NDArray[np.uint8]]

OF_EVALUATION: Mapping[Mark, str] = {
    "right": "rightly predicted",
    "wrong": "wrongly predicted",
    "missed": "present, missed",
    "untold": "predicted, truth unknown",
    "to come": "present, class to come",
}
OF_TRAINING: Mapping[Mark, str] = {
    "right": "labelled and predicted",
    "wrong": "predicted, labelled absent",
    "missed": "labelled, not predicted",
    "untold": "predicted, not annotated",
}
log = logging.getLogger("clsim")


class SamplePictures(BaseLogger):
    """Two pictures after a task: `samples/evaluation` with the truth, `samples/training` with what rows show.

    Evaluation images and their scores are those of the one evaluation pass. The training images are of the task just
    learnt and are scored here, in eval mode and without a draw from any generator, so that no result depends on them.
    Images that cannot be had are a warning in the log, not the end of a run.

    Args:
        events: the run's event file.
        history: the plan and the last scores.
        pixels: (split, images int64 [n] of the split) -> uint8 [n, 3, h, w].
        n: images of a picture; 0: no pictures.
        pictures: after which tasks, see `is_pictured`.
    """

    def __init__(self, events: EventFile, history: History, pixels: Pixels, n: int, pictures: str = "sparse") -> None:
        super().__init__()
        self.events = events
        self.history = history
        self.pixels = pixels
        self.n = n
        self.pictures = pictures
        self.places = evaluation_places(history.plan, n)

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        step = next((metric.x_plot for metric in metric_values if metric.name == SEEN_MAP), None)
        if step is None or not self.n:  # inside a task, or another stream
            return
        if not is_pictured(self.pictures, step, len(self.history.plan.tasks)):
            return
        try:
            self._show("evaluation", self._of_evaluation(), OF_EVALUATION, step)
            self._show("training", self._of_training(template), OF_TRAINING, step)
        except ClsimError as error:
            log.warning("no sample predictions after task %d: %s", step - 1, error)

    def _show(self, kind: str, tiles: list[Tile], meanings: Mapping[Mark, str], step: int) -> None:
        if tiles:
            title = f"{kind} images after task {step - 1}, p > {self._threshold:g}"
            self.events.picture(f"samples/{kind}", sheet(title, meanings, tiles), step)

    @property
    def _threshold(self) -> float:
        return float(self.history.thresholds[0])

    def _of_evaluation(self) -> list[Tile]:
        plan, scores, places = self.history.plan, self.history.scores, self.places
        assert scores is not None
        return tiles(plan, self._evaluation_images, plan.test_truth[places], scores[places], self._threshold)

    @cached_property
    def _evaluation_images(self) -> NDArray[np.uint8]:
        plan = self.history.plan
        return self.pixels(plan.test_split, plan.test_samples[self.places])

    def _of_training(self, template: MultiLabelTemplate) -> list[Tile]:
        """From the plan only which image is on a row; the labels are those of the learner's own store."""
        plan, task = self.history.plan, self.history.last
        places = training_places(plan, task, self.n)
        if not len(places):
            return []
        store, rows = template.benchmark.train_rows, plan.rows(task)[places]
        targets = store.targets(rows).numpy()
        shown = np.where(targets < 0, UNKNOWN, targets > 0.5)  # a soft label shows as what it is nearer
        labels = shown.astype(np.int8)
        images = self.pixels("train", plan.tasks[task].samples[places])
        seen = plan.tasks[task].classes[1]
        notes = [f"? {(shown[:seen] < 0).sum()} of {seen} labels unknown" for shown in labels]
        return tiles(
            plan, images, labels, template.scored(template.model, store, rows, dealt=False), self._threshold, notes
        )


def tiles(
    plan: StreamPlan,
    images: NDArray[np.uint8],
    labels: NDArray[np.int8],
    scores: NDArray[Any],
    threshold: float,
    notes: list[str] | None = None,
) -> list[Tile]:
    """What a sheet shows of images.

    Args:
        plan: for the names and tasks of classes only.
        images: uint8 [n, 3, h, w].
        labels: int8 [n, C], all that the tiles may tell: the truth of evaluation images, the shown labels of rows.
        scores: float [n, S], logits.
        threshold: p > threshold counts as predicted.
        notes: one an image.
    """
    probabilities = torch.from_numpy(scores).double().sigmoid().numpy()
    task_of = np.repeat(np.arange(len(plan.tasks)), [stop - start for start, stop in (t.classes for t in plan.tasks)])

    def line(verdict: Verdict) -> tuple[Mark, str]:
        name, task = plan.class_names[verdict.column], task_of[verdict.column]
        told = "" if verdict.probability is None else f"{verdict.probability:.2f} \u00b7 "
        return verdict.mark, f"{told}{name} \u00b7 task {task}"

    made = []
    for place, image in enumerate(images):
        found = verdicts(labels[place], probabilities[place], threshold)
        made.append(Tile(image, [line(verdict) for verdict in found], notes[place] if notes else ""))
    return made
