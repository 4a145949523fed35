"""Files of the working directory that bear the names of modules are imported by no command and by no child."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
USER_FILES = (
    "torch",
    "queue",
    "copy",
    "statistics",
    "random",
    "calendar",
    "csv",
    "numpy",
    "typer",
    "avalanche",
    "pandas",
)
PLANTED = "import os; os.write(2, b'imported from the working directory: ' + __file__.encode()); os._exit(3)\n"
STRATEGY = """
import subprocess
import sys

import clsim
from avalanche.core import SupervisedPlugin


class Grandparent(SupervisedPlugin):
    # starts a process of its own, as libraries do
    def before_training(self, strategy, **kwargs):
        subprocess.run([sys.executable, "-c", "import queue"], check=True)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Mine(clsim.Strategy):
    name = "mine"

    def plugins(self, context):
        return [Grandparent()]
"""


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder as users have: modules by the names of others, a strategy file, and a folder named clsim."""
    folder = tmp_path / "planted"
    (folder / "clsim").mkdir(parents=True)
    for name in USER_FILES:
        (folder / f"{name}.py").write_text(PLANTED)
    (folder / "mine.py").write_text(STRATEGY)
    return folder


@pytest.fixture
def console_script(tmp_path: Path) -> Path:
    """The command `clsim` as pip installs it."""
    script = tmp_path / "bin" / "clsim"
    script.parent.mkdir()
    script.write_text("import sys\nfrom clsim.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    return script


def python(cwd: Path, *arguments: object) -> str:
    """Run Python in a folder and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sets(overrides: dict[str, Any]) -> list[str]:
    return [text for key, value in overrides.items() for text in ("--set", f"{key}={value}")]


LIGHT = [("--help",), ("strategies",), ("strategies", "mine.py:Mine"), ("plan", "digits-b0c2")]


def test_the_console_script_imports_nothing_from_the_working_directory(planted: Path, console_script: Path) -> None:
    for arguments in LIGHT:
        python(planted, console_script, *arguments)


def test_python_m_drops_the_working_directory(planted: Path) -> None:
    (planted / "clsim").rmdir()  # that one would be Python's choice
    for arguments in LIGHT[-2:]:
        python(planted, "-m", "clsim", *arguments)


def test_python_m_keeps_the_whole_path_where_python_has_put_nothing_first(tmp_path: Path) -> None:
    show = "import sys; print(sys.path); sys.argv[0] = '-m'; import clsim; print(sys.path)"
    before, after = python(tmp_path, "-P", "-c", show).splitlines()
    assert before == after


@pytest.mark.slow
def test_runs_and_reports_import_nothing_from_it(
    planted: Path, console_script: Path, tiny_overrides: dict[str, Any]
) -> None:
    options = ["--device", "cpu", *sets(tiny_overrides | {"training.epochs": 1})]
    python(planted, console_script, "run", "digits-b0c2", "--strategy", "mine.py:Mine", "--out", "one", *options)
    python(planted, console_script, "compare", "digits-b0c2", "--strategies", "mine.py:Mine,er", *options)
    python(planted, console_script, "report", "runs/digits-b0c2")


@pytest.mark.slow
def test_compare_in_a_script_imports_nothing_from_it(planted: Path, tmp_path: Path, tiny_overrides: dict) -> None:
    call = {"overrides": tiny_overrides | {"training.epochs": 1}, "device": "cpu", "workers": 2}
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "import clsim\n"
        f"done = clsim.compare('digits-b0c2', ['mine.py:Mine', 'er'], **{call!r})\n"
        "print(len(done.frame), done.failed)\n"
    )
    assert python(planted, script) == "2 {}\n"


def test_annotations_are_parsed_by_processes_that_import_nothing_from_it(planted: Path) -> None:
    (planted / "json.py").write_text(PLANTED)
    paths = [str(planted / f"{name}.xml") for name in "ab"]
    for path in paths:
        Path(path).write_text("<annotation><object><name>cat</name></object></annotation>")
    code = f"from clsim.data.voc_annotations import read_annotations; print(read_annotations({paths!r}, 2))"
    assert python(planted, "-P", "-c", code) == f"{[{'cat': True}] * 2}\n"


ENDS = """
import atexit
import os
import sys
from clsim.cli import main

class Last:
    def __del__(self, write=os.write):
        write(1, b"taken apart")

last = Last()
sys.argv = ["clsim", *sys.argv[1:]]
atexit.register(print, "hook before")
try:
    main()
finally:
    atexit.register(print, "hook after")
"""


@pytest.mark.parametrize(("command", "code"), [("--version", 0), ("--unknown", 2)])
def test_a_command_ends_at_once_with_its_code_after_the_hooks_of_others(command: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", ENDS, command], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "hook after" in done.stdout
    assert "taken apart" not in done.stdout


def test_pythonpath_is_searched(tmp_path: Path, tiny_overrides: dict[str, Any], monkeypatch) -> None:
    from clsim.children import module_command

    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "mine_too.py").write_text("print('found')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(module_command("mine_too"), env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "found\n"


def test_python_is_started_in_one_way_only() -> None:
    for path in sorted((ROOT / "clsim").rglob("*.py")):
        if path.name != "children.py":
            assert not re.search(r"sys\.executable|multiprocessing\.(Process|get_context)", path.read_text()), path


def test_the_folders_that_wandb_makes_in_tmpdir_are_removed() -> None:
    """Avalanche imports it; a killed process cannot tidy up, and neither does one that ends at once."""
    import clsim.running.execution  # noqa: F401  as a process that carries out runs has done
    from clsim.children import remove_unused_folders

    private = sys.modules["wandb.sdk.data_types._private"]
    artifact = sys.modules["wandb.sdk.artifacts.artifact"]
    folders = [private.MEDIA_TMP.name, artifact.Artifact._TMP_DIR.name]
    remove_unused_folders()
    remove_unused_folders()
    assert not any(map(os.path.exists, folders))
