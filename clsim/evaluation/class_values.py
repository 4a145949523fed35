"""Values of every class, or of every task, in a file of their own beside `metrics.jsonl`.

As text they would be most of its bytes. They are a pair of files. `class_values.f64` grows with the run: little-endian
float64, one row after another, NaN where a value is undefined. `class_values.json`, written when the run begins, says
which tags a row stands for: `rows` has the beginning of the tags, and which of the lists `class_names` and `task_names`
has their ends. A line of `metrics.jsonl` says under `rows` where its rows begin and end, counted in values. A row has
the first names of its list, such as the classes seen so far. A tag that a line has neither in a row nor in `values` has
no value there.

    values = numpy.fromfile("class_values.f64")
    lines = [json.loads(line) for line in open("metrics.jsonl")]
    ap = [values[slice(*line["rows"]["per_class_AP/"])] for line in lines if line["phase"] == "eval"]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import RunError, storage_errors
from clsim.files import GrowingFile
from clsim.opening import read_regular
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.strict_json import Object, read_object
from clsim.vocabulary import BY_CLASS, BY_TASK, OWN_METRIC, task_name

FORMAT = 1
DTYPE = np.dtype("<f8")

_CLASSES, _TASKS = "class_names", "task_names"


def describe_rows(plan: StreamPlan, own_metrics: Sequence[str] = ()) -> Object:
    """Return the content of `class_values.json`.

    Args:
        plan: that the run trains on.
        own_metrics: names of the user's metrics, each of which may return a value of each class, by its name.
    """
    by_class = [*BY_CLASS, *(f"{OWN_METRIC}{name}/" for name in own_metrics)]
    return {
        "format": FORMAT,
        "dtype": "float64, little-endian",
        "what": "rows of values; metrics.jsonl says where each begins and ends, counted in values",
        "rows": dict.fromkeys(by_class, _CLASSES) | dict.fromkeys(BY_TASK, _TASKS),
        _CLASSES: list(plan.class_names),
        _TASKS: [task_name(k) for k in range(len(plan.tasks))],
    }


class ClassValues:
    """Takes rows out of the values of a line and appends them to `class_values.f64`.

    Args:
        path: of the file.
        about: the content of `class_values.json`.
    """

    def __init__(self, path: Path, about: Object) -> None:
        self.file = GrowingFile(path)
        self.names = {start: about[names] for start, names in about["rows"].items()}

    def take(self, values: dict[str, Any]) -> dict[str, list[int]]:
        """Return where the rows of a line are: the beginning of their tags -> first value, and the one behind the last.

        Args:
            values: of the line, by tag, None where undefined; what is kept here is removed.
        """
        lengths: dict[str, int] = {}
        taken: list[float | None] = []
        for start, names in self.names.items():
            row = [values.pop(tag) for tag in takewhile(values.__contains__, map(start.__add__, names))]
            if row:
                lengths[start] = len(row)
                taken += row
        if not taken:
            return {}
        end = self.file.append(np.array(taken, DTYPE).tobytes()) // DTYPE.itemsize
        borders = np.cumsum([end - len(taken), *lengths.values()]).tolist()
        return {start: list(border) for start, border in zip(lengths, pairwise(borders), strict=True)}


def with_class_values(lines: Sequence[Object], path: Path, about: Path) -> list[Object]:
    """Return lines of `metrics.jsonl` with the values of their rows among the others, None where undefined.

    Lines without rows, such as all of clsim 0.1.0, are returned as they are.

    Args:
        lines: as they stand in the file.
        path: of `class_values.f64`.
        about: path of `class_values.json`.

    Raises:
        RunError: a file is missing, damaged or of another format.
    """
    if not any("rows" in line for line in lines):
        return list(lines)
    names = _read_names(about)
    with storage_errors(path):
        content = read_regular(path)
    values = np.frombuffer(content, DTYPE, len(content) // DTYPE.itemsize)
    return [_joined(line, values, names, path) if "rows" in line else line for line in lines]


def _joined(line: Object, values: NDArray[np.float64], names: Mapping[str, Sequence[str]], path: Path) -> Object:
    found = {key: part for key, part in line.items() if key != "rows"}
    try:
        found["values"] = dict(line["values"])
        for start, (first, end) in line["rows"].items():
            if not 0 <= first <= end <= len(values):
                raise RunError(f"{path}: damaged: holds {len(values)} values, metrics.jsonl names {first} to {end}")
            row = (None if math.isnan(value) else value for value in values[first:end].tolist())
            tags = (start + name for name in names[start][: end - first])
            found["values"] |= zip(tags, row, strict=True)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = f"{path}: damaged: not the rows that metrics.jsonl names: {type(error).__name__}: {error}"
        raise RunError(text) from None
    return found


def _read_names(about: Path) -> dict[str, Sequence[str]]:
    """Return the beginning of the tags of a row -> their ends."""
    content = read_object(about)
    if content.get("format") != FORMAT:
        raise RunError(f"{about}: format is {content.get('format')!r}, this version of clsim reads {FORMAT}")
    try:
        return {start: list(map(str, content[names])) for start, names in content["rows"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise RunError(f"{about}: damaged: {type(error).__name__}: {error}") from None
