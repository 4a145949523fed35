"""What no input may do to clsim: take seconds, take gigabytes, raise anything but a clear error, write files."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clsim.errors import ClsimError

CPU_SECONDS = 8.0  # 50,000 bytes of nested YAML take 1 s, and 4 s in a process whose heap the collector goes through
WALL_SECONDS = 60.0  # for what waits without computing; the machine may be busy
MORE_BYTES = 2 * 2**30

Outcome = list[str]
"""Problems that an input was refused with; empty: it was accepted."""


class TooLong(BaseException):
    """An input that keeps clsim busy or waiting. Not an Exception, which code under test may catch."""


class Fuzzed(AssertionError):
    """An input that clsim did not stand up to."""


def _raise(number: int, frame: Any) -> None:
    raise TooLong(f"more than {CPU_SECONDS:g} s of CPU time, or {WALL_SECONDS:g} s in all")


@contextmanager
def bounded() -> Iterator[None]:
    """Inside the block TooLong after four seconds of CPU time, MemoryError after two more gigabytes."""
    timers = {signal.ITIMER_PROF: (signal.SIGPROF, CPU_SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, WALL_SECONDS)}
    handlers = {number: signal.signal(number, _raise) for number, _ in timers.values()}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, hard))
    try:
        for timer, (_, seconds) in timers.items():
            signal.setitimer(timer, seconds)
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in handlers.items():
            signal.signal(number, handler)


def outcome(act: Callable[[], object]) -> Outcome:
    """What comes of an input: nothing, or the problems of a ClsimError; anything else is raised as Fuzzed."""
    try:
        with bounded():
            act()
    except ClsimError as error:
        problems = getattr(error, "problems", None) or [str(error)]
        for problem in problems:
            if not problem.strip() or "Traceback" in problem or len(problem) > 5000:
                raise Fuzzed(f"unclear: {problem[:300]!r}") from error
            if not _printable(problem):
                raise Fuzzed(f"a terminal may not show it: {problem[:300]!r}") from error
        return list(problems)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Fuzzed(f"{type(error).__name__}: {error}"[:500]) from error
    return []


def _printable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not any(ord(letter) < 32 and letter not in "\n\t" for letter in text)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything below a folder, by path."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
