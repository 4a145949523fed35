"""Classes that users name as their data set: their options, and how their errors are told."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, Field

from clsim import plugin_files
from clsim.data.held_out import ShareOfTraining
from clsim.data.image_cache import Resize
from clsim.data.label_values import Threshold
from clsim.errors import ScenarioError, Unplannable
from clsim.part_kinds import KINDS
from clsim.parts import PartOption


class OwnConfig(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of a data set by its class."""

    name: Annotated[str, PartOption("dataset")] = Field(
        description="path/to/file.py:Class of your own, torchvision/CIFAR10 ..., or the name of an entry point",
        examples=["my_data.py:MyData"],
        json_schema_extra={"not": {"enum": [*KINDS["dataset"].shipped, "object"]}},  # exactly one form must match
    )
    options: dict[str, Any] = Field(
        {}, description="arguments of the class; a relative `root` starts at the scenario's folder"
    )
    test: ShareOfTraining | None = Field(
        None, description="hold out a share of the images for testing: {share: 0.2}; for a class without splits"
    )
    resize: Resize = Field(
        "squash", description="squash: resize to a square; crop: resize the shorter side, then cut out the centre"
    )
    soft_labels: Literal["unknown"] | Threshold | None = Field(
        None, description="use labels between 0 and 1 as training targets, and how they count elsewhere"
    )


def parameters_of(kind: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function by name; none of one that does not tell."""
    try:
        return inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return {}


class Own:
    """What the data sets by a class have in common: how it is made, and how its errors are told.

    Args:
        config: names it.
        kind: the class or function.
        maker: the same with its options bound.
    """

    def __init__(self, config: OwnConfig, kind: Any, maker: Any) -> None:
        self.config = config
        self._kind = kind
        self._maker = maker

    def _made(self, **split: Any) -> Any:
        with told(f"{self.config.name} cannot be made"):
            return self._maker(**split)


def checked_names(reference: str, what: str, given: Any) -> tuple[str, ...]:
    """Return names of classes.

    Raises:
        Unplannable: they are no texts, or not different ones.
    """
    names = list(given) if isinstance(given, list | tuple) or hasattr(given, "__array__") else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise problem("name", f"{reference}: {what}: given {str(given)[:80]}, allowed: a list of texts")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise problem("name", f"{reference}: {what}: {twice!r} is there twice")
    return tuple(str(name) for name in names)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn errors of somebody else's code into one line, with file and line of theirs.

    Raises:
        Unplannable: the code in the block raised something.
    """
    try:
        yield
    except ScenarioError:
        raise
    except Exception as error:
        raise problem("name", f"{what}: {plugin_files.told(error)}") from error


def kind_of(array: NDArray[Any]) -> str:
    """Return type and shape as errors show them."""
    return f"{array.dtype} {list(array.shape)}"


def problem(key: str, text: str) -> Unplannable:
    """Return what is wrong with an option of the data set."""
    return Unplannable(("dataset", key), text)
