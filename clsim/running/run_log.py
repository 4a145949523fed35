"""The log of a run, `run.log` in its folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger("clsim")


class _RunLog(logging.FileHandler):
    """A log file whose errors are errors: a disk that is full for the log is full for the results too."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        if isinstance(error, OSError):
            error.filename = self.baseFilename
        raise


@contextmanager
def run_log(path: Path) -> Iterator[None]:
    """Inside it clsim's log goes on in a file.

    Raises:
        OSError: it cannot be written.
    """
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # what it could not write it has already said
            handler.close()
