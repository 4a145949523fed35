"""Files of exports, read with bounds: JSON, XML and lists of lines."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clsim.data.problems import Problems
from clsim.opening import read_regular

MOST_LOOKED_AT = 4096
"""Bytes of a file that are read to recognise it."""
TRAIN_OR_TEST = re.compile(r"(train(ing|val)?|val(id(ation)?)?|test(ing)?)(19|20)?\d{0,2}", re.IGNORECASE)
"""Names of folders that are parts of a data set."""


def read_json(path: Path, problems: Problems) -> Any:
    """Return the content of a JSON file; what cannot be read ends the import with its line."""
    try:
        return json.loads(read_text(path, problems))
    except json.JSONDecodeError as error:
        problems.stop(f"{path}:{error.lineno}", f"not valid JSON: {error.msg}; is the file complete?")
    except (ValueError, RecursionError) as error:
        problems.stop(path, f"not valid JSON: {error}")


def read_text(path: Path, problems: Problems) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark; what is none ends the import."""
    if not path.is_file():
        problems.stop(path, "no such file")
    try:
        return read_regular(path).decode("utf-8-sig")
    except OSError as error:
        problems.stop(path, f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.stop(f"{path}:{line}", "not UTF-8, allowed: UTF-8")


def read_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line of a text file that is not blank, without the space around it."""
    for number, line in enumerate(read_text(path, problems).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def read_xml(path: Path, problems: Problems) -> ET.Element:
    """Return the first element of an XML file; entities of its own and damage end the import with the line."""
    if not path.is_file():
        problems.stop(path, "no such file")
    try:
        content = read_regular(path)
        if b"<!ENTITY" in content.replace(b"\0", b""):  # in UTF-16 too
            problems.stop(path, "defines XML entities, which no export needs")
        return ET.fromstring(content)
    except OSError as error:
        problems.stop(path, f"cannot be read: {error.strerror or error}")
    except ET.ParseError as error:
        problems.stop(f"{path}:{error.position[0]}", f"not valid XML: {str(error).partition(':')[0]}")
    except (ValueError, LookupError) as error:
        problems.stop(path, f"not valid XML: {error}")


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file, to recognise it; none of what is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(MOST_LOOKED_AT)


def split_of_folder(relative: Path) -> str | None:
    """Return the first folder of a relative path that is named train, val, test or the like."""
    return next((part for part in relative.parts[:-1] if TRAIN_OR_TEST.fullmatch(part)), None)
