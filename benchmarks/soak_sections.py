"""Sections of the soak that disturb comparisons: each returns its text for soak.md, and what went wrong."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.__main__ import table
from benchmarks.soak_commands import (
    SHIFTED_CLOCK,
    TARGETS,
    Disturbance,
    Place,
    clear_line,
    environments,
    in_environment,
    kill_at_random,
    small_disk,
    undisturbed,
)

Section = tuple[str, list[str]]
AT_ONCE = 3
"""Environments that are tried at a time; most of a command is imports."""
STRATEGIES, SEEDS, WORKERS = "finetune,er", "0,1", 2


def environments_section(count: int | None = None) -> Section:
    """Carry a comparison out in each environment, twice."""
    expected, _ = undisturbed("er", "0", 1)
    chosen = list(environments())[:count]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(lambda one: _told(one, in_environment(one, expected)), chosen))
    rows: list[tuple[str, ...]] = [
        (one.name, end, differs or "no", left or "nothing")
        for one, (end, differs, left) in zip(chosen, ends, strict=True)
    ]
    wrong = [" | ".join(row) for row in rows if row[2:] != ("no", "nothing")]
    text = (
        "A comparison of one run, and the same command again. Differs: numbers of the undisturbed one. Left: "
        "processes, locks, half-written files, files in TMPDIR."
    )
    return f"{text}\n\n{table(('environment', 'end', 'differs', 'left'), rows)}", wrong


def _told(one: Disturbance, end: tuple[str, str, str]) -> tuple[str, str, str]:
    """Print what became of an environment at once, because all of them take long; return it."""
    print(one.name, *end, sep=" | ", flush=True)
    return end


def processes_section(count: int | None = None) -> Section:
    """Kill processes of a comparison with SIGKILL at random moments, 50 unless told."""
    return _interrupted(50 if count is None else count, signal.SIGKILL, TARGETS, kills=3)


def signals_section(count: int | None = None) -> Section:
    """Send SIGTERM to one process and to all of a comparison at random moments, 12 unless told."""
    return _interrupted(12 if count is None else count, signal.SIGTERM, TARGETS, kills=2)


def _interrupted(count: int, number: int, targets: tuple[str, ...], kills: int) -> Section:
    """Disturb comparisons a few times each, then let them end."""
    expected, seconds = undisturbed(STRATEGIES, SEEDS, WORKERS)
    rng = np.random.default_rng(19)
    done = dict.fromkeys(targets, 0)
    comparisons, wrong, tried = 0, [], 0
    while sum(done.values()) < count and tried < 3 * count:
        with Place(Disturbance("disturbed"), STRATEGIES, SEEDS, WORKERS) as place:
            for _ in range(min(kills, count - sum(done.values()))):
                target = targets[tried % len(targets)]
                tried += 1
                done[target] += kill_at_random(place, rng, seconds, target, number)
            code, output = place.finish()
            comparisons += 1
            if code or place.numbers() != expected:
                wrong.append(f"comparison {comparisons}: exit code {code}, {output[-200:]!r}")
            if left := place.left():
                wrong.append(f"comparison {comparisons}: left {', '.join(left)}")
    what = ", ".join(f"{name} {times}" for name, times in done.items())
    name = signal.Signals(number).name
    return (
        f"Comparisons of {STRATEGIES} with seeds {SEEDS}, two runs at a time. {name} at random moments (seed 19), up "
        f"to {kills} in each, and the same command again: {what}; {comparisons} comparisons, {len(wrong)} that differ "
        "or leave something." + "".join(f"\n- {one}" for one in wrong)
    ), wrong


def clock_section(count: int | None = None) -> Section:
    """Carry a comparison out while the clock of Python jumps by hours."""
    expected, _ = undisturbed(STRATEGIES, SEEDS, WORKERS)
    wrong = []
    with Place(Disturbance("clock"), STRATEGIES, SEEDS, WORKERS) as place:
        shim = place.home / "shim"
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(SHIFTED_CLOCK)
        place.disturbance = Disturbance("clock", {"PYTHONPATH": str(shim)})
        code, output = place.finish()
        if code or place.numbers() != expected:
            wrong.append(f"exit code {code}: {output[-300:]!r}")
        wrong += place.left()
    text = (
        "`time.time` and `time.time_ns` of every process are replaced (by a `sitecustomize` on PYTHONPATH) and jump "
        "two hours back and a day ahead, every two seconds; the monotonic clock and those of files are the system's. "
    )
    return text + (f"Wrong: {'; '.join(wrong)}" if wrong else "Equal numbers, nothing left."), wrong


def disk_section(count: int | None = None) -> Section:
    """Carry a comparison out on file systems that are too small, and again on the same with room; only for root."""
    if os.geteuid() != 0:
        return "Not tried: needs root, to mount a file system.", []
    expected, _ = undisturbed("er", "0", 1)
    rows: list[tuple[str, ...]] = []
    wrong: list[str] = []
    for kilobytes in (64, 512, 2048, 4096)[:count]:
        with small_disk(64) as home, Place(Disturbance("disk"), "er", "0", home=str(home)) as place:
            ballast = Path(home) / "ballast"
            free = shutil.disk_usage(home).free
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(free - 1024 * kilobytes, 1))
            code, output = place.finish()
            told = clear_line(output) if code else True
            ballast.unlink()
            again, more = place.finish()
            left = place.left()
            good = told and again == 0 and place.numbers() == expected and not left
            lines = [line.strip() for line in output.splitlines() if "space" in line] or output.splitlines()[-1:]
            rows.append(
                (
                    f"{kilobytes} kB free",
                    str(code),
                    lines[0].replace(str(home), "DISK") if code else "finished",
                    "equal" if good else "wrong",
                )
            )
            wrong += [] if good else [f"{kilobytes} kB: {output[-300:]!r}, then {again}: {more[-300:]!r}, left {left}"]
    headings = ("disk", "exit code", "says", "the same command with room again")
    return table(headings, rows), wrong


def many_section(count: int | None = None) -> Section:
    """Carry out 200 tiny runs in one comparison, unless told another number, and the same command again."""
    count = 200 if count is None else count
    with Place(Disturbance("many"), "finetune,er", f"0-{count // 2 - 1}", WORKERS) as place:
        code, output = place.finish()
        numbers = place.numbers()
        again, _ = place.finish()
        left = place.left()
        wrong = [output[-300:]] if code or again or len(numbers) != 2 * (count // 2) else []
        wrong += ["the second command changed runs"] * (numbers != place.numbers()) + left
    text = f"{len(numbers)} runs in one comparison, {WORKERS} at a time; the same command again trains none of them. "
    return text + (f"Wrong: {'; '.join(wrong)}" if wrong else "All finished, nothing left."), wrong
