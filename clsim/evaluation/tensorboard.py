"""The TensorBoard event file of a run: curves, pictures, precision-recall curves, hyperparameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import summary

from clsim.evaluation.event_file import EventFile
from clsim.evaluation.history import History
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.evaluation.pictures import class_bars, label_block_image, matrix_image, reliability_image
from clsim.training.template import MultiLabelTemplate
from clsim.vocabulary import AVERAGE_MAP, MEAN_FORGETTING, SEEN_MAP, group_map_tag

FINAL_METRICS = (SEEN_MAP, AVERAGE_MAP, MEAN_FORGETTING, group_map_tag("tail"))
"""Curves whose last point is a column of the HParams page: last mAP, avg mAP, forgetting, tail mAP."""
FIRST_COLUMNS = ("strategy", "seed")
"""Hyperparameters that the HParams page shows first."""
PR_THRESHOLDS = 51
"""Points of a precision-recall curve; 80 classes after 8 tasks take about half a megabyte."""


class TensorBoardCurves(BaseLogger):
    """Writes the scalars of `metrics.jsonl` as TensorBoard curves, and a layout of combined charts.

    After each task also R, the AP of each class and the label block matrix of a memory as pictures, and a
    precision-recall curve for each seen class. After the last one a reliability diagram; DECIDED: not after each,
    because drawing it takes longer than all its numbers.

    Undefined values are left out, because a NaN breaks TensorBoard's smoothing.

    A file that is there is continued.

    Args:
        path: of the event file.
        history: where the scores and matrices are.
        hparams: name -> value for the HParams page; what is no number or text is written as JSON.
    """

    def __init__(self, path: Path, history: History, hparams: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.events = EventFile(path)
        self.history = history
        # Not `add_hparams`: that makes a run of its own in a subfolder, apart from the curves.
        *self._hparams, self._end = _hparams(hparams or {})

    def before_training(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        if template.position.task == 0 and self.events.begin():
            charts = _charts(
                inside_tasks=template.score_epochs,
                single_label=self.history.plan.single_label,
            )
            for head in (summary.custom_scalars({"clsim": charts}), *self._hparams):
                self.events.add(head)

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        if isinstance(value, int | float) and math.isfinite(value):
            self.events.add(summary.scalar(name, value), x_plot)

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        step = next((metric.x_plot for metric in metric_values if metric.name == SEEN_MAP), None)
        if step is None:  # inside a task, or another stream
            return
        plan, history = self.history.plan, self.history
        best = np.fmax.reduce(history.ap[: history.last + 1])
        bars = class_bars(plan.class_names, 100 * history.ap[history.last], 100 * best, plan.groups.group)
        self._picture("pictures/R", matrix_image(history.matrix()), step)
        self._picture("pictures/AP of each class", bars, step)
        memory_labels = MemoryLabels.of(template)
        if memory_labels is not None:
            picture = label_block_image(memory_labels.blocks, [f"task {t}" for t in range(step)])
            self._picture("pictures/labels of the memory", picture, step)
        self._precision_recall(step)
        if history.last == len(plan.tasks) - 1:
            if history.reliability is not None:
                self._picture("pictures/reliability", reliability_image(history.reliability), step)
            self.events.add(self._end)

    def _picture(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        self.events.add(summary.image(tag, pixels, dataformats="HWC"), step)

    def _precision_recall(self, step: int) -> None:
        """On the whole test set, as `per_class_AP/<class>`; a class without a positive has no curve."""
        scores, plan = self.history.scores, self.history.plan
        assert scores is not None
        probabilities = torch.from_numpy(scores).double().sigmoid().numpy()
        for column in range(scores.shape[1]):
            truth = plan.test_truth[:, column]
            known = truth >= 0
            if (truth == 1).any():
                name = f"PR/{plan.class_names[column]}"
                curve = summary.pr_curve(name, truth[known], probabilities[known, column], PR_THRESHOLDS)
                self.events.add(curve, step)


def _hparams(values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return the summaries of the HParams page: its columns, the values of this run, and its end."""
    columns, begin, end = summary.hparams(
        {name: _plain(value) for name, value in values.items()}, dict.fromkeys(FINAL_METRICS)
    )
    content = HParamsPluginData.FromString(columns.value[0].metadata.plugin_data.content)
    for column in content.experiment.hparam_infos:
        column.differs = column.name in FIRST_COLUMNS  # the page puts these first, the others follow by name
    columns.value[0].metadata.plugin_data.content = content.SerializeToString()
    return columns, begin, end


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _charts(inside_tasks: bool, single_label: bool) -> dict[str, Any]:
    """Charts of several curves; TensorBoard matches an expression from the start of a tag.

    Those that no run of the scenario has are left out. Those of a memory are not: TensorBoard shows the charts of the
    first run by name, and another may have one.
    """
    charts = {
        "mAP, seen classes": [f"{SEEN_MAP}$", f"{AVERAGE_MAP}$"],
        "mAP of each task": [r"mAP/task_\d+"],
        "forgetting of each task": [r"forgetting/.*"],
        "head, medium, tail mAP": [r"groups/.*_mAP"],
        "head, medium, tail forgetting": [r"groups/.*_forgetting"],
        "CF1 at each threshold": [r"threshold_[\d.e-]+/CF1$"],
        "CF1, harmonic, at each threshold": [r"threshold_[\d.e-]+/CF1_harmonic$"],
        "OF1 at each threshold": [r"threshold_[\d.e-]+/OF1$"],
        "FPR and FNR at each threshold": [r"threshold_[\d.e-]+/(FPR|FNR)$"],
        "Hamming loss at each threshold": [r"threshold_[\d.e-]+/Hamming$"],
        "classes predicted as often as training shows them": ["threshold_prevalence/(CF1|CF1_harmonic|OF1)$"],
        "AUC and LRAP": [r"ranking/.*"],
        "calibration error": [r"calibration/.*"],
        "old classes: predicted and truly present": [r"threshold_[\d.e-]+/predicted_old$", "present/old$"],
        "new classes: predicted and truly present": [r"threshold_[\d.e-]+/predicted_new$", "present/new$"],
        "labels of the memory": ["memory/(coverage|precision|FPR|FNR)$"],
        "ones in the memory": ["memory/(ones|hidden)_.*"],
    }
    if inside_tasks:
        charts["mAP inside the tasks"] = [r"epoch/mAP_.*"]
    if single_label:
        charts["top-1 accuracy"] = [r"accuracy/.*"]
    charts["loss terms"] = [r"loss/.*"]
    return {title: ["Multiline", tags] for title, tags in charts.items()}
