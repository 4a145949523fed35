"""Comparisons by the command line, disturbed from outside; a part of `python -m benchmarks.soak`.

Each ends with the numbers of an undisturbed one after the same command again, or with one clear line. What is looked
at afterwards: processes that are left, half-written files, locks, and what lies in TMPDIR.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from clsim.files import json_text
from clsim.running.run_folder import RunFolder
from clsim.strict_json import read_object

SETTINGS = (
    *("dataset.train=60", "dataset.test=20", "stream.increment=5", "training.epochs=1", "training.batch_size=16"),
    *("training.model.image_size=28", "memory.budget.per_class=2", "threads=1", "checkpoint.steps=2"),
)
MARK = "CLSIM_SOAK"
"""Variable in the environment of all processes of a comparison, by which those that are left are found."""
PATIENCE = 900
"""Seconds for a command; the machine may be busy."""
OTHER_USER = 54_321
"""A user without a name, home or rights."""
SHIFTED_CLOCK = """
import os, sys, time
_time, _ns, _monotonic = time.time, time.time_ns, time.monotonic
_began = _monotonic()
def _jump():  # two hours back or a day ahead, another one every two seconds
    return (0, -7200, 86400)[int((_monotonic() - _began) / 2) % 3]
time.time = lambda: _time() + _jump()
time.time_ns = lambda: _ns() + _jump() * 10**9
"""
Numbers = dict[str, str]
"""Run -> SHA-256 of its metrics and its result."""


@dataclass
class Disturbance:
    """What surrounds a command.

    Attributes:
        name: in words.
        environment: variables that are set, or None: unset.
        before: called in the process before it becomes the command.
        prefix: words in front of the command.
        out: name of the folder of the runs, below a temporary one.
        cwd: working directory; None: a temporary one.
        as_other: the command belongs to a user who owns nothing but its folder, which is the home folder.
        may_refuse: one clear line is a good end, too.
    """

    name: str
    environment: Mapping[str, str | None] = field(default_factory=dict)
    before: Callable[[], None] | None = None
    prefix: Sequence[str] = ()
    out: bytes = b"runs"
    cwd: str | None = None
    as_other: bool = False
    may_refuse: bool = False


class Place:
    """A temporary folder in which a comparison is carried out; removed at the end of a block.

    Args:
        disturbance: what surrounds its commands.
        strategies, seeds: of the comparison.
        workers: runs at a time.
    """

    def __init__(
        self,
        disturbance: Disturbance,
        strategies: str = "er",
        seeds: str = "0",
        workers: int = 1,
        home: str | None = None,
    ) -> None:
        self.disturbance = disturbance
        self.home = Path(home or tempfile.mkdtemp(prefix="soak-"))
        self.token = f"{os.getpid()}-{os.urandom(4).hex()}"
        self.out = os.fsencode(self.home) + b"/" + disturbance.out
        for name in ("tmp", "work", "cache"):
            (self.home / name).mkdir(exist_ok=True)
        settings = [word for key in SETTINGS for word in ("--set", key)]
        words = [*disturbance.prefix, sys.executable, "-P", "-m", "clsim", "compare", "digits-b0c2", "-q"]
        words += ["--strategies", strategies, "--seeds", seeds, "--workers", str(workers), *settings, "--out"]
        self.command: list[str | bytes] = [*words, self.out]
        if disturbance.as_other:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, OTHER_USER, OTHER_USER)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        shutil.rmtree(os.fsencode(self.home), ignore_errors=True)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        environment = os.environ | {MARK: self.token, "TMPDIR": f"{self.home}/tmp", "CLSIM_CACHE": f"{self.home}/cache"}
        if self.disturbance.as_other:
            environment["HOME"] = str(self.home)
        for name, value in self.disturbance.environment.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=self.disturbance.cwd or self.home / "work",
            preexec_fn=self._before,
        )

    def _before(self) -> None:
        if self.disturbance.before is not None:
            self.disturbance.before()
        if self.disturbance.as_other:
            os.setgroups([])
            os.setgid(OTHER_USER)
            os.setuid(OTHER_USER)

    def finish(self) -> tuple[int, str]:
        """Carry the command out; return its exit code and what it printed."""
        process = self.start()
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1, f"not ended after {PATIENCE} s"
        return process.returncode, output.decode(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the comparison that are there, this one aside."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.token and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def numbers(self) -> Numbers:
        """Return what the runs came to: their metrics and results, whichever run has trained a shared first task."""
        found = {}
        for folder in sorted(Path(os.fsdecode(self.out)).glob("*/*/seed*")):
            files = RunFolder(folder)
            result = read_object(files.result) if files.result.exists() else {}
            result.pop("first_task", None)
            logged = [path.read_bytes() for path in (files.metrics, files.class_values) if path.exists()]
            content = b"".join([*logged, json_text(result).encode()])
            found[f"{folder.parent.name}/{folder.name}"] = hashlib.sha256(content).hexdigest()
        return found

    def left(self) -> list[str]:
        """Return what should not be there after the end: processes, locks, half-written files, files in TMPDIR."""
        deadline = time.monotonic() + 20
        while (processes := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        found = [f"process {process.pid}" for process in processes]
        runs = Path(os.fsdecode(self.out))
        names = (".*.part", "lock", ".*.replaced", ".*.time")
        found += [str(path.relative_to(runs)) for name in names for path in runs.rglob(name)]
        found += [path.name for path in (self.home / "cache").rglob("*.part")]
        return found + [
            path.name for path in (self.home / "tmp").iterdir() if not path.name.startswith("torchinductor")
        ]


def environments() -> Iterator[Disturbance]:
    """Yield the environments that a command must bear."""
    files = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (64, 64))
    yield Disturbance("`ulimit -n 64`", before=files, may_refuse=True)
    if os.geteuid() == 0 and _may_unshare():
        script = 'umount /dev/shm; exec "$@"'
        yield Disturbance("no /dev/shm", prefix=("unshare", "-m", "sh", "-c", script, "sh"))
    yield Disturbance("TMPDIR is not there", {"TMPDIR": "/nowhere"})
    yield Disturbance("HOME unset", {"HOME": None, "CLSIM_CACHE": None})
    yield Disturbance(
        "locale C", {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, out="a ü".encode()
    )
    yield Disturbance("working directory cannot be written", cwd="/proc")
    yield Disturbance("path with blanks, quotes, a line break", out=b"a b'c\"d\ne$(f)")
    yield Disturbance("path in other letters", out="\u0417\u043e\u043e \u732b \u00e9".encode())
    yield Disturbance("path that is not UTF-8", out=b"a\xff\xfe", may_refuse=True)
    nowhere = {"HOME": "/proc", "TMPDIR": "/proc", "CLSIM_CACHE": None}
    yield Disturbance("HOME and TMPDIR cannot be written", nowhere, may_refuse=True)
    if os.geteuid() == 0:
        nameless = {"USER": None, "LOGNAME": None}
        yield Disturbance("user without name and rights", nameless, as_other=True)
        yield Disturbance("user without name, home and rights", nowhere | nameless, as_other=True, may_refuse=True)


def _may_unshare() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run(["unshare", "-m", "true"]).returncode


def clear_line(output: str) -> bool:
    """Return whether an output has no traceback, and an end that says something."""
    return "Traceback" not in output and bool(output.strip())


def in_environment(disturbance: Disturbance, expected: Numbers) -> tuple[str, str, str]:
    """Carry a comparison out, twice; return what became of it, what differs and what is left."""
    with Place(disturbance) as place:
        try:
            code, output = place.finish()
        except OSError as error:
            return f"not tried: {error}", "", ""
        if code and disturbance.may_refuse and clear_line(output):
            return "one clear line: " + " ".join(output.split())[-160:], "", ", ".join(place.left())
        if code:
            return f"exit code {code}: {' '.join(output.split())[-300:]}", "not finished", ", ".join(place.left())
        again, output = place.finish()
        numbers = {name: value for name, value in expected.items() if name in place.numbers()}
        same = place.numbers() == numbers and bool(numbers) and again == 0
        return "finished, and again", "" if same else f"differs: {output[-200:]}", ", ".join(place.left())


def undisturbed(strategies: str, seeds: str, workers: int) -> tuple[Numbers, float]:
    """Return the numbers of a comparison that nobody disturbs, and its seconds."""
    began = time.monotonic()
    with Place(Disturbance("undisturbed"), strategies, seeds, workers) as place:
        code, output = place.finish()
        if code:
            raise RuntimeError(output)
        return place.numbers(), time.monotonic() - began


TARGETS = ("parent", "starter", "worker", "all")


def kill_at_random(
    place: Place, rng: np.random.Generator, seconds: float, target: str, number: int = signal.SIGKILL
) -> bool:
    """Start the command and send a signal to some of its processes at a random moment; False: it was faster."""
    process = place.start()
    with suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0.5, seconds))
    fast = process.poll() is not None
    for one in () if fast else victims(place.processes(), process.pid, target):
        with suppress(psutil.Error):
            one.send_signal(number)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=PATIENCE)
    deadline = time.monotonic() + 60
    while place.processes() and time.monotonic() < deadline:  # runs save themselves when their parent is gone
        time.sleep(0.1)
    return not fast


def victims(processes: Iterable[psutil.Process], parent: int, target: str) -> list[psutil.Process]:
    """Return the processes that a target names; the parent where there is no such process yet."""
    found = list(processes)
    starters = [one for one in found if _is_starter(one) and one.ppid() == parent]
    workers = [one for one in found if one.pid != parent and one not in starters]
    chosen = {"parent": [], "starter": starters, "worker": workers[:1], "all": found}[target]
    return chosen or [one for one in found if one.pid == parent]


def _is_starter(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "clsim.launch.starter" in " ".join(process.cmdline())
    return False


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory of a size; only for root."""
    home = Path(tempfile.mkdtemp(prefix="soak-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(home)], check=True)
    try:
        yield home
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)
        home.rmdir()
