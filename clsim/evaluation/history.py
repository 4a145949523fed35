"""Scores after each task -> every number of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.evaluation import thresholds
from clsim.evaluation.calibration import (
    Reliability,
    class_calibration_error,
    expected_calibration_error,
    reliability_of,
)
from clsim.evaluation.inside_tasks import InsideTasks, seen_columns
from clsim.evaluation.metrics import (
    average_precisions,
    backward_transfer,
    finite_mean,
    forgetting,
    label_ranking_average_precision,
    mean_ap,
    roc_aucs,
    sort_classes,
    top1_accuracy,
)
from clsim.evaluation.own_metrics import OwnMetric
from clsim.evaluation.prevalence import chance_levels, visible_shares
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.vocabulary import (
    AT_THRESHOLD,
    AT_THRESHOLD_BY_BLOCK,
    AVERAGE_MAP,
    BLOCKS,
    CALIBRATION,
    CHANCE_MAP,
    CLASS_AP,
    CLASS_FORGETTING,
    GROUPS,
    MEAN_BACKWARD_TRANSFER,
    MEAN_FORGETTING,
    OWN_METRIC,
    RANKING,
    SEEN_MAP,
    SHOTS,
    TASK_FORGETTING,
    TASK_MAP,
    group_map_tag,
    task_name,
)

Floats = NDArray[np.float64]

log = logging.getLogger("clsim")

_CLASS_MEANS = (thresholds.cf1, thresholds.cf1_harmonic)
_POOLED = (
    thresholds.of1,
    thresholds.false_positive_rate,
    thresholds.false_negative_rate,
    thresholds.hamming_loss,
)
"""What is reported at each threshold, in percent, on the images and columns of mAP/seen; means over classes first."""

_BY_BLOCK = (thresholds.predicted_positive_rate, thresholds.false_positive_rate)
"""The same for the classes of earlier tasks and of the last one apart; NaN for no old class."""

REPORTED = (*AT_THRESHOLD, *AT_THRESHOLD_BY_BLOCK)
"""Names of all of them, in their order."""

ACCURACIES = {"all": (0, 1, 2)} | {name: (group,) for group, name in enumerate(SHOTS)}
"""Top-1 accuracy is reported over images of all seen classes and of head, medium and tail."""


@dataclass
class History:
    """What a run has scored so far; everything else follows from it and the plan.

    Attributes:
        plan: the stream, with the evaluation truth.
        empty_classes: what a class without a positive test image counts in every mean over classes (mAP, R, CF1, groups
            and what follows from them): "skip" nothing, "zero" 0.
        ap: float64 [T, C], AP of each class on the whole test set after each task, 0..1; NaN where a class is not yet
            seen, has no positive, or the task was not trained.
        thresholds: probabilities above which a class counts as predicted.
        metrics: what a user measures besides.
        own: name -> float64 [T], values of `metrics` in their own units; NaN where undefined or not trained.
        seen_map: float64 [T], mAP over seen classes and the test images in scope, percent; NaN if not trained.
        at_threshold: float64 [T, H, 10], the metrics of REPORTED at each threshold, percent; NaN if not trained.
        at_prevalence: float64 [T, 6], the metrics of AT_THRESHOLD, percent, where each class is predicted for as large
            a share of the images in scope as `visible_shares` has of it; NaN if not trained.
        ranking: float64 [T, 2], the metrics of RANKING, percent; NaN if not trained.
        calibration: float64 [T, 2], the metrics of CALIBRATION, percent; NaN if not trained.
        reliability: of the last task scored, all classes together; None: of none yet.
        accuracy: float64 [T, 4], top-1 accuracy over the test images of seen classes, columns as ACCURACIES, percent;
            NaN if not trained, without such an image, or where images show several classes.
        inside: the passes inside tasks.
        scores: float [M, S], the last task's logits, or None; not part of the state.
    """

    plan: StreamPlan
    empty_classes: str = "skip"
    thresholds: Sequence[float] = (0.5, 0.8)
    metrics: Sequence[OwnMetric] = ()

    def __post_init__(self) -> None:
        n_tasks, n_classes = len(self.plan.tasks), self.plan.n_classes
        self.ap: Floats = np.full((n_tasks, n_classes), np.nan)
        self.seen_map: Floats = np.full(n_tasks, np.nan)
        self.thresholds = tuple(dict.fromkeys(self.thresholds))
        self.at_threshold: Floats = np.full((n_tasks, len(self.thresholds), len(REPORTED)), np.nan)
        self.at_prevalence: Floats = np.full((n_tasks, len(AT_THRESHOLD)), np.nan)
        self.ranking: Floats = np.full((n_tasks, len(RANKING)), np.nan)
        self.calibration: Floats = np.full((n_tasks, len(CALIBRATION)), np.nan)
        self.reliability: Reliability | None = None
        self.accuracy: Floats = np.full((n_tasks, len(ACCURACIES)), np.nan)
        self.own: dict[str, Floats] = {}
        self.inside = InsideTasks(self.plan, self.empty_classes)
        self.scores: NDArray[Any] | None = None
        self.last = -1

    def add(self, scores: NDArray[Any], task: int) -> None:
        """Take the scores of the evaluation pass after a task.

        Args:
            scores: float [M, S], logits of the seen classes for every test image, in the plan's order.
            task: index of the task just trained. S does not tell it, because a task may bring no new class.

        Raises:
            ValueError: no such task, or S is not the number of classes seen after it.
        """
        seen = seen_columns(self.plan, scores, task)
        classes = sort_classes(scores, self.plan.test_truth[:, :seen])
        self.ap[task, :seen] = average_precisions(classes)
        scope = self.plan.in_scope(task)
        scores_in_scope, truth_in_scope = scores[scope], self.plan.test_truth[scope, :seen]
        if not scope.all():
            classes = sort_classes(scores_in_scope, truth_in_scope)
        self.seen_map[task] = mean_ap(average_precisions(classes), self.empty_classes)
        lrap = label_ranking_average_precision(scores_in_scope, truth_in_scope)
        self.ranking[task] = 100 * finite_mean(roc_aucs(classes)), 100 * lrap
        for place, threshold in enumerate(self.thresholds):
            counts = thresholds.confusion_above(classes, np.full(seen, thresholds.logit(threshold)))
            start = self.plan.tasks[task].classes[0]
            blocks = counts.part(0, start), counts.part(start, seen)
            found = _rates(counts, self.empty_classes)
            found += [metric(block) for metric in _BY_BLOCK for block in blocks]
            self.at_threshold[task, place] = 100 * np.array(found)
        cutoffs = thresholds.share_cutoffs(classes, self._visible_shares[task, :seen])
        counts = thresholds.confusion_above(classes, cutoffs)
        self.at_prevalence[task] = 100 * np.array(_rates(counts, self.empty_classes))
        table = reliability_of(classes)
        self.calibration[task] = 100 * expected_calibration_error(table), 100 * class_calibration_error(table)
        self.reliability = table.pooled()
        if self.plan.single_label:
            self.accuracy[task] = self._accuracy(scores)
        for metric in self.metrics if scope.any() else ():
            for name, value in metric(scores_in_scope, truth_in_scope, self.plan.test_samples[scope], task).items():
                self.own.setdefault(name, np.full(len(self.plan.tasks), np.nan))[task] = value
        self.scores = scores
        self.last = task

    @cached_property
    def _visible_shares(self) -> Floats:
        return visible_shares(self.plan)

    def _accuracy(self, scores: NDArray[Any]) -> list[float]:
        """DECIDED: images of classes still to come are left out, whatever the scope of mAP: nobody could be right."""
        classes = (self.plan.test_truth == 1).argmax(axis=1)
        seen, group = classes < scores.shape[1], self.plan.groups.group[classes]
        found = []
        for groups in ACCURACIES.values():
            rows = seen & np.isin(group, groups)
            found.append(top1_accuracy(scores[rows], classes[rows]))
        return found

    def _averaged_ap(self) -> Floats:
        """AP as means over classes take it, float64 [T, C]: with "zero", 0 where a seen class has no positive."""
        if self.empty_classes == "skip":
            return self.ap
        seen = np.arange(self.plan.n_classes) < [[task.classes[1]] for task in self.plan.tasks]
        trained = ~np.isnan(self.seen_map)[:, None]
        return np.where(seen & trained & np.isnan(self.ap), 0.0, self.ap)

    def matrix(self) -> Floats:
        """Return R [T, T] in percent: R[t, k] is the mean AP over the new classes of task k after task t.

        It is NaN for k > t, and for a task k that brings no new class.
        """
        n_tasks = len(self.plan.tasks)
        bringing = [k for k, task in enumerate(self.plan.tasks) if task.classes[0] < task.classes[1]]
        starts = [self.plan.tasks[k].classes[0] for k in bringing]
        ap = self._averaged_ap()
        counted = np.add.reduceat(~np.isnan(ap), starts, axis=1, dtype=np.int64)
        total = np.add.reduceat(np.nan_to_num(ap), starts, axis=1)
        values = np.full((n_tasks, n_tasks), np.nan)
        values[:, bringing] = np.divide(100 * total, counted, out=np.full(total.shape, np.nan), where=counted > 0)
        values[np.triu(np.ones((n_tasks, n_tasks), dtype=bool), k=1) | np.isnan(self.seen_map)[:, None]] = np.nan
        return values

    def group_map(self) -> dict[str, Floats]:
        """mAP in percent of the seen classes of each group after each task, float64 [T]; NaN while none is seen."""
        values, ap = {}, self._averaged_ap()
        for name in GROUPS:
            part = ap[:, self.plan.groups.columns(name)]
            known = (~np.isnan(part)).sum(axis=1)
            total = 100 * np.nan_to_num(part).sum(axis=1)
            values[name] = np.divide(total, known, out=np.full(len(part), np.nan), where=known > 0)
        return values

    def values(self) -> dict[str, float]:
        """The scalars after the last scored task, by TensorBoard tag; NaN where undefined."""
        task = self.last
        matrix = self.matrix()[: task + 1, : task + 1]
        lost = forgetting(matrix)[:task]
        values = {SEEN_MAP: self.seen_map[task], AVERAGE_MAP: self.seen_map[: task + 1].mean()}
        values[CHANCE_MAP] = chance_levels(self.plan, task, self.empty_classes)["mAP"]
        values |= {TASK_MAP + task_name(k): matrix[task, k] for k in range(task + 1)}
        values |= {TASK_FORGETTING + task_name(k): lost[k] for k in range(task)}
        values[MEAN_FORGETTING] = finite_mean(lost)
        values[MEAN_BACKWARD_TRANSFER] = backward_transfer(matrix)
        group_map, group_lost = self.group_map(), self.group_forgetting()
        values |= {group_map_tag(name): group_map[name][task] for name in GROUPS}
        values |= {f"groups/{name}_forgetting": group_lost[name] for name in GROUPS}
        if self.plan.single_label:
            values |= {f"accuracy/{name}": self.accuracy[task, k] for k, name in enumerate(ACCURACIES)}
            values["accuracy/average"] = self.accuracy[: task + 1, 0].mean()
        for place, threshold in enumerate(self.thresholds):
            values |= _tagged(f"threshold_{threshold}", REPORTED, self.at_threshold[task, place])
        values |= _tagged("threshold_prevalence", AT_THRESHOLD, self.at_prevalence[task])
        values |= _tagged("ranking", RANKING, self.ranking[task])
        values |= _tagged("calibration", CALIBRATION, self.calibration[task])
        values |= {f"present/{block}": share for block, share in self.present(task).items()}
        names = self.plan.class_names
        start, seen = self.plan.tasks[task].classes
        values |= {CLASS_AP + names[c]: 100 * self.ap[task, c] for c in range(seen)}
        if task == len(self.plan.tasks) - 1:
            # DECIDED: once, after the last task, not as C more curves; result.json and the AP curves hold the course.
            lost = self.class_forgetting()
            values |= {CLASS_FORGETTING + names[c]: lost[c] for c in range(start)}
        values |= {OWN_METRIC + name: course[task] for name, course in self.own.items()}
        return {name: float(value) for name, value in values.items()}

    def present(self, task: int) -> dict[str, float]:
        """Share of known entries that truly are present, in percent, of old and new classes after a task.

        What `predicted_old` and `predicted_new` would be if the predictions were right.
        """
        start, seen = self.plan.tasks[task].classes
        truth = self.plan.test_truth[self.plan.in_scope(task)]
        shares = {}
        for block, columns in zip(BLOCKS, (slice(0, start), slice(start, seen)), strict=True):
            known = truth[:, columns][truth[:, columns] >= 0]
            shares[block] = 100 * float(known.mean()) if len(known) else np.nan
        return shares

    def class_forgetting(self) -> Floats:
        """Forgetting of each class in percent points, float64 [C]; NaN for classes seen only in the last task."""
        return 100 * forgetting(self.ap[: self.last + 1])

    def group_forgetting(self) -> dict[str, float]:
        """Mean class forgetting of each group, percent points; of a class that counts as 0 it is 0."""
        lost = 100 * forgetting(self._averaged_ap()[: self.last + 1])
        return {name: finite_mean(lost[self.plan.groups.columns(name)]) for name in GROUPS}

    def summary(self) -> dict[str, Any]:
        """The final numbers of a run as `result.json` records them; NaN stands for undefined.

        avg_mAP is the mean over all tasks, the first included; NaN when a task was not trained. `accuracy` is there for
        single-label data only.
        """
        matrix = self.matrix()
        group_map = self.group_map()
        return {
            "last_mAP": self.seen_map[-1],
            "avg_mAP": self.seen_map.mean(),
            "anytime_mAP": self.inside.average,
            "forgetting": finite_mean(forgetting(matrix)[:-1]),
            "backward_transfer": backward_transfer(matrix),
            "mAP": self.seen_map.tolist(),
            "chance": self._chance(),
            "R": matrix.tolist(),
            "AP": (100 * self.ap).tolist(),
            "class_forgetting": self.class_forgetting().tolist(),
            "groups": {
                "rule": self.plan.groups.rule,
                "members": {n: [self.plan.class_names[c] for c in self.plan.groups.columns(n)] for n in GROUPS},
                "positives": self.plan.groups.positives.tolist(),
                "mAP": {name: group_map[name].tolist() for name in GROUPS},
                "last_mAP": {name: group_map[name][-1] for name in GROUPS},
                "forgetting": self.group_forgetting(),
            },
            "present": {block: [self.present(t)[block] for t in range(len(self.plan.tasks))] for block in BLOCKS},
            "thresholds": {
                str(threshold): _courses(REPORTED, self.at_threshold[:, place])
                for place, threshold in enumerate(self.thresholds)
            },
            "at_prevalence": _courses(AT_THRESHOLD, self.at_prevalence),
            "ranking": _courses(RANKING, self.ranking),
            "calibration": _courses(CALIBRATION, self.calibration) | {"bins": self._last_bins()},
            **({"accuracy": self._accuracies()} if self.plan.single_label else {}),
            "metrics": {metric.name: self._own(metric) for metric in self.metrics},
        }

    def _chance(self) -> dict[str, list[float]]:
        """Course of each chance level; see `chance_levels`."""
        levels = [chance_levels(self.plan, task, self.empty_classes) for task in range(len(self.plan.tasks))]
        return {name: [level[name] for level in levels] for name in levels[0]}

    def _own(self, metric: OwnMetric) -> dict[str, Any]:
        """Courses of a user's metric by name, and what computed them."""
        named = {name: course.tolist() for name, course in self.own.items() if name.partition("/")[0] == metric.name}
        return {"reference": metric.reference, "code": metric.code, "courses": named}

    def _accuracies(self) -> dict[str, Any]:
        """Course of each accuracy, `last_<name>` after the last task, and the mean over the tasks as `average`."""
        courses = dict(zip(ACCURACIES, self.accuracy.T.tolist(), strict=True))
        last = {f"last_{name}": course[-1] for name, course in courses.items()}
        return courses | last | {"average": self.accuracy[:, 0].mean()}

    def _last_bins(self) -> dict[str, list[Any]] | None:
        """The reliability diagram after the last task; None: it was not scored."""
        done = self.last == len(self.plan.tasks) - 1
        return self.reliability.bins() if done and self.reliability is not None else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "ap": torch.tensor(self.ap),
            "seen_map": torch.tensor(self.seen_map),
            "at_threshold": torch.tensor(self.at_threshold),
            "at_prevalence": torch.tensor(self.at_prevalence),
            "ranking": torch.tensor(self.ranking),
            "calibration": torch.tensor(self.calibration),
            "reliability": None if self.reliability is None else self.reliability.bins(),
            "accuracy": torch.tensor(self.accuracy),
            "inside": self.inside.state(),
            "last": self.last,
            "own": {name: torch.tensor(course) for name, course in self.own.items()},
            "own_code": {metric.name: metric.code for metric in self.metrics},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ap, self.seen_map = _loaded(state["ap"]), _loaded(state["seen_map"])
        self.accuracy = _loaded(state["accuracy"])
        self.at_threshold, self.last = _loaded(state["at_threshold"]), state["last"]
        if self.at_threshold.shape[-1] < len(REPORTED):  # begun before the Hamming loss was one of them
            self.at_threshold = np.insert(self.at_threshold, AT_THRESHOLD.index("Hamming"), np.nan, axis=-1)
        for name in ("at_prevalence", "ranking", "calibration"):
            setattr(self, name, _loaded(state[name]) if name in state else getattr(self, name))
        self.inside.load(state.get("inside"))
        self.reliability = Reliability.of(state["reliability"]) if state.get("reliability") else None
        before = state.get("own_code", {})
        for metric in self.metrics:
            if self.last >= 0 and before.get(metric.name) != metric.code:
                log.warning("metric %s has changed: its values up to task %d are dropped", metric.reference, self.last)
        unchanged = {metric.name for metric in self.metrics if before.get(metric.name) == metric.code}
        courses = state.get("own", {}).items()
        self.own = {name: _loaded(course) for name, course in courses if name.partition("/")[0] in unchanged}


def _loaded(state: Any) -> Floats:
    """Return an array of a state, a tensor, or nested lists as clsim 0.1.0 has written them."""
    return torch.as_tensor(state, dtype=torch.float64).numpy().copy()


def _rates(counts: thresholds.Confusion, empty_classes: str) -> list[float]:
    """The metrics of AT_THRESHOLD, fractions."""
    means = [metric(counts, empty_classes) for metric in _CLASS_MEANS]
    return means + [metric(counts) for metric in _POOLED]


def _tagged(kind: str, names: Sequence[str], values: Floats) -> dict[str, float]:
    """The values of metrics by TensorBoard tag, `<kind>/<name>`."""
    return {f"{kind}/{name}": value for name, value in zip(names, values, strict=True)}


def _courses(names: Sequence[str], table: Floats) -> dict[str, Any]:
    """Each metric, a column of float64 [T, K], after each task, and `last_<metric>` after the last."""
    courses = dict(zip(names, table.T.tolist(), strict=True))
    return courses | {f"last_{name}": course[-1] for name, course in courses.items()}
