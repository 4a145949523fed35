"""Marks at the declaration of an option: `file: Annotated[str, MARK] = Field(...)`. They say what its value means."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

Mark = TypeVar("Mark")
KeyPath = tuple[str, ...]


def marked_options(model: type[BaseModel], kind: type[Mark]) -> dict[KeyPath, Mark]:
    """Return the options of a configuration that bear a mark: keys from the outermost section inwards -> mark."""
    hashable: Any = kind
    return dict(_found(model, hashable))


@lru_cache(maxsize=256)
def _found(model: type[BaseModel], kind: type[Any]) -> tuple[tuple[KeyPath, Any], ...]:
    return tuple(_marked(model, kind, ()))


def _marked(model: type[BaseModel], kind: type[Mark], above: KeyPath) -> Iterator[tuple[KeyPath, Mark]]:
    for name, field in model.model_fields.items():
        key = (*above, name)
        yield from ((key, mark) for mark in field.metadata if isinstance(mark, kind))
        for section in _sections(field.annotation):
            yield from _marked(section, kind, key)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation, such as a union of forms, contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
