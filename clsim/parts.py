"""Parts by name: the one way in which strategies, backbones, data sets, losses and all else a user may bring are found.

A part is named by a shipped name, by the name of an entry point that an installed package declares in the group of the
kind, such as `clsim.backbones`, or by `path/to/file.py:Name`. Its options are one pydantic model: the attribute
`Options` of a class, or else the keyword parameters of the class or function.

    training:
      model: {name: net.py:Net, options: {width: 32}}

Paths in a scenario file are relative to it, those on the command line and in Python to the working directory.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from clsim.errors import ClsimError, did_you_mean
from clsim.part_files import PartFile, StatedOption
from clsim.part_kinds import KINDS, Library
from clsim.plugin_files import PluginFileError, load, told
from clsim.source_code import HOME, file_code

MOST_NAMES = 12
"""Listed in an error; a backbone has a hundred."""


class PartError(ClsimError):
    """An unknown part, a file that does not define it, or options that it does not have.

    Attributes:
        text: what is wrong.
        below: the keys of an option that is wrong, from the section that names the part: ("options", "width").
    """

    def __init__(self, text: str, key: str = "", below: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join((key, *below))}: {text}" if key else text)
        self.text = text
        self.below = below


@dataclass(frozen=True)
class PartOption:
    """Annotation of an option that names a part: `name: Annotated[str, PartOption("loss")] = Field(...)`.

    Attributes:
        kind: of the part.
        options: the option of the same section that holds the part's own options; "": none.
    """

    kind: str
    options: str = "options"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Have pydantic check the name, as far as that needs no execution."""
        return no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Have editors suggest the names that there are."""
        return {**handler(core), "examples": list(names(self.kind))}

    def _known(self, value: Any) -> Any:
        if isinstance(value, str) and (text := problem(self.kind, value)) is not None:
            raise PydanticCustomError("part", "{text}", {"text": text})
        return value


def entry_points_of(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points of a kind by name, sorted."""
    return dict(_installed(KINDS[kind].group, _search_path(), entry_points))


