"""Classes that users name as their data set: how one is found, checked and made, and how its errors are told."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, field_validator

from clsim.data.held_out import ShareOfTraining
from clsim.data.image_cache import Resize
from clsim.data.label_values import Threshold
from clsim.data.path_options import path_options
from clsim.errors import ScenarioError, Unplannable, did_you_mean
from clsim.plugin_files import PluginFileError, load
from clsim.source_code import class_code

TORCHVISION = "torchvision/"


class OwnConfig(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of a data set by its class."""

    name: str = Field(
        description="path/to/file.py:Class of your own, or torchvision/CIFAR10 ...",
        examples=["my_data.py:MyData"],
        json_schema_extra={"pattern": rf"\.py:|^{TORCHVISION}"},  # of the forms of a data set exactly one must match
    )
    options: dict[str, Any] = Field({}, description="arguments of the class; a relative root starts at the scenario")
    test: ShareOfTraining | None = Field(
        None, description="keep a share of the images for testing: {share: 0.2}; for a class that knows no splits"
    )
    resize: Resize = Field("squash", description="squash: to a square; crop: shorter side to size, then the centre")
    soft_labels: Literal["unknown"] | Threshold | None = Field(
        None, description="take labels between 0 and 1 as training targets, and what they count as elsewhere"
    )

    @field_validator("name")
    @classmethod
    def _names_a_class(cls, value: str) -> str:
        file, colon, kind = value.rpartition(":")
        named = kind.isidentifier() and file.endswith(".py") if colon else value[len(TORCHVISION) :].isidentifier()
        if not named:
            raise ValueError("allowed: path/to/file.py:Class, or torchvision/CIFAR10 and the like")
        return value


def is_reference(name: object) -> bool:
    """Tell the name of a class from the name of a shipped data set."""
    return isinstance(name, str) and (".py:" in name or name.startswith(TORCHVISION))


def path_keys(name: str) -> set[str]:
    """Return the options of a class that are paths: those its `Options` mark, or `root` if it has no such model.

    What is wrong with the file is told when the data set is opened.
    """
    try:
        model = _options_model(loaded(name))
    except Unplannable:
        return {"root"}
    return {"root"} if model is None else {".".join(keys) for keys in path_options(model)}


def loaded(name: str) -> Any:
    """Return the class or function that a name stands for.

    Raises:
        Unplannable: there is none; with file and line of what is wrong.
    """
    if name.startswith(TORCHVISION):
        try:
            import torchvision
        except ImportError:
            raise problem("name", f"given {name!r}, which needs torchvision: pip install torchvision") from None
        kind, known = name.removeprefix(TORCHVISION), torchvision.datasets.__all__
        if kind not in known:
            raise problem("name", f"given {name!r}, which torchvision does not have{did_you_mean(kind, known)}")
        return getattr(torchvision.datasets, kind)
    try:
        found = load(name)
    except PluginFileError as error:
        raise problem("name", str(error)) from None
    if not callable(found):
        raise problem("name", f"{name}: given {type(found).__name__}, allowed: a class or function")
    return found


def _options_model(kind: Any) -> type[BaseModel] | None:
    model = getattr(kind, "Options", None)
    return model if inspect.isclass(model) and issubclass(model, BaseModel) else None


def arguments_of(config: OwnConfig, kind: Any) -> dict[str, Any]:
    """The arguments the class is made with, checked by its `Options` or else by its signature."""
    given = dict(config.options)
    model = _options_model(kind)
    if model is not None:
        unknown = [key for key in given if key not in model.model_fields]
        if unknown:
            raise _unknown_option(config, unknown[0], list(model.model_fields))
        try:
            options = model.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ("options", *map(str, first["loc"]))
            value = "" if first["type"] == "missing" else f"given {first['input']!r}, "
            raise Unplannable(("dataset", *where), f"{value}{first['msg'].removeprefix('Value error, ')}") from None
        return {key: getattr(options, key) for key in model.model_fields}
    parameters = parameters_of(kind)
    named = [key for key, one in parameters.items() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    takes_any = any(one.kind == one.VAR_KEYWORD for one in parameters.values())
    if unknown := [key for key in given if key not in named and not takes_any]:
        raise _unknown_option(config, unknown[0], [key for key in named if key not in ("split", "train")])
    needed = [key for key in named if parameters[key].default is inspect.Parameter.empty]
    if missing := [key for key in needed if key not in (*given, "split", "train")]:
        raise problem("options", f"{config.name}: required option {missing[0]!r} is missing")
    return given


def _unknown_option(config: OwnConfig, key: str, allowed: list[str]) -> Unplannable:
    text = f"unknown key{did_you_mean(key, allowed)}; {config.name} takes: {', '.join(allowed) or 'no options'}"
    return Unplannable(("dataset", "options", key), text)


def parameters_of(kind: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function by name; none of one that does not tell."""
    try:
        return inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return {}


class Own:
    """What the data sets by a class have in common: how it is made, and how its errors are told."""

    def __init__(self, config: OwnConfig, kind: Any, arguments: dict[str, Any]) -> None:
        self.config = config
        self._kind = kind
        self._arguments = arguments

    @property
    def code_sha256(self) -> str | None:
        """Hash of the code that makes the data set; None: it is torchvision's, whose version identifies it."""
        return None if self.config.name.startswith(TORCHVISION) else class_code(self._kind)

    def _made(self, **split: Any) -> Any:
        with told(f"{self.config.name} cannot be made", self.config.name):
            return self._kind(**self._arguments, **split)


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
def told(what: str, reference: str) -> Iterator[None]:
    """Turn errors of somebody else's code into one line, with the line of their file.

    Raises:
        Unplannable: the code in the block raised something.
    """
    try:
        yield
    except ScenarioError:
        raise
    except Exception as error:
        file = reference.rpartition(":")[0]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if file and frame.filename == str(Path(file).resolve())]
        where = f" ({file}:{lines[-1]})" if lines else ""
        text = " ".join(str(error).split())
        raise problem("name", f"{what}: {type(error).__name__}{f': {text}' if text else ''}{where}") from error


def kind_of(array: NDArray[Any]) -> str:
    """Return type and shape as errors show them."""
    return f"{array.dtype} {list(array.shape)}"


def problem(key: str, text: str) -> Unplannable:
    """Return what is wrong with an option of the data set."""
    return Unplannable(("dataset", key), text)
