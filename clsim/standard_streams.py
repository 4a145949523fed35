"""Standard output and error that may be lost, by a closed pipe or a full device, without ending what a process does."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any


class Lossy:
    """A text stream that takes no more after its first error, and keeps that error instead of raising it.

    Attributes:
        lost: the error; None: nothing is lost.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write what can be written, escaped where the encoding has no word for it; return the text's length."""
        if not isinstance(text, str):
            raise TypeError(f"expected a text, given {type(text).__name__}")
        if self.lost is None:
            try:
                self._write(text)
            except (OSError, ValueError) as error:  # ValueError: it is closed
                self.lost = error
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # as on a Latin-1 terminal
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def writelines(self, lines: Any) -> None:
        """Write each of the texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush what is written."""
        if self.lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self.lost = error

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would go past this class
            raise AttributeError(name)
        return getattr(self._stream, name)


def make_lossy() -> None:
    """Let this process go on whatever becomes of its standard output and error.

    A stream that was closed before the start leads nowhere, so that no file that is opened later takes its number and
    is written to by libraries that print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
        stream = getattr(sys, name)
        if number == 0 or isinstance(stream, Lossy):
            continue
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the process
        setattr(sys, name, Lossy(stream))


def lost_output() -> str | None:
    """Return why standard output did not take everything; None: it did, or its reader wanted no more."""
    stream = sys.stdout
    with suppress(OSError, ValueError):
        stream.flush()
    error = stream.lost if isinstance(stream, Lossy) else None
    if error is None or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        return None
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
