"""Options that name a file or folder: marked once, where they are declared.

From the marks follow which values of a scenario are made absolute, and what of them identifies a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from clsim.option_marks import KeyPath, marked_options
from clsim.parts import PartOption, located, option_paths


@dataclass(frozen=True)
class PathOption:
    """Mark of an option: `root: Annotated[str | None, DATA_PATH] = Field(...)`.

    Attributes:
        compared: what two equal runs must have in common. "data": neither the path nor here the content, because the
            data's fingerprint and the plan's hash tell what was read, so that data may move; "content": the file's.
    """

    compared: Literal["data", "content"]


DATA_PATH = PathOption("data")
FILE_CONTENT = PathOption("content")
"""Annotation of an option that names a file; its content, not its path, is part of a run's identity."""


def path_options(model: type[BaseModel]) -> dict[KeyPath, PathOption]:
    """Return the marked options of a configuration: keys from the outermost section inwards -> mark."""
    return marked_options(model, PathOption)


def make_absolute(data: dict[str, Any], model: type[BaseModel], folder: Path) -> None:
    """Make relative paths in the plain data of a configuration absolute, in place; whatever else is wrong stays.

    Paths are the options marked as such, the files that name parts, and the paths among those parts' own options.

    Args:
        data: as a scenario file holds it; not yet checked.
        model: of the configuration.
        folder: where relative paths start.
    """

    def absolute(path: str) -> str:
        return str(folder / os.path.expanduser(path))

    for keys in path_options(model):
        for section, key in _places(data, keys):
            section[key] = absolute(section[key])
    for keys, mark in marked_options(model, PartOption).items():
        for section, key in _places(data, keys):
            section[key] = located(section[key], folder)
            options = section.get(mark.options) if isinstance(section, dict) else None
            if isinstance(options, dict):
                for name in option_paths(mark.kind, section[key]):
                    if isinstance(options.get(name), str):
                        options[name] = absolute(options[name])


def _places(data: Any, keys: KeyPath) -> Iterator[tuple[Any, Any]]:
    """Yield the sections, and the keys in them, where texts stand under `keys`.

    Every element of a list is looked at; there a text may stand for a section that has nothing else: `[a]` is
    `[{name: a}]`.
    """
    if isinstance(data, list):
        for place, element in enumerate(data):
            if isinstance(element, str) and len(keys) == 1:
                yield data, place
            else:
                yield from _places(element, keys)
    elif isinstance(data, dict) and len(keys) > 1:
        yield from _places(data.get(keys[0]), keys[1:])
    elif isinstance(data, dict) and isinstance(data.get(keys[0]), str):
        yield data, keys[0]
