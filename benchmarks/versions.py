"""Test clsim with the lowest and the newest versions that pyproject.toml admits: `make versions`.

Each set of versions is installed in an environment of its own, in build/versions/, and runs the tests that are named.
uv, which is installed there too, chooses the versions: in the lowest set those of the direct dependencies are as low as
pyproject.toml and the other packages admit; what they depend on in turn is as new as fits.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / "build" / "versions"
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TESTS = ["-m", "pytest", "--quiet", "--numprocesses=auto", "--maxprocesses=2", "--dist=loadfile"]
QUICK = ["-m", "not slow and not long and not engines"]
SHOWN = ("torch", "torchvision", "numpy", "scipy", "pandas", "pydantic", "scikit-learn", "matplotlib")


def commands(name: str, python: str, tests: list[str]) -> list[list[str]]:
    """Return the commands that make the environment of a set of versions, install clsim and run the tests, in order.

    Args:
        name: "lowest" or "newest".
        python: the interpreter that makes the environment.
        tests: folders or files of tests.
    """
    inside = str(HOME / name / "bin" / "python")
    return [
        [python, "-m", "venv", str(HOME / name)],
        [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
        [inside, "-m", "uv", "pip", "install", "--quiet", "--resolution", RESOLUTIONS[name], "--editable", ".[dev]"],
        [inside, *TESTS, *QUICK, *tests],
    ]


def main() -> int:
    """Install and test each set; return 1 if one cannot be installed or a test fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tests", nargs="+", help="folders or files of tests")
    parser.add_argument("--sets", nargs="+", choices=RESOLUTIONS, default=list(RESOLUTIONS))
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments; by default this one")
    parser.add_argument("--keep", action="store_true", help="leave the environments, of gigabytes, in build/versions")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.sets:
        shutil.rmtree(HOME / name, ignore_errors=True)
        try:
            for command in commands(name, arguments.python, arguments.tests):
                subprocess.run(command, cwd=ROOT, check=True)
                # left by the build; found first, it would hide strategies that are added later
                shutil.rmtree(ROOT / "clsim.egg-info", ignore_errors=True)
        except subprocess.CalledProcessError as error:
            print(f"{name}: exit code {error.returncode} of {' '.join(error.cmd[:6])}", file=sys.stderr)
            failed += 1
        else:
            print(f"{datetime.datetime.now(datetime.UTC).date()}, {name}: passed with {_versions(name)}")
        if not arguments.keep:
            shutil.rmtree(HOME / name, ignore_errors=True)
    return int(bool(failed))


def _versions(name: str) -> str:
    """Return what an environment holds, such as "Python 3.11.7, torch 2.6.0"."""
    code = (
        "import platform, sys; from importlib.metadata import version\n"
        "print(', '.join([f'Python {platform.python_version()}', *(f'{n} {version(n)}' for n in sys.argv[1:])]))"
    )
    inside = str(HOME / name / "bin" / "python")
    return subprocess.run([inside, "-c", code, *SHOWN], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