@lru_cache(maxsize=4 * len(KINDS))
def _installed(group: str, _path: Hashable, read: Callable[..., Iterable[EntryPoint]]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name; a search opens a file of each installed package, 5 ms in all."""
    return {point.name: point for point in sorted(read(group=group), key=lambda point: point.name)}


def _search_path() -> Hashable:
    """Return what changes whenever a package is installed or removed: the folders of sys.path and their times."""
    return tuple((folder, _changed(folder or os.curdir)) for folder in sys.path)


def _changed(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return None


def names(kind: str) -> dict[str, str]:
    """Return the names of a kind, those of installed packages before shipped ones -> "module:attribute"."""
    installed = {name: point.value for name, point in entry_points_of(kind).items()}
    return {**installed, **KINDS[kind].shipped}


def is_file(reference: str) -> bool:
    """Tell `path/to/file.py:Name` from a name."""
    return ".py" in reference


def located(reference: str, folder: Path | None = None) -> str:
    """Return a reference with an absolute path, from `folder` or else the working directory; a name as it is."""
    path, colon, name = reference.rpartition(":")
    if not is_file(path):
        return reference
    return f"{os.path.abspath(os.path.join(folder or Path.cwd(), os.path.expanduser(path)))}{colon}{name}"


def find(kind: str, reference: str, candidate: Callable[[Any], bool] = callable) -> Any:
    """Return the class, function or object behind a reference.

    Args:
        candidate: tells which objects of a file to suggest where it lacks the name.

    Raises:
        PartError: no such name or file, or an error while it is imported or executed.
    """
    if is_file(reference):
        try:
            return load(reference, candidate)
        except PluginFileError as error:
            raise PartError(str(error)) from error
    if (text := problem(kind, reference)) is not None:
        raise PartError(text)
    library = library_of(kind, reference)
    target = f"{library.module}:{reference.partition('/')[2]}" if library is not None else names(kind)[reference]
    module, _, attribute = target.partition(":")
    try:
        thing = import_module(module)
        if library is not None and not hasattr(thing, attribute):
            hint = did_you_mean(attribute, getattr(thing, "__all__", dir(thing)))
            raise PartError(f"{kind} {reference}: {library.package} has no {attribute!r}{hint}")
        for name in attribute.split("."):
            thing = getattr(thing, name)
    except ClsimError:
        raise
    except Exception as error:
        raise PartError(f"{kind} {reference}: {target} cannot be loaded: {told(error)}") from error
    return thing


def brought(kind: str, reference: str) -> bool:
    """Tell a part of the user's, of a library or of an installed package from a shipped one and from no part."""
    if reference in KINDS[kind].shipped:
        return False
    return is_file(reference) or library_of(kind, reference) is not None or reference in entry_points_of(kind)


def library_of(kind: str, reference: str) -> Library | None:
    """Return the library of `timm/resnet50`; None: of another reference."""
    prefix, slash, _ = reference.partition("/")
    return KINDS[kind].libraries.get(prefix) if slash and not is_file(reference) else None


def unknown(kind: str, reference: str) -> str:
    """Say that no part has this name, and which there are."""
    known = list(names(kind))
    listed = [*known[:MOST_NAMES], *([f"... (clsim parts {kind})"] if len(known) > MOST_NAMES else [])]
    listed += [f"{prefix}/NAME" for prefix in KINDS[kind].libraries]
    file = "file.py:Class" if kind == "strategy" else "file.py:Name"
    return (
        f"unknown {kind} {reference!r}{did_you_mean(reference, known)}; available: "
        f"{', '.join([*listed, f'or {file}']) if listed else file}"
    )


def described(kind: str, reference: str) -> tuple[str, type[BaseModel] | None]:
    """Return what a part says of itself, the first line of its docstring, and its options; imports or executes it.

    Raises:
        PartError: as `find`.
    """
    thing = find(kind, reference)
    own = inspect.isclass(thing) or inspect.isroutine(thing)
    return (thing.__doc__ or "").strip().partition("\n")[0] if own else "", options_model(kind, thing)


def file_of(kind: str, reference: str) -> Path | None:
    """Return the file that defines a part a user brings; None: it comes with clsim or a library that clsim knows."""
    if is_file(reference):
        return Path(reference.rpartition(":")[0])
    if reference in KINDS[kind].shipped or reference not in entry_points_of(kind):
        return None
    spec = find_spec(entry_points_of(kind)[reference].module)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def code_of(kind: str, reference: str) -> str | None:
    """Return the `file_code` of a part that a user brings; None: of one that comes with clsim or is not there."""
    path = file_of(kind, reference)
    return file_code(path) if path is not None and path.is_file() else None


def stated_options(kind: str, reference: str, given: Collection[str] = ()) -> dict[str, StatedOption] | None:
    """Return the options that the file of a part states, without executing it; None: not known so.

    Args:
        given: names of the options that are given; see `Kind.filled`.
    """
    file, name = _stated(kind, reference)
    return None if file is None else file.options(name, _filled(kind, given), KINDS[kind].makes == "object")


def option_paths(kind: str, reference: str) -> dict[str, Literal["data", "content"]]:
    """Return the options of a part that are paths, without executing its file -> what of them identifies a run."""
    stated = stated_options(kind, reference) or {}
    return {**KINDS[kind].paths, **{name: option.path for name, option in stated.items() if option.path is not None}}


def _filled(kind: str, given: Collection[str]) -> list[str]:
    """Return the parameters that are no options, where options of the names `given` are given."""
    return [*KINDS[kind].supplied, *(name for name in KINDS[kind].filled if name not in given)]


def stated_summary(kind: str, reference: str) -> str:
    """Return the first line of a part's docstring, without executing its file; "": not known so."""
    file, name = _stated(kind, reference)
    return "" if file is None else file.summary(name)


def _stated(kind: str, reference: str) -> tuple[PartFile | None, str]:
    """Return the file that defines a part, unless it is a library's, and the part's name in it."""
    if is_file(reference):
        path, name = file_of(kind, reference), reference.rpartition(":")[2]
    else:
        module, _, name = names(kind).get(reference, "").partition(":")
        own = module.startswith("clsim.") and reference in KINDS[kind].shipped
        path = HOME.joinpath(*module.split(".")[1:]).with_suffix(".py") if own else file_of(kind, reference)
    try:
        return (PartFile(path) if path is not None else None), name
    except (OSError, SyntaxError, ValueError):
        return None, name


def problem(kind: str, reference: str) -> str | None:
    """Say what is wrong with a reference, as far as can be told without importing or executing anything; None: nothing.

    A name must be known; a file must be there, be Python, and define the name.
    """
    if (library := library_of(kind, reference)) is not None:
        if find_spec(library.module.partition(".")[0]) is None:
            extra = f"'clsim[{library.extra}]'" if library.extra else library.package
            return f"needs the package {library.package}: pip install {extra}"
        return None if reference.partition("/")[2] else unknown(kind, reference)
    if not is_file(reference):
        return None if reference in KINDS[kind].shipped or reference in names(kind) else unknown(kind, reference)
    text, _, name = reference.rpartition(":")
    path = Path(text)
    if not text or not path.is_file():
        return f"expected path/to/file.py:Name, and no file {text or reference!r} is there"
    try:
        file = PartFile(path)
    except (OSError, SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        return f"{path}{line}: cannot be read as Python: {told(error)}"
    if name not in file.names and "*" not in file.names:
        hint = f"; it has: {', '.join(file.own)}" if file.own else ""
        return f"{path}: defines no {name!r}{did_you_mean(name, file.own)}{hint}"
    return None


def option_problems(kind: str, reference: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the names of a part's options by name, as far as its file tells without execution."""
    stated = stated_options(kind, reference, options)
    if stated is None:
        return {}
    found = {
        name: f"unknown option{did_you_mean(name, stated)}; allowed: {', '.join(stated) or 'none'}"
        for name in options
        if name not in stated
    }
    return found | {
        name: "required option is missing" for name, option in stated.items() if option.required and name not in options
    }


def options_model(kind: str, thing: Any, given: Collection[str] = ()) -> type[BaseModel] | None:
    """Return the options of a class or function as a pydantic model; None: of an object, which has none.

    It is the attribute `Options`, or made of the keyword parameters. Of a function those are the parameters with a
    default and the keyword-only ones, and all of them if it makes the part.

    Args:
        given: names of the options that are given; see `Kind.filled`.
    """
    own = getattr(thing, "Options", None)
    if inspect.isclass(own) and issubclass(own, BaseModel):
        return own
    if not inspect.isclass(thing) and not inspect.isfunction(thing):
        return None
    maker = thing.__init__ if inspect.isclass(thing) else thing
    try:
        hints = get_type_hints(maker, include_extras=True)
    except Exception:  # names that only a type checker knows
        hints = {}
    fields: dict[str, Any] = {}
    filled = _filled(kind, given)
    extra: Literal["allow", "forbid"] = "forbid"
    for name, parameter in list(inspect.signature(thing).parameters.items()):
        bare = parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind is parameter.VAR_POSITIONAL or name in filled:
            continue
        elif not bare or inspect.isclass(thing) or KINDS[kind].makes == "object":
            fields[name] = (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
    config = ConfigDict(extra=extra, arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(f"{thing.__name__}Options", __config__=config, **fields)


def bound(kind: str, reference: str, thing: Any, options: Mapping[str, Any], key: str) -> Any:
    """Return what `find` found with its options bound, to be called.

    Args:
        options: as given; checked here.
        key: of the section in the scenario, for messages: "training.loss".

    Raises:
        PartError: wrong options.
    """
    chosen = checked_options(kind, reference, thing, options, key)
    if isinstance(chosen, BaseModel):
        return partial(thing, chosen)
    return partial(thing, **chosen) if chosen else thing


def made(kind: str, reference: str, options: Mapping[str, Any], key: str) -> Any:
    """Make a part with its options; see `Kind.makes`.

    Args:
        options, key: as of `bound`.

    Raises:
        PartError: as `find` and `bound`; an error of the part's own while it is made.
    """
    thing = find(kind, reference)
    makes = KINDS[kind].makes
    if makes == "object" and not (inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, partial)):
        raise PartError(f"{reference} is an object, expected a class or function that makes one", key)
    part = bound(kind, reference, thing, options, key)
    if makes == "constructor" or (makes == "function" and not inspect.isclass(thing)):
        return part
    try:
        return part()
    except ClsimError:
        raise
    except Exception as error:
        raise PartError(f"{reference} cannot be made: {told(error)}", key) from error


def checked_options(
    kind: str, reference: str, thing: Any, options: Mapping[str, Any], key: str
) -> BaseModel | dict[str, Any]:
    """Return the options of a part, checked: an object of its `Options`, or keyword arguments.

    Raises:
        PartError: unknown, missing or wrong options.
    """
    model = options_model(kind, thing, options)
    if model is None:
        if options:
            raise PartError(f"given for {reference}, which is an object and takes none", key, ("options",))
        return {}
    for name in options:
        if name not in model.model_fields and model.model_config.get("extra") != "allow":
            allowed = list(model.model_fields)
            text = f"unknown option{did_you_mean(name, allowed)}; allowed: {', '.join(allowed) or 'none'}"
            raise PartError(text, key, ("options", name))
    try:
        checked = model(**options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        below = ("options", *map(str, first["loc"]))
        if first["type"] == "missing":
            raise PartError("required option is missing", key, below) from None
        text = f"given {first['input']!r}, {first['msg'].removeprefix('Value error, ')}"
        raise PartError(text, key, below) from None
    if model is getattr(thing, "Options", None):
        return checked
    return {name: getattr(checked, name) for name in options}
