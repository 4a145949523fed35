"""Test clsim with the lowest and the newest versions that pyproject.toml admits: `make versions`.

Each set of versions is installed in an environment of its own, in build/versions/, and runs the tests that are named.
uv, which is installed there too, chooses the versions: in the lowest set those of the direct dependencies are as low as
pyproject.toml and the other packages admit; what they depend on in turn is as new as fits. The table in
docs/contributing.md holds the last trial of each set with each Python.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from benchmarks.__main__ import table
from clsim.files import write_atomically

ROOT = Path(__file__).parents[1]
HOME = ROOT / "build" / "versions"
PAGE = ROOT / "docs" / "contributing.md"
BEGIN, END = "<!-- trials of versions: written by make versions -->", "<!-- end of trials of versions -->"
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TESTS = ["-m", "pytest", "--quiet", "--numprocesses=auto", "--maxprocesses=2", "--dist=loadfile"]
QUICK = ["-m", "not slow and not long and not engines"]
SHOWN = ("torch", "torchvision", "numpy", "scipy", "pandas", "pydantic", "scikit-learn", "matplotlib", "pillow", "timm")


class Trial(NamedTuple):
    """A row of the table of trials."""

    set: str
    python: str  # such as "3.11.7"
    date: str
    tests: str
    versions: str


def commands(home: Path, resolution: str, python: str, tests: list[str]) -> list[list[str]]:
    """Return the commands that make an environment, install clsim in it and run the tests, in order.

    Args:
        home: folder of the environment; the JUnit report of the tests stands there as `junit.xml`.
        resolution: of uv, one of RESOLUTIONS.
        python: the interpreter that makes the environment.
        tests: folders or files of tests.
    """
    inside = str(home / "bin" / "python")
    return [
        [python, "-m", "venv", str(home)],
        [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
        [inside, "-m", "uv", "pip", "install", "--quiet", "--resolution", resolution, "--editable", ".[dev]"],
        [inside, *TESTS, f"--junitxml={home / 'junit.xml'}", *QUICK, *tests],
    ]


def counts(junit: str) -> str:
    """Return what a JUnit report says in all, such as "3720 passed, 1 failed, 3 skipped"."""
    (suite,) = ElementTree.fromstring(junit).iter("testsuite")
    number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    found = {"passed": number["tests"] - failed - number["skipped"], "failed": failed, "skipped": number["skipped"]}
    return ", ".join(f"{count} {name}" for name, count in found.items() if count or name == "passed")


def with_trial(page: str, trial: Trial) -> str:
    """Return the page with the trial in the table between the two marks.

    It takes the place of the trial of the same set with the same Python, whatever its last number.
    """
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = [Trial(*line.strip("| ").split(" | ")) for line in old.strip().splitlines()[2:]]
    by_key = {(row.set, _minor(row.python)): row for row in [*rows, trial]}
    ordered: list[tuple[str, ...]] = [
        by_key[key] for key in sorted(by_key, key=lambda key: (key[0], int(key[1].partition(".")[2])))
    ]
    return f"{before}{BEGIN}\n\n{table(('set', 'Python', 'date', 'tests', 'versions'), ordered)}\n\n{END}{after}"


def main() -> int:
    """Install and test each set with each Python; return 1 if one cannot be installed or a test fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tests", nargs="+", help="folders or files of tests")
    parser.add_argument("--sets", nargs="+", choices=RESOLUTIONS, default=list(RESOLUTIONS))
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters; by default this one")
    parser.add_argument("--keep", action="store_true", help="leave the environments, of gigabytes, in build/versions")
    arguments = parser.parse_args()
    tried = [_try(name, python, arguments) for python in arguments.python for name in arguments.sets]
    return int(not all(tried))


def _try(name: str, python: str, arguments: argparse.Namespace) -> bool:
    """Install and test a set with a Python, and write the trial; return whether all tests pass."""
    version = _said([python, "-c", "import platform; print(platform.python_version())"])
    home = HOME / f"{name}-{_minor(version)}"
    inside = str(home / "bin" / "python")
    shutil.rmtree(home, ignore_errors=True)
    code = 0
    try:
        for command in commands(home, RESOLUTIONS[name], python, arguments.tests):
            code = subprocess.run(command, cwd=ROOT).returncode
            # left by the build; found first, it would hide strategies that are added later
            shutil.rmtree(ROOT / "clsim.egg-info", ignore_errors=True)
            if code:
                print(f"{home.name}: exit code {code} of {' '.join(command[:6])}", file=sys.stderr)
                break
        if (home / "junit.xml").is_file():
            day = datetime.datetime.now(datetime.UTC).date().isoformat()
            tests = counts((home / "junit.xml").read_text(encoding="utf-8"))
            trial = Trial(name, version, day, tests, _said([inside, "-c", _VERSIONS, *SHOWN]))
            write_atomically(PAGE, with_trial(PAGE.read_text(encoding="utf-8"), trial))
            print(", ".join(trial))
    finally:
        if not arguments.keep:
            shutil.rmtree(home, ignore_errors=True)
    return code == 0


_VERSIONS = """
import sys
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))
"""


def _minor(python: str) -> str:
    """Return "3.12" of "3.12.1"."""
    return ".".join(python.split(".")[:2])


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
