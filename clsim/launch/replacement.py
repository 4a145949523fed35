"""The place of a new run: refused if it is taken, or freed so that nothing is lost before the new run is there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clsim.errors import RunError
from clsim.running.folder_lock import locked
from clsim.running.run_folder import RunFolder

log = logging.getLogger("clsim")


def refuse_taken(folder: Path) -> None:
    """Raise RunError if something is at the place of a new run."""
    if os.path.lexists(folder):
        files = RunFolder(folder)
        resumable = files.run.is_file() and not files.finished and files.obstacle is None
        hint = f"to continue the interrupted run: clsim resume {folder}; " if resumable else ""
        raise RunError(f"{folder}: there already; {hint}use --overwrite to replace, or another --out")


def refuse_other_folders(folder: Path) -> None:
    """Raise RunError if the folder holds something that is not a run, so that nobody's files are lost."""
    if not RunFolder(folder).run.is_file():
        raise RunError(f"{folder}: is not a run folder (no {RunFolder.run}); not removed")


@contextmanager
def set_aside(folders: Iterable[Path]) -> Iterator[None]:
    """Free the places of existing runs while the block prepares new ones; remove the old ones after it.

    Meanwhile they are hidden siblings, `.seed0.replaced`. If the block ends with an error, they are put back, and what
    it has made in their places is removed. None is moved unless all of them can be. DECIDED: where a run folder is a
    symbolic link, the link is replaced, and what it leads to is kept.

    Raises:
        RunError: a folder is in use, holds something that is not a run, or cannot be moved.
    """
    folders = list(folders)
    for folder in folders:
        if not os.path.lexists(folder) and os.path.lexists(_aside(folder)):  # of a process that was killed here
            _aside(folder).rename(folder)
    taken = [folder for folder in folders if os.path.lexists(folder)]
    for folder in taken:
        refuse_other_folders(folder)
    moved = []
    try:
        with ExitStack() as locks:
            for folder in taken:
                locks.enter_context(locked(folder))
            for folder in taken:
                _move_aside(folder)
                moved.append(folder)
        yield
    except BaseException:
        for folder in moved:
            _remove(folder)
            _aside(folder).rename(folder)
        raise
    for folder in moved:
        try:
            _remove(_aside(folder))
        except OSError as error:
            log.warning("%s: the replaced run is not wholly removed: %s", _aside(folder), error.strerror)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _move_aside(folder: Path) -> None:
    try:
        _remove(_aside(folder))  # what an earlier replacement could not remove
        folder.rename(_aside(folder))
        RunFolder(_aside(folder)).lock.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be replaced: {error.strerror}") from None


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
