"""`preparation.json` in the folder of a run at work: its progress before it trains, for the process that watches it.

It holds what, done and total of `clsim.preparation.Work`, or null once the run trains, and goes when the run ends. No
number of a run depends on it, and a disk that is full for it is no error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from clsim.files import write_json
from clsim.opening import read_regular
from clsim.preparation import Work, listening
from clsim.running.run_folder import RunFolder

LEAST_SECONDS = 0.5
"""Between two reports of the same work."""


@contextmanager
def preparation_file(folder: Path) -> Iterator[None]:
    """Keep the file while the block runs."""
    path = RunFolder(folder).preparation
    what, when = "", 0.0

    def write(work: Work | None) -> None:
        nonlocal what, when
        now = time.monotonic()
        if work is not None and work.what == what and now < when + LEAST_SECONDS:
            return
        what, when = "" if work is None else work.what, now
        with suppress(OSError):
            write_json(path, None if work is None else asdict(work))

    try:
        with listening(write):
            yield
    finally:
        forget_preparation(folder)


def read_preparation(folder: Path) -> Work | None:
    """Return the work that the run does before it trains; None: it trains.

    Raises:
        LookupError: it has reported nothing yet.
    """
    try:
        content = json.loads(read_regular(RunFolder(folder).preparation))
        return None if content is None else Work(str(content["what"]), int(content["done"]), int(content["total"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise LookupError(folder) from None


def forget_preparation(folder: Path) -> None:
    """Remove the file that a killed run may have left."""
    with suppress(OSError):
        RunFolder(folder).preparation.unlink(missing_ok=True)
