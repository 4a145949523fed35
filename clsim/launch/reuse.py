"""What of a comparison is there already: runs to keep, runs to go on with, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from clsim.errors import RunError
from clsim.running.folder import is_finished, refuse_other_folders
from clsim.running.lock import locked
from clsim.running.run_identity import differences, read_identity

MOST_SHOWN = 4

Standing = Literal["new", "finished", "unfinished"]


def standing(folder: Path, asked: Mapping[str, Any]) -> Standing:
    """What there is of the run that `asked` identifies.

    Raises:
        RunError: the folder holds another run, one that another process is writing, or something that is not a run.
    """
    if not folder.exists():
        return "new"
    refuse_other_folders(folder)
    try:
        changed = differences(read_identity(folder), asked)
    except RunError as error:
        raise RunError(f"{error}; use --overwrite to replace it, or another --out") from None
    if changed:
        more = [f"and {len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else []
        texts = "; ".join([*changed[:MOST_SHOWN], *more])
        raise RunError(f"{folder}: another run is there ({texts}); use --overwrite to replace it, or another --out")
    if is_finished(folder):
        return "finished"
    with locked(folder):
        return "unfinished"


def threads_there(folders: Iterable[Path]) -> int | None:
    """The threads that all earlier runs among the folders have; None: there are none, or they differ.

    DECIDED: with `threads: auto` they hold for the new runs too, so that a comparison may grow, lose workers or move
    to a machine with other cores, and its runs stay equal in all but what is compared.
    """
    found = set()
    for folder in folders:
        try:
            found.add(read_identity(folder).get("threads"))
        except RunError:
            continue  # `standing` says what is wrong with it
    threads = found.pop() if len(found) == 1 else None
    return threads if isinstance(threads, int) else None
