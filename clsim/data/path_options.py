"""Options that name a file or folder: marked once, where they are declared.

From the marks follow which values of a scenario are made absolute, and what of them identifies a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel


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

KeyPath = tuple[str, ...]


def path_options(model: type[BaseModel]) -> dict[KeyPath, PathOption]:
    """Return the marked options of a configuration: keys from the outermost section inwards -> mark."""
    return dict(_marked(model, ()))


def _marked(model: type[BaseModel], above: KeyPath) -> Iterator[tuple[KeyPath, PathOption]]:
    for name, field in model.model_fields.items():
        key = (*above, name)
        yield from ((key, mark) for mark in field.metadata if isinstance(mark, PathOption))
        for section in _sections(field.annotation):
            yield from _marked(section, key)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation, such as a union of forms, contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
