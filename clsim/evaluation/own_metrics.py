"""Metrics that a user brings: functions of what the model scored and of the truth, called once after each task.

    def micro_auc(scores, targets, images, task):
        known = targets >= 0
        return 100 * roc_auc_score(targets[known], scores[known])

They run beside the learner and never in it: they are given copies, and what they return goes to curves and tables only.
"""

from __future__ import annotations

import math
import numbers
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import RunError
from clsim.scenario.plan.stream_plan import StreamPlan

Function = Callable[[NDArray[np.float32], NDArray[np.int8], NDArray[np.int64], int], Any]
_NAME = re.compile(r"\w[\w.@ -]*")


@dataclass(frozen=True)
class OwnMetric:
    """A function and what is known of it.

    Attributes:
        name: of the function; a curve is named after it.
        reference: where it is from, path/to/file.py:name.
        code: hash of its file and options, which is its identity; a run's own identity knows nothing of it.
        function: of (scores float [N, S], targets int8 [N, S] with -1 for unknown, image positions int64 [N], task).
    """

    name: str
    reference: str
    code: str
    function: Function

    def __call__(
        self, scores: NDArray[Any], targets: NDArray[np.int8], images: NDArray[np.int64], task: int
    ) -> dict[str, float]:
        """Return its values by name, NaN where undefined: one named after it, or one for each key it returned.

        Args:
            scores: float [N, S], logits of the images in scope for the classes seen so far.
            targets: int8 [N, S], their truth: 1, 0, or -1 for unknown.
            images: int64 [N], their positions in the split of the data set that is scored.
            task: the task just trained, from 0.

        Raises:
            RunError: it raised an error, or returned something else than a number, None, or a mapping of names to such.
        """
        try:
            returned = self.function(scores.copy(), targets.copy(), images.copy(), task)
        except Exception as error:
            raise RunError(f"{self._place(error)} failed after task {task}: {_told(error)}") from error
        if not isinstance(returned, Mapping):
            return {self.name: self._number(returned, task)}
        for key in returned:
            if not isinstance(key, str) or not _NAME.fullmatch(key):
                text = f"{key!r} as a name of a value; allowed: letters, digits and _ . @ - in a text"
                raise RunError(f"metric {self.reference} returned {text}")
        return {f"{self.name}/{key}": self._number(value, task) for key, value in returned.items()}

    def _number(self, value: Any, task: int) -> float:
        if value is None:
            return math.nan
        if getattr(value, "shape", None) == ():  # an array or tensor of one value
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
            raise RunError(
                f"metric {self.reference} returned {type(value).__name__}{shape} after task {task}; expected a number, "
                "None where it is undefined, or a dict of names to such"
            )
        return float(value) if math.isfinite(value) else math.nan

    def _place(self, error: BaseException) -> str:
        file, _, name = self.reference.rpartition(":")
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        return f"{file}:{lines[-1]}: metric {name}" if lines else f"metric {self.reference}"


def check_names(metrics: Sequence[OwnMetric], taken: Sequence[str]) -> None:
    """See that no two metrics are named alike, nor one as something that clsim measures.

    Raises:
        RunError: naming the file and the function.
    """
    seen: dict[str, str] = {}
    for metric in metrics:
        if metric.name in taken:
            raise RunError(
                f"metric {metric.reference}: clsim itself measures {metric.name}; name the function otherwise"
            )
        if metric.name in seen:
            raise RunError(f"metric {metric.reference}: {seen[metric.name]} is also named {metric.name}; rename one")
        seen[metric.name] = metric.reference


def try_out(metrics: Sequence[OwnMetric], plan: StreamPlan) -> None:
    """Call each metric once on the truth of the first task and made-up scores, so that no training is lost to a slip.

    Raises:
        RunError: as calling it.
    """
    seen = plan.tasks[0].classes[1]
    scope = plan.in_scope(0)
    scores = np.random.default_rng(0).standard_normal((int(scope.sum()), seen), dtype=np.float32)
    for metric in metrics if scope.any() else ():
        metric(scores, plan.test_truth[scope, :seen], plan.test_samples[scope], 0)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ").replace("\n", " ")
