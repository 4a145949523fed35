"""Options that name a file or folder: marked once, where they are declared.

From the marks follow which values of a scenario are made absolute, and what of them identifies a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from clsim.option_marks import KeyPath, marked_options
from clsim.parts import PartOption, located, stated_options


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
    for *sections, key in path_options(model):
        _replace(_section(data, sections), key, lambda path: str(folder / Path(path).expanduser()))
    for (*sections, key), mark in marked_options(model, PartOption).items():
        section = _section(data, sections)
        _replace(section, key, lambda reference: located(reference, folder))
        if isinstance(section.get(key), str) and isinstance(options := section.get(mark.options), dict):
            for name, stated in (stated_options(mark.kind, section[key]) or {}).items():
                if stated.path is not None:
                    _replace(options, name, lambda path: str(folder / Path(path).expanduser()))


def _section(data: Any, sections: list[str]) -> dict[str, Any]:
    for name in sections:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _replace(section: dict[str, Any], key: str, absolute: Callable[[str], str]) -> None:
    if isinstance(section.get(key), str):
        section[key] = absolute(section[key])
