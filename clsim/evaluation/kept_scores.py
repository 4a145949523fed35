"""The scores that a run keeps for afterwards: the logits of every evaluated image, after the last task or after each.

They are a pair of files. `scores.f32` grows with the run: little-endian float32, one block [M, S] per kept task, one
row per evaluation image in the order of the plan, one column per class seen so far. `scores.json`, written when the run
begins, says where each block is and which image is on which row. The truth is in neither; the plan has it.

    about = json.load(open("scores.json"))
    block = about["tasks"][-1]
    shape = (len(about["images"]), block["classes"])
    logits = numpy.memmap("scores.f32", "<f4", "r", block["offset"], shape)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clsim.errors import RunError
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.strict_json import Object, read_object

FORMAT = 1
DTYPE = np.dtype("<f4")

Keep = Literal["last", "all", "none"]


def kept_tasks(plan: StreamPlan, keep: Keep) -> list[int]:
    """Return the tasks whose scores are kept, ascending; a task without rows is neither trained nor scored."""
    trained = [index for index, task in enumerate(plan.tasks) if len(task)]
    return {"none": [], "last": trained[-1:], "all": trained}[keep]


def kept_bytes(plan: StreamPlan, keep: Keep) -> int:
    """Return the size of `scores.f32` once the run is finished."""
    columns = sum(plan.tasks[task].classes[1] for task in kept_tasks(plan, keep))
    return len(plan.test_samples) * columns * DTYPE.itemsize


def describe_scores(plan: StreamPlan, keep: Keep, image_names: Sequence[str]) -> Object:
    """Return the content of `scores.json`.

    Args:
        plan: that the run trains on.
        keep: which tasks are kept.
        image_names: id of each image of the split that is evaluated.
    """
    blocks, offset = [], 0
    for task in kept_tasks(plan, keep):
        classes = plan.tasks[task].classes[1]
        blocks.append({"task": task, "classes": classes, "offset": offset})
        offset += len(plan.test_samples) * classes * DTYPE.itemsize
    return {
        "format": FORMAT,
        "dtype": "float32, little-endian",
        "what": "logits [images, classes] of each task, row by row",
        "plan_sha256": plan.sha256,
        "split": plan.test_split,
        "class_names": list(plan.class_names),
        "tasks": blocks,
        "images": [image_names[sample] for sample in plan.test_samples],
    }


def read_scores(scores: Path, about: Path, plan_sha256: str) -> dict[int, NDArray[np.float32]]:
    """Return the kept scores by task, float32 [M, S], read-only and memory-mapped; empty if the run keeps none.

    Args:
        scores: path of `scores.f32`.
        about: path of `scores.json`.
        plan_sha256: hash of the plan that the run was trained on.

    Raises:
        RunError: they are incomplete, damaged, of another format or of another plan.
    """
    if not about.exists():
        return {}
    content = read_object(about)
    if content.get("format") != FORMAT:
        raise RunError(f"{about}: format is {content.get('format')!r}, this version of clsim reads {FORMAT}")
    if content.get("plan_sha256") != plan_sha256:
        raise RunError(f"{about}: scores of another plan, {content.get('plan_sha256')}")
    try:
        rows = len(content["images"])
        shapes = {int(block["task"]): (rows, int(block["classes"])) for block in content["tasks"]}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{about}: damaged: {type(error).__name__}: {error}") from None
    size = scores.stat().st_size if scores.exists() else 0
    expected = sum(rows * columns for rows, columns in shapes.values()) * DTYPE.itemsize
    if size != expected:
        raise RunError(f"{scores}: holds {size} bytes, expected {expected}; a run has all of its scores once finished")
    return _blocks(scores, shapes)


def _blocks(scores: Path, shapes: dict[int, tuple[int, int]]) -> dict[int, NDArray[np.float32]]:
    ends = np.cumsum([rows * columns for rows, columns in shapes.values()])
    everything: NDArray[Any] = np.memmap(scores, DTYPE, "r") if ends[-1:].any() else np.empty(0, DTYPE)
    parts = np.split(np.asarray(everything), ends[:-1])
    return {task: part.reshape(shape) for (task, shape), part in zip(shapes.items(), parts, strict=True)}
