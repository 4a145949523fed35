"""Hashes of the code that fixes a run's numbers.

They are taken over syntax trees: comments, docstrings and layout do not count, any change of a statement does. Trees
are written out here and not by `ast.dump`, whose text differs between Python versions. Code in syntax that all these
versions have keeps its hash; the version of Python is part of a run's identity all the same.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path

HOME = Path(__file__).parent

OUTSIDE_RUNS = (
    "__main__",
    "cli",
    "data.check",
    "data.copies",
    "data.export",
    "data.importers",
    "data.recognise",
    "data.recognise_table",
    "evaluation.error_sheets",
    "evaluation.multi_label_metrics",
    "experiment",
    "inference",
    "launch",
    "report",
    "running.evaluation_record",
    "scenario.import_dataset",
    "scenario.json_schema",
    "scenario.new_scenario",
    "scenario.plan.difference",
)
"""Modules and packages of clsim that no run imports; a package stands for all it contains.

They may change between two runs of a comparison. A new module counts until it is named here.
"""

ONLY_SHOWING = (
    *("evaluation.canvas", "evaluation.event_file", "evaluation.mlflow_logger", "evaluation.outside_loggers"),
    *("evaluation.pictures", "evaluation.png", "evaluation.sample_pictures", "evaluation.sample_sheet"),
    *("evaluation.samples", "evaluation.sent_file", "evaluation.tensorboard", "evaluation.wandb_logger"),
)
"""Modules that a run imports to show what it does: loggers and pictures. No number of a run comes from them."""

PLUGINS = ("strategies", "scenarios")
"""Packages that an installed clsim contains; a strategy is hashed for itself, by `class_code`."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the SHA-256 of all code of clsim that a run's numbers may come from, computed once per process.

    DECIDED: by content, not by commit, so that a change that is not committed counts and one of the documentation does
    not.
    """
    return package_code(HOME)


def package_code(home: Path) -> str:
    """Return the SHA-256 of all code that a run's numbers may come from, of the package clsim in a folder."""
    return hash_code((path.relative_to(home).as_posix(), path) for path in run_files(home))


def run_files(home: Path = HOME) -> Iterator[Path]:
    """Yield the files of clsim that a run's numbers may come from, sorted; strategies are not among them."""
    for path in sorted(home.rglob("*.py")):
        parts = path.relative_to(home).with_suffix("").parts
        names = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        if names.isdisjoint((*OUTSIDE_RUNS, *ONLY_SHOWING, *PLUGINS)):
            yield path


@lru_cache(maxsize=1)
def _core() -> frozenset[Path]:
    """Return `run_files` of this clsim, listed once per process as `code_version` is."""
    return frozenset(run_files())


def class_code(kind: type) -> str:
    """Return the `file_code` of the file that defines a class."""
    return file_code(Path(inspect.getfile(kind)))


def file_code(path: Path) -> str:
    """Return the SHA-256 of code outside clsim's core: a file and what it imports from files nearby.

    Imports are followed, also those inside functions, if they are relative or name a module of clsim that
    `code_version` leaves out. Other packages are not followed: versions or commits of your own are yours to note.
    """
    own = path.resolve()
    found: dict[Path, str] = {own: ""}
    core = _core()
    waiting = [own]
    while waiting:
        for file in _imported(waiting.pop()):
            if file not in found and file not in core:
                near = file.is_relative_to(own.parent)
                found[file] = file.relative_to(own.parent).as_posix() if near else file.name
                waiting.append(file)
    return hash_code(sorted((name, file) for file, name in found.items()))


def hash_code(files: Iterable[tuple[str, Path]]) -> str:
    """Return the SHA-256 over names and syntax trees of Python files, in the given order.

    A file that is not valid Python counts with its bytes.
    """
    digest = hashlib.sha256()
    for name, path in files:
        code = _code(path.read_bytes())
        digest.update(f"{name} {len(code)}\n".encode() + code)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _code(content: bytes) -> bytes:
    """Return what counts of a file; a comparison asks for the same files once per run."""
    tree = _parsed(content)
    return content if tree is None else _text(tree).encode()


@lru_cache(maxsize=64)
def _parsed(content: bytes) -> ast.Module | None:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what the parser raises at impossible code
        return None


def _text(tree: ast.Module) -> str:
    """Return a text that two trees share if and only if they differ at most in statements that do nothing."""
    words: list[str] = []
    waiting: list[object] = [tree]  # not recursive: a chain of elif is as deep as it is long
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            words.append(part)
        elif isinstance(part, list):
            words.append("[")
            waiting.append("]")
            waiting += [one for one in reversed(part) if not _does_nothing(one)]
        elif isinstance(part, ast.Constant):
            words.append(ascii(part.value))
        elif isinstance(part, ast.AST):
            words.append(f"{type(part).__name__}(")
            waiting.append(")")
            for name in reversed(part._fields):
                value = getattr(part, name, None)
                if value is not None and value != [] and name != "ctx":  # which fields are empty differs by version
                    waiting += (value, f"{name}=")
        else:
            words.append(ascii(part))
    return " ".join(words)


def _does_nothing(part: object) -> bool:
    """Tell docstrings, of attributes too, and `pass` and `...`, which may stand in place of one."""
    return isinstance(part, ast.Pass) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))


def _imported(path: Path) -> Iterator[Path]:
    """Yield the files that the import statements of a file name, at any depth of it."""
    tree = _parsed(path.read_bytes())
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module_files(path, 0, alias.name)
        elif isinstance(node, ast.ImportFrom):
            for name in ("", *(alias.name for alias in node.names)):  # a name may be a module
                yield from _module_files(path, node.level, ".".join(filter(None, (node.module, name))))


def _module_files(path: Path, level: int, name: str) -> Iterator[Path]:
    """Yield the file of a module as an import in `path` names it, with `level` leading dots."""
    parts = name.split(".") if name else []
    if level:
        folder = path.parents[min(level, len(path.parents)) - 1]
    elif parts[:2] == ["clsim", "strategies"]:
        folder, parts = Path(str(resources.files("clsim.strategies"))), parts[2:]  # in a checkout not in HOME
    elif parts[:1] == ["clsim"]:
        folder, parts = HOME, parts[1:]
    else:
        return
    if parts:
        base = folder.joinpath(*parts)
        yield from (file for file in (Path(f"{base}.py"), base / "__init__.py") if file.is_file())
