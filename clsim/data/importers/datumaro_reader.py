"""Read a data set with datumaro and write what it says to standard output, as JSON; run by datumaro's own Python.

    python -I datumaro_reader.py FORMAT FOLDER

It imports nothing of clsim: datumaro pins pandas, Pillow and pyarrow to versions that need not be clsim's, so that it
has an environment of its own. The answer is {"version", "classes", "images": [{"name", "id", "split", "labels"}],
"left_out": {what: number}, "problems"}, or {"formats"} where the format is not known.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any


def answer(format: str, folder: str) -> dict[str, Any]:
    """Return what datumaro reads in a folder."""
    from importlib.metadata import version

    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset
    from datumaro.components.environment import DEFAULT_ENVIRONMENT
    from datumaro.components.importer import ImportErrorPolicy

    formats = sorted(DEFAULT_ENVIRONMENT.importers)
    if format not in formats:
        return {"formats": formats}
    problems: list[str] = []

    class _Collecting(ImportErrorPolicy):  # type: ignore[misc]
        def _handle_item_error(self, error: Exception) -> None:
            problems.append(str(error))

        _handle_annotation_error = _handle_item_error

    dataset = Dataset.import_from(folder, format, error_policy=_Collecting())
    categories = dataset.categories().get(AnnotationType.label)
    classes = [category.name for category in categories.items] if categories is not None else []
    left_out: Counter[str] = Counter()
    images = []
    for item in dataset:
        shown: dict[str, None] = {}
        for annotation in item.annotations:
            label = getattr(annotation, "label", None)
            if label is None:
                left_out["annotations without a label"] += 1
            elif annotation.attributes.get("is_crowd"):
                left_out["regions of a crowd"] += 1
            else:
                shown[classes[label]] = None
        path = getattr(item.media, "path", None) or ""
        images.append({"name": path, "id": item.id, "split": item.subset, "labels": list(shown)})
    return {
        "version": version("datumaro"),
        "classes": classes,
        "images": images,
        "left_out": dict(left_out),
        "problems": problems,
    }


def told(error: BaseException | None) -> str:
    """Return an error and its causes in one line; datumaro's own often says nothing of what is wrong."""
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__}: {error}".replace("\n", " "))
        error = error.__cause__
    return "; ".join(texts)


if __name__ == "__main__":
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a format prints is no part of the answer
    try:
        json.dump(answer(sys.argv[1], sys.argv[2]), stdout)
    except Exception as error:
        sys.exit(told(error))
    stdout.close()
