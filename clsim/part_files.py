"""What a Python file says of the parts it defines, read from its syntax tree: nothing is executed.

So a scenario is checked, and its paths are made absolute, without importing torch or running a user's code. What the
text of the file alone does not tell, such as options that a class inherits from another file, is left to the moment
when the part is made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from clsim.opening import read_regular

_PATHS: dict[str, Literal["data", "content"]] = {"DATA_PATH": "data", "FILE_CONTENT": "content", "Path": "content"}
"""Names in an annotation that say that the option is a path, and what of it counts; see `clsim.data.path_options`."""


@dataclass(frozen=True)
class StatedOption:
    """An option as the text of a file states it.

    Attributes:
        required: it has no default.
        path: what of a path identifies a run; None: the option is no path.
    """

    required: bool
    path: Literal["data", "content"] | None


class PartFile:
    """The names and options that a Python file defines.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be read.
        SyntaxError: it is not Python.
    """

    def __init__(self, path: Path) -> None:
        self._found = _found(read_regular(path))

    @property
    def names(self) -> list[str]:
        """All that is defined at the top level, imported names too; "*": an import brings unknown ones."""
        return list(self._found)

    @property
    def own(self) -> list[str]:
        """The public classes and functions that the file itself defines."""
        kinds = (ast.ClassDef, ast.FunctionDef)
        return [name for name, node in self._found.items() if isinstance(node, kinds) and not name.startswith("_")]

    def summary(self, name: str) -> str:
        """Return the first line of the docstring of a class or function; "": it has none."""
        node = self._found.get(name)
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            return ""
        return (ast.get_docstring(node) or "").partition("\n")[0]

    def options(self, name: str, supplied: Sequence[str] = (), bare: bool = False) -> dict[str, StatedOption] | None:
        """Return the options of a class or function; None where the text does not tell them all.

        Args:
            name: of the class or function.
            supplied: parameters that clsim itself fills.
            bare: whether also the positional parameters without a default of a function are options, or clsim's.
        """
        node = self._found.get(name)
        if isinstance(node, ast.ClassDef):
            return self._of_class(node, supplied)
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            return _of_parameters(node.args, supplied, bare)
        return None

    def _of_class(self, node: ast.ClassDef, supplied: Sequence[str]) -> dict[str, StatedOption] | None:
        if node.decorator_list:
            return None
        inside = dict(_definitions(node.body))
        options = inside.get("Options")
        if isinstance(options, ast.Name):
            options = self._found.get(options.id)
        if isinstance(options, ast.ClassDef):
            return self._of_fields(options)
        maker = inside.get("__init__")
        if isinstance(maker, ast.FunctionDef) and options is None:
            return _of_parameters(maker.args, ("self", *supplied), bare=True)
        return None

    def _of_fields(self, node: ast.ClassDef) -> dict[str, StatedOption] | None:
        found: dict[str, StatedOption] = {}
        for base in node.bases:
            name = ast.unparse(base).rpartition(".")[2]
            above = self._found.get(name)
            if isinstance(above, ast.ClassDef) and above is not node:
                inherited = self._of_fields(above)
                if inherited is None:
                    return None
                found |= inherited
            elif name not in ("Options", "BaseModel"):
                return None
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                found[line.target.id] = StatedOption(_is_required(line.value), _path(line.annotation))
        return found


@lru_cache(maxsize=64)
def _found(content: bytes) -> dict[str, ast.AST | None]:
    """Return the definitions of a file by name; a comparison asks for those of the same files once per run."""
    return dict(_definitions(ast.parse(content).body))


def _definitions(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield the names that statements define, in blocks too: the class, function or value; None for all else."""
    for line in body:
        if isinstance(line, ast.ClassDef | ast.FunctionDef):
            yield line.name, line
        elif isinstance(line, ast.Import | ast.ImportFrom):
            yield from (((alias.asname or alias.name).partition(".")[0], None) for alias in line.names)
        elif isinstance(line, ast.Assign | ast.AnnAssign):
            for target in line.targets if isinstance(line, ast.Assign) else [line.target]:
                names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
                yield from ((name, line.value if len(names) == 1 else None) for name in names)
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from _definitions(getattr(line, field, []))
            for handler in getattr(line, "handlers", []):
                yield from _definitions(handler.body)


def _of_parameters(arguments: ast.arguments, supplied: Sequence[str], bare: bool) -> dict[str, StatedOption] | None:
    """Return the options among parameters; positional ones without a default are only with `bare`."""
    if arguments.kwarg is not None:
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    found = {
        parameter.arg: StatedOption(default is None, _path(parameter.annotation))
        for parameter, default in zip(positional, defaults, strict=True)
        if default is not None or bare
    } | {
        parameter.arg: StatedOption(default is None, _path(parameter.annotation))
        for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    return {name: option for name, option in found.items() if name not in supplied}


def _is_required(value: ast.expr | None) -> bool:
    """Tell a field without a default: nothing assigned, or a pydantic `Field` that names none."""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "Field"):
        return value is None
    if value.args:
        return isinstance(value.args[0], ast.Constant) and value.args[0].value is ...
    return not {"default", "default_factory"} & {keyword.arg for keyword in value.keywords}


def _path(annotation: ast.expr | None) -> Literal["data", "content"] | None:
    words = [ast.unparse(node).rpartition(".")[2] for node in ast.walk(annotation)] if annotation is not None else []
    return next((_PATHS[word] for word in words if word in _PATHS), None)
