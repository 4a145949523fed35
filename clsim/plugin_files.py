"""Classes and functions named in files: `path/to/file.py:Name`.

A file is executed once per process, however often it is named, under a module name of its own, so that `pickle` and
`inspect` find what it defines. Modules beside it are imported relatively (`from .helper import f`), wherever the
process works; nothing is added to `sys.path`, so that a `copy.py` in that folder stands in nobody's way.

DECIDED: if a file changes on the disk that has been executed from a folder, the next call of `load` executes the
folder's files anew, so that a session that edits a method and runs it again runs what it edited. Objects made before
keep their old classes.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from clsim.errors import ClsimError, did_you_mean

PREFIX = "clsim_file_"


class PluginFileError(ClsimError):
    """A file that is not there or cannot be executed, a name that it does not define, or an error that it raises."""


def load(reference: str, candidate: Callable[[Any], bool] = callable) -> Any:
    """Return what a file defines under a name.

    Args:
        reference: `path/to/file.py:Name`; a relative path starts at the working directory.
        candidate: tells which objects of the file to suggest where it has no such name.

    Raises:
        PluginFileError: no such file or name, or an error while the file is executed, with its line.
    """
    text, _, name = reference.rpartition(":")
    if not text or not Path(text).is_file():
        missing = f", and no file {text!r} is there" if text else ""
        raise PluginFileError(f"{reference}: expected path/to/file.py:Class{missing}")
    path = Path(text).resolve()
    module = _current(path.parent).module(path)
    if not hasattr(module, name):
        fitting = [key for key, value in vars(module).items() if candidate(value) and not key.startswith("_")]
        hint = f"; it has: {', '.join(fitting)}" if fitting else ""
        raise PluginFileError(f"{path}: defines no {name!r}{did_you_mean(name, fitting)}{hint}")
    return getattr(module, name)


def told(error: BaseException) -> str:
    """Say an error in one line: its type, the first line of its text, and where in an executed file it came from."""
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    text = f"{type(error).__name__}: {what}".partition("\n")[0].removesuffix(": ")
    place = place_of(error)
    return f"{text} ({place})" if place else text


def place_of(error: BaseException) -> str | None:
    """Return the innermost `file:line` of an error's traceback in a file executed here; None: it went through none."""
    executed = {file for folder in _packages.values() for file in folder.executed}
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in executed), None)


@contextmanager
def blamed(position: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn an error that comes from an executed file into one line with its place; all others stay as they are.

    Args:
        position: says where the run stands.

    Raises:
        PluginFileError: `file:line: type of the error: its text, position`.
    """
    try:
        yield
    except (ClsimError, OSError):
        raise
    except Exception as error:
        where = place_of(error)
        if where is None:
            raise
        text = told(error).removesuffix(f" ({where})")
        raise PluginFileError(f"{where}: {text}{', ' + position() if position is not None else ''}") from error


class _Folder:
    """The modules executed from a folder: a package, named after the folder's path and how often it was made.

    Attributes:
        executed: file -> its content when it was executed.
        executing: names of modules whose execution has not ended.
    """

    def __init__(self, path: Path, generation: int) -> None:
        self.generation = generation
        self.name = f"{PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{generation}"
        self.executed: dict[str, bytes] = {}
        self.executing: set[str] = set()
        package = ModuleType(self.name)
        package.__path__ = [str(path)]
        sys.modules[self.name] = package

    def unchanged(self) -> bool:
        """Tell whether all that was executed is what the files still hold."""
        try:
            return all(Path(file).read_bytes() == content for file, content in self.executed.items())
        except OSError:
            return False

    def loader(self, name: str, path: str) -> _Loader:
        """Return a loader for one of the folder's files."""
        return _Loader(name, path, self.executed)

    def module(self, path: Path) -> ModuleType:
        """Return the module of a file, executed if it is not there yet."""
        name = f"{self.name}.{path.stem.replace('.', '_')}"
        if name in self.executing:
            raise PluginFileError(
                f'{path}: uses itself while it is loaded; what starts runs stands below if __name__ == "__main__":'
            )
        if name not in sys.modules:
            spec = spec_from_file_location(name, path, loader=self.loader(name, str(path)))
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module_from_spec(spec)  # dataclasses and pydantic look names of annotations up there
            self.executing.add(name)
            try:
                spec.loader.exec_module(sys.modules[name])
            except BaseException as error:
                del sys.modules[name]
                if not isinstance(error, Exception | SystemExit):
                    raise
                raise PluginFileError(self._reason(path, error)) from error
            finally:
                self.executing.discard(name)
        return sys.modules[name]

    def _reason(self, path: Path, error: BaseException) -> str:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError):
            frames.append((error.filename or "", error.lineno))
        file, line = next((frame for frame in reversed(frames) if frame[0] in self.executed), (str(path), None))
        what = error.msg if isinstance(error, SyntaxError) else error
        text = f"{file}{f':{line}' if line else ''}: cannot be loaded: {type(error).__name__}: {what}"
        beside = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
        if beside and (path.parent / f"{beside}.py").is_file():
            text += f"; {beside}.py lies beside it: write `from .{beside} import ...` or `from . import {beside}`"
        return text


class _Loader(SourceFileLoader):
    """Executes what a file holds now: bytecode of an earlier content of equal size and second is not looked for."""

    def __init__(self, name: str, path: str, executed: dict[str, bytes]) -> None:
        super().__init__(name, path)
        self.executed = executed

    def path_stats(self, path: str) -> Any:
        raise OSError("no bytecode")

    def source_to_code(self, data: Any, path: Any, *args: Any, **kwargs: Any) -> CodeType:  # type: ignore[override]
        self.executed[str(path)] = bytes(data)
        return super().source_to_code(data, path, *args, **kwargs)


class _Neighbours(MetaPathFinder):
    """Finds the modules of the folders, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = _packages.get(fullname.partition(".")[0])
        if folder is None:
            return None
        finders = (FileFinder(place, (folder.loader, SOURCE_SUFFIXES)) for place in path or ())  # type: ignore[arg-type]
        found = (finder.find_spec(fullname) for finder in finders)
        return next((spec for spec in found if spec is not None), None)


_current_folders: dict[Path, _Folder] = {}
_packages: dict[str, _Folder] = {}


def _current(path: Path) -> _Folder:
    """Return the modules of a folder, begun anew if a file of them has changed."""
    if not any(isinstance(finder, _Neighbours) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Neighbours())
    there = _current_folders.get(path)
    if there is None or not there.unchanged():
        there = _Folder(path, there.generation + 1 if there is not None else 0)
        _current_folders[path] = _packages[there.name] = there
    return there
