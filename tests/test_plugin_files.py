"""Files named by a user: executed once, with their neighbours, without side effects; errors name file and line."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.launch.variants import as_variants, compose
from clsim.plugin_files import PluginFileError, load
from clsim.running.run_identity import identity
from clsim.scenario import Scenario
from clsim.training.composition import Composition

COUNTED = """
import os
from pathlib import Path

import clsim

with Path(__file__).with_name("executed").open("a") as file:
    file.write(f"{os.getpid()}\\n")


class Mine(clsim.Strategy):
    name = "mine"
"""


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """A strategy file that notes each process that executes it."""
    (tmp_path / "counted.py").write_text(COUNTED)
    return tmp_path / "counted.py"


def executions(file: Path) -> list[str]:
    return file.with_name("executed").read_text().split()


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


# --- how often


def test_a_file_is_executed_once_whoever_names_it(
    counted: Path, tiny: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(counted.parent)
    detour = counted.parent / ".." / counted.parent.name / "counted.py"
    kinds = {load(f"{path}:Mine") for path in (counted, "counted.py", detour)}
    Composition(f"er+{counted}:Mine").first_task_key()
    compose(as_variants(["counted.py:Mine", f"er+{counted}:Mine"]), {})
    identity(tiny, f"{counted}:Mine", {}, seed=0, device="cpu", threads=1)
    assert len(kinds) == 1
    assert len(executions(counted)) == 1


def test_a_run_executes_it_once(counted: Path, tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    clsim.run("digits-b0c2", f"{counted}:Mine", overrides=tiny_overrides, out=tmp_path, device="cpu")
    assert executions(counted) == [str(os.getpid())]


@pytest.mark.slow
def test_each_process_of_a_comparison_executes_it_once(
    counted: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    names = ["finetune", f"{counted}:Mine", f"er+{counted}:Mine"]
    comparison = clsim.compare("digits-b0c2", names, overrides=tiny_overrides, out=tmp_path, device="cpu")
    assert comparison.failed == {}
    processes = executions(counted)
    assert len(processes) == len(set(processes)) == 3  # this one and two runs
    assert str(os.getpid()) in processes


def test_a_file_that_has_changed_is_executed_anew(tmp_path: Path) -> None:
    write(tmp_path, one="def f():\n    return 1\n", other="def f():\n    return 1\n")
    before = load(f"{tmp_path}/one.py:f")
    times = os.stat(tmp_path / "one.py")
    write(tmp_path, one="def f():\n    return 2\n")  # of the same size
    os.utime(tmp_path / "one.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    after = load(f"{tmp_path}/one.py:f")
    assert (before(), after()) == (1, 2)
    assert after is load(f"{tmp_path}/one.py:f")
    assert inspect.getmodule(before) is not inspect.getmodule(after)


def test_a_changed_neighbour_is_executed_anew_and_shared_by_the_files_of_a_folder(tmp_path: Path) -> None:
    user = "from .near import Base\n\n\nclass Own(Base):\n    pass\n"
    write(tmp_path, near="class Base:\n    value = 1\n", one=user, other=user)
    one, other = load(f"{tmp_path}/one.py:Own"), load(f"{tmp_path}/other.py:Own")
    assert one.__base__ is other.__base__
    write(tmp_path, near="class Base:\n    value = 2\n")
    assert (one.value, load(f"{tmp_path}/one.py:Own").value) == (1, 2)


def test_a_file_that_failed_can_be_mended(tmp_path: Path) -> None:
    write(tmp_path, one="from .near import f\n", near="f = no_such_name\n")
    with pytest.raises(PluginFileError, match=r"near\.py:1: cannot be loaded: NameError: .*no_such_name"):
        load(f"{tmp_path}/one.py:f")
    write(tmp_path, near="def f():\n    return 1\n")
    assert load(f"{tmp_path}/one.py:f")() == 1


def test_a_file_whose_execution_was_interrupted_is_executed_again(tmp_path: Path) -> None:
    mark = "from pathlib import Path\nmark = Path(__file__).with_name('mark')\n"
    write(tmp_path, one=f"{mark}if not mark.exists():\n    mark.touch()\n    raise KeyboardInterrupt\nf = len\n")
    with pytest.raises(KeyboardInterrupt):
        load(f"{tmp_path}/one.py:f")
    assert load(f"{tmp_path}/one.py:f") is len


# --- neighbours and side effects


def test_neighbours_are_those_beside_the_file_wherever_the_process_works(tmp_path: Path) -> None:
    """A child process, whose working directory and `sys.path` hold a file of the same name."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, near=f"place = {name!r}\n", copy="raise SystemExit('not the real one')\n")
    soon = "import copy\nfrom .near import place\n\n\ndef f():\n    return place\n"
    late = "\n\ndef late():\n    from . import near\n\n    return near.place\n"
    write(tmp_path / "there", mine=soon + late)
    code = (
        "import sys; before = list(sys.path); from clsim.plugin_files import load\n"
        f"print(load('{tmp_path}/there/mine.py:f')(), load('{tmp_path}/there/mine.py:late')())\n"
        "assert sys.path == before and not {'near', 'mine'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path / "here", capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("there there\n", "")


def test_it_leaves_no_files_and_no_names_behind(tmp_path: Path) -> None:
    write(tmp_path, copy="from .json import f\n", json="def f():\n    return 1\n")
    before = {name for name in sys.modules if not name.startswith("clsim_file_")}
    assert load(f"{tmp_path}/copy.py:f")() == 1
    assert {name for name in sys.modules if not name.startswith("clsim_file_")} == before
    assert sys.modules["copy"] is copy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.py", "json.py"]


def test_an_absolute_import_of_a_neighbour_is_told_how_to_write_it(tmp_path: Path) -> None:
    write(tmp_path, one="import os\nfrom near import f\n", near="f = 1\n")
    message = r"one\.py:2: cannot be loaded: .*'near'; near\.py lies beside it: write `from \.near import"
    with pytest.raises(PluginFileError, match=message):
        load(f"{tmp_path}/one.py:f")


def test_what_it_defines_can_be_pickled_and_inspected(tmp_path: Path) -> None:
    text = "class Box:\n    def __init__(self, size):\n        self.size = size\n"
    write(tmp_path, box=text)
    kind = load(f"{tmp_path}/box.py:Box")
    assert pickle.loads(pickle.dumps(kind(3))).size == 3
    assert inspect.getsource(kind) == text
    assert inspect.getfile(kind) == str(tmp_path / "box.py")


@pytest.mark.parametrize("name", ["a-b", "a.b", "__init__", "a b"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{name: "from .near import f\n", "near": "def f():\n    return 1\n"})
    assert load(f"{tmp_path}/{name}.py:f")() == 1


# --- errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\ny = z\n", "one.py:3: cannot be loaded: NameError: name 'z' is not defined"),
        ("x = 1\ndef f(:\n", "one.py:2: cannot be loaded: SyntaxError: invalid syntax"),
        ("import json\njson.loads('{')\n", "one.py:2: cannot be loaded: JSONDecodeError: "),
        ("import sys\nsys.exit(3)\n", "one.py:2: cannot be loaded: SystemExit: 3"),
        ("x = '\xe4'\n".encode("latin-1"), "one.py"),
        ("x = 1\0\n", "one.py"),
        ("from ..far import x\n", "one.py:1: cannot be loaded: ImportError: attempted relative import beyond"),
        ("from .gone import x\n", "one.py:1: cannot be loaded: ModuleNotFoundError: No module named "),
        ("def f(): pass\n_g = len\n", "one.py: defines no 'Mine'; it has: f"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "one.py").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(PluginFileError) as caught:
        load(f"{tmp_path}/one.py:Mine")
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)
