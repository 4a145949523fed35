"""The process that scores: forked from the one that trains before that has seen the first batch.

It has the truth, because it was forked while the truth was there; the process that trains forgets it then. It takes
messages in their order, so that files grow as if one process wrote them, and it answers only what is asked. It ignores
the signals that ask a run to stop, because its run decides that, and ends with its run whatever ends that.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import torch

from clsim.errors import ClsimError, RunError
from clsim.running.interruption import SIGNALS
from clsim.running.scoring.desk import Desk
from clsim.running.scoring.messages import Answer

SUITED = sys.platform == "linux"
"""Elsewhere a fork of a process that uses the system's frameworks is known to crash; then the run scores itself."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether the process that trains is still there."""
PATIENCE = 10.0
"""Seconds that the process may take to end."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""

log = logging.getLogger("clsim")


class ScoringProcess:
    """The process, from outside; see `Scorer`.

    Args:
        desk: what it works at; it is of no use here any more.
        go_on: the command that goes on with the run.
        in_child: called first in the process, to close what only the run holds.
        each_time: called after each message, which is then waited for; None: only answers are waited for.
    """

    def __init__(
        self,
        desk: Desk,
        go_on: str,
        in_child: Callable[[], None] = lambda: None,
        each_time: Callable[[], None] | None = None,
    ) -> None:
        self.wanted = desk.wanted
        self.go_on = go_on
        self.each_time = each_time
        self._awaited: deque[Answer] = deque()
        self._pipe, its_end = Pipe()
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # none may come before the process ignores them
        try:
            self.pid: int | None = os.fork()
            if self.pid == 0:
                _work(desk, self._pipe, its_end, parent, in_child)
        except OSError as error:
            raise RunError(f"no process to score the run: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        its_end.close()

    def tell(self, what: str, *content: Any) -> None:
        """Call a method of the desk, and do not wait for it.

        Raises:
            Exception: what an earlier call has raised there.
            RunError: the process has ended.
        """
        if self.each_time is not None:
            self.ask(what, *content)
            return
        self._take()
        self._send(what, content, asked=False)

    def ask(self, what: str, *content: Any) -> Any:
        """Call a method of the desk after all before it, and return what it returns.

        Raises:
            Exception: as `tell`, and what this call raises.
        """
        answer = self.later(what, *content).get()
        if self.each_time is not None:
            self.each_time()
        return answer

    def later(self, what: str, *content: Any) -> Answer:
        """Call a method of the desk, do not wait for it, and return its answer to come.

        The answer must be small, so that it fits into the pipe: this process may be sending at that moment.

        Raises:
            Exception: as `tell`.
        """
        self._take()
        answer = Answer(self._take)
        self._awaited.append(answer)
        self._send(what, content, asked=True)
        return answer

    def _send(self, what: str, content: tuple[Any, ...], asked: bool) -> None:
        try:
            self._pipe.send_bytes(pickle.dumps((what, content, asked), pickle.HIGHEST_PROTOCOL))
        except OSError:
            while True:  # until an error says why it takes no more
                self._take(wait=True)

    def _take(self, wait: bool = False) -> None:
        """Take the answers that have come; with `wait` at least one.

        Raises:
            Exception: what a call has raised.
            RunError: the process has ended.
        """
        while True:
            try:
                if not wait and not self._pipe.poll():
                    return
                error, value = pickle.loads(self._pipe.recv_bytes())
            except (EOFError, OSError):
                how = self._end(PATIENCE)
                raise RunError(f"the process that scores the run has ended ({how}); go on with: {self.go_on}") from None
            if error is not None:
                raise error
            answer = self._awaited.popleft()
            answer.known, answer.value, wait = True, value, False

    def close(self) -> None:
        """Let the process end, and wait for it."""
        self._end(PATIENCE)

    def _end(self, patience: float) -> str:
        """Return how the process has ended, killed if it has not within `patience` seconds."""
        self._pipe.close()
        if self.pid is None:
            return "before"
        deadline = time.monotonic() + patience
        try:
            while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                    found = os.waitpid(self.pid, 0)
                    break
                time.sleep(0.002)
            code = os.waitstatus_to_exitcode(found[1])
        except ChildProcessError:  # somebody else has waited for it
            code = 0
        self.pid = None
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _work(desk: Desk, other_end: Connection, pipe: Connection, parent: int, in_child: Callable[[], None]) -> NoReturn:
    """Take messages until the process that trains is done, or gone."""
    code = 1
    try:
        gc.freeze()  # nothing of the parent's is finalised here
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        other_end.close()
        in_child()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        torch.set_num_threads(1)  # no thread of the parent's pool is here
        code = _serve(desk, pipe, parent)
    except BaseException:
        log.exception("the process that scores has failed")
    finally:
        os._exit(code)


def _serve(desk: Desk, pipe: Connection, parent: int) -> int:
    """Return the exit code."""
    while True:
        while not pipe.poll(LOOK_EVERY):
            if os.getppid() != parent:
                return 0
        try:
            what, content, asked = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return 0
        try:
            answer = getattr(desk, what)(*content)
        except BaseException as error:
            log.exception("not scored")
            with suppress(OSError):
                pipe.send_bytes(_packed(error))
            return 1
        if asked:
            try:
                pipe.send_bytes(pickle.dumps((None, answer), pickle.HIGHEST_PROTOCOL))
            except OSError:  # nobody waits for it any more
                return 0


def _packed(error: BaseException) -> bytes:
    """Return an error as an answer; one that does not travel whole as its text."""
    with suppress(Exception):
        packed = pickle.dumps((error, None))
        if str(pickle.loads(packed)[0]) == str(error):
            return packed
    text = str(error) if isinstance(error, ClsimError) else f"{type(error).__name__}: {error}"
    return pickle.dumps((RunError(text), None))
