"""What a run has logged, read again: the lines of `metrics.jsonl`, with the values of each class and task."""

from __future__ import annotations

from clsim.evaluation.class_values import with_class_values
from clsim.running.run_folder import RunFolder
from clsim.strict_json import Object, read_lines


def read_logged(files: RunFolder, holding: str = "") -> list[Object]:
    """Read the lines of `metrics.jsonl`, each with all its values by tag; no lines if there is no file.

    Args:
        files: the run folder, perhaps of clsim 0.1.0, whose lines hold everything.
        holding: lines without this text, which may be the tag of a value that is not one of each class or task, are
            passed over unread.

    Raises:
        RunError: a line, or a file that it refers to, is damaged or missing.
    """
    return with_class_values(read_lines(files.metrics, holding), files.class_values, files.about_class_values)
