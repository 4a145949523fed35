"""Read the files of NUS-WIDE: lists of images, and one file of flags for each concept, line by line with a list."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.problems import Problems
from clsim.errors import Unplannable
from clsim.opening import read_regular

PARSER_VERSION = 1  # of the cached labels

_SHOWN = 60
"""Characters of a line that an error shows."""
_BLANKS = re.compile(rb"[ \t\r]+")


def read_list(file: Path | str) -> list[str]:
    """Return the images of a list, in its order; back-slashes between folders become slashes.

    Raises:
        Unplannable: the file cannot be read, a line is no path below a folder, or an image is listed twice.
    """
    problems = Problems()
    line_of: dict[str, int] = {}
    for number, line in enumerate(_content(file).decode(errors="replace").rstrip().splitlines(), start=1):
        name = line.strip().replace("\\", "/")
        if not _is_below(name):
            problems.add(f"{file}:{number}", f"given {line[:_SHOWN]!r}, expected the path of an image below a folder")
        elif name in line_of:
            problems.add(f"{file}:{number}", f"{name[:_SHOWN]!r} is there a second time, first in line {line_of[name]}")
        else:
            line_of[name] = number
    if not problems.count and not line_of:
        problems.add(file, "names no image")
    problems.refuse("root")
    return list(line_of)


def read_flags(files: Sequence[str], count: int, listing: Path | str) -> NDArray[np.int8]:
    """Return the labels that files of flags hold, int8 [N, C]: 1 present, 0 absent.

    Args:
        files: one for each class; each line is 0 or 1.
        count: N, images of the list.
        listing: the file of the list, for messages.

    Raises:
        Unplannable: a file cannot be read, a line is neither, or there are more or fewer than `count`.
    """
    labels = np.empty((count, len(files)), dtype=np.int8)
    problems = Problems()
    for column, file in enumerate(files):
        content = _BLANKS.sub(b"", _content(file)).strip()
        flags = np.frombuffer(content, dtype=np.uint8)
        if not np.isin(flags[0::2], (48, 49)).all() or (flags[1::2] != 10).any():
            number, line = next(
                (number, line) for number, line in enumerate(content.split(b"\n"), 1) if line not in (b"0", b"1")
            )
            shown = line[:_SHOWN].decode(errors="replace")
            problems.add(f"{file}:{number}", f"given {shown!r}, allowed: 0, 1")
        elif (found := len(flags[0::2])) != count:
            problems.add(file, f"{found} lines, but {listing} lists {count} images")
        else:
            labels[:, column] = flags[0::2] - 48
    problems.refuse("root")
    return labels


def _content(file: Path | str) -> bytes:
    try:
        return read_regular(file).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise Unplannable(("dataset", "root"), f"{file}: cannot be read: {error.strerror or error}") from None


def _is_below(name: str) -> bool:
    """Return whether a name is a path that no folder is left by."""
    whole = name.isprintable() and "\N{REPLACEMENT CHARACTER}" not in name
    return bool(name) and whole and not os.path.isabs(name) and ".." not in name.split("/") and ":" not in name
