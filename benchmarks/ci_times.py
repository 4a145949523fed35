"""Measure what CI takes, part by part, and write the table into docs/contributing.md: `make ci-times`.

A fresh clone of the last commit is installed, linted and tested as `.ci/run` does it. The tests' minutes are divided
among the folders of `tests/` in proportion to the seconds that the tests of a folder take by themselves.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.__main__ import table
from clsim.cores import usable_cores
from clsim.files import write_atomically
from clsim.running.environment import environment

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "contributing.md"
BEGIN, END = "<!-- CI times: written by make ci-times -->", "<!-- end of CI times -->"
LIMIT_MINUTES = 60
TESTS = ["-m", "pytest", "--numprocesses=auto", "--maxprocesses=2", "--dist=loadfile", "--quiet"]


def seconds_by_folder(junit: str) -> dict[str, float]:
    """Return the seconds of the tests of each folder of `tests/`, from a JUnit report; slowest folder first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for case in ElementTree.fromstring(junit).iter("testcase"):
        parts = case.get("classname", "").split(".")
        folder = parts[1] if parts[0] == "tests" and len(parts) > 2 else "tests"
        seconds[folder if folder == "tests" else f"tests/{folder}"] += float(case.get("time", 0))
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def rows(install: float, lint: float, tests: float, by_folder: dict[str, float]) -> list[tuple[str, ...]]:
    """Return the table: minutes of installation, of lint, of each folder of tests, and of all.

    Args:
        install, lint, tests: wall seconds.
        by_folder: as `seconds_by_folder` returns it.
    """
    whole = sum(by_folder.values()) or 1.0
    parts = {"installation": install, "lint and types": lint}
    parts |= {folder: tests * seconds / whole for folder, seconds in by_folder.items()}
    parts["all"] = install + lint + tests
    return [(part, f"{seconds / 60:.1f}") for part, seconds in parts.items()]


def with_table(page: str, text: str) -> str:
    """Return the page with the text in place of what stood between the two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> int:
    """Measure and write; return 1 if the whole takes longer than the limit or a part fails."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clsim"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        shared = ROOT.parent / "shared"
        if shared.is_dir():
            (clone.parent / "shared").symlink_to(shared)
        junit = clone / "junit.xml"
        python = clone / ".venv" / "bin" / "python"
        commands = [["make", ".venv/.installed"], ["make", "lint"], [str(python), *TESTS, f"--junitxml={junit}"]]
        walls = []
        for command in commands:
            began = time.monotonic()
            if code := subprocess.run(command, cwd=clone, stdin=subprocess.DEVNULL).returncode:
                print(f"{' '.join(command)}: exit code {code}; nothing written", file=sys.stderr)
                return 1
            walls.append(time.monotonic() - began)
        found = rows(walls[0], walls[1], walls[2], seconds_by_folder(junit.read_text(encoding="utf-8")))
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    facts = environment("cpu", 1)
    on = f"{day}, {facts['cpu']}, {usable_cores()} cores, Python {facts['python']}."
    text = f"{on}\n\n{table(('part', 'minutes'), found)}"
    write_atomically(PAGE, with_table(PAGE.read_text(encoding="utf-8"), text))
    print(f"written: {PAGE}")
    return int(sum(walls) > 60 * LIMIT_MINUTES)


if __name__ == "__main__":
    sys.exit(main())
