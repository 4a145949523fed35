"""Strict JSON, in which undefined is null and never NaN: objects, files of one object per line, and files that grow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from clsim.errors import RunError, storage_errors
from clsim.opening import read_regular, regular

Object = dict[str, Any]


def finite_or_null(value: Any) -> Any:
    """Return the value with NaN and infinities replaced by None, NumPy's numbers by Python's, tuples by lists."""
    if isinstance(value, dict):
        return {key: finite_or_null(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_object(text: bytes | str, where: str) -> Object:
    """Parse a text as a JSON object.

    Args:
        text: UTF-8 if bytes.
        where: what an error names: a file, or a file and a line.

    Raises:
        RunError: it is no JSON, holds NaN or an infinity, or is something other than an object.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # no UTF-8, nested too deeply
        raise RunError(f"{where}: not readable as JSON: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def read_object(path: Path) -> Object:
    """Read the JSON object of a file.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        text = read_regular(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_object(text, str(path))


def read_lines(path: Path, holding: str = "") -> list[Object]:
    """Read a file of one object per line (`metrics.jsonl`, `timing.jsonl`); no objects if there is no file.

    Args:
        path: of the file.
        holding: lines without this text are passed over unread.

    Raises:
        RunError: a line is damaged; with its number.
    """
    with storage_errors(path):
        lines = enumerate(read_regular(path).splitlines() if path.exists() else (), start=1)
    return [parse_object(line, f"{path}, line {i}") for i, line in lines if holding.encode() in line]


class Tail:
    """Reads a file of one object per line while another process writes it, each line once.

    Args:
        path: of the file, which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0

    def read(self) -> tuple[list[Object], bool]:
        """Read the lines since the last call; a half-written last line waits, a damaged one is left out.

        Returns:
            The lines, and whether the file was cut back since then: then they are all that it holds.
        """
        try:
            with open(self.path, "rb", opener=regular) as file:
                cut_back = file.seek(0, 2) < self.offset
                if cut_back:
                    self.offset = 0
                file.seek(self.offset)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return [], False
        self.offset += len(lines) + len(newline)
        found = []
        for text in lines.splitlines():
            try:
                found.append(parse_object(text, ""))
            except RunError:
                continue
        return found, cut_back


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON, undefined values are null")
