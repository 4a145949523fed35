"""The hash of code covers what a run can import, statement by statement, and nothing else."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clsim import kit, source_code
from clsim.part_kinds import KINDS
from clsim.running.prepared_run import prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario
from clsim.source_code import HOME, ONLY_SHOWING, OUTSIDE_RUNS, class_code, hash_code, package_code, run_files
from clsim.training.strategy_specs import registered, strategy_class

ENTRY = "clsim.running.execution"
STRATEGIES = Path(__file__).parents[1] / "strategies"
EXAMPLE = '''"""A module."""

from math import pi

SIDE = 2
"""An attribute."""


class Box:
    """A class."""

    def area(self, scale: float = 1.0) -> float:
        """A method."""
        assert scale > 0  # or else
        return pi * SIDE * SIDE * scale if scale else 0.0


class Empty:
    """Nothing."""
'''


def file_of(module: str) -> Path | None:
    base = HOME.parent.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imported(path: Path) -> Iterator[str]:
    """Every module of clsim that a file imports, also inside a function, but not for type checkers only."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        names = [alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}", *(f"{node.module}.{name}" for name in names)]
        yield from (name for name in names if name.split(".")[0] == "clsim")
        waiting += ast.iter_child_nodes(node)


def closure(modules: set[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = file_of(module)
        if path is not None and path not in found:
            found.add(path)
            waiting += [module.rpartition(".")[0]] if "." in module else []
            waiting += imported(path)
    return found


# --- which files


def test_it_covers_exactly_what_a_run_with_shipped_strategies_and_parts_can_import() -> None:
    of_strategies = {name for path in STRATEGIES.glob("*.py") for name in imported(path)}
    targets = {target for kind in KINDS.values() if kind.identified for target in kind.shipped.values()}
    shipped_parts = {
        module for module in (target.partition(":")[0] for target in targets) if module.startswith("clsim.")
    }
    by_kit = {module for names in kit.SECTIONS.values() for module in names.values()}
    showing = {file_of(f"clsim.{name}") for name in ONLY_SHOWING}
    assert set(run_files()) == closure({ENTRY} | of_strategies | by_kit | shipped_parts) - showing


def test_a_real_run_imports_nothing_else(tiny: Scenario, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    prepare(folder, tiny, RunSpec("rebll", "rebll", 0, "cpu"), 1)
    code = (
        f"import sys, {ENTRY} as entry\n"
        "code = entry.main(sys.argv[1:])\n"
        "own = [module for name, module in sys.modules.items() if name.split('.')[0] == 'clsim']\n"
        "print(*(module.__file__ for module in own), sep='\\n')\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    loaded = {Path(line).resolve() for line in done.stdout.splitlines()}
    assert (folder / "result.json").is_file()
    assert len(loaded) > 60
    showing = {file_of(f"clsim.{name}") for name in ONLY_SHOWING}
    assert {path for path in loaded if STRATEGIES not in path.parents} <= set(run_files()) | showing


def test_nothing_that_makes_numbers_imports_what_only_shows() -> None:
    users = {
        path.stem for path in run_files() for name in imported(path) if name.removeprefix("clsim.") in ONLY_SHOWING
    }
    assert users == {"execution", "observers", "desk", "hand_in"}  # which make them, and tell them what was measured


def test_every_name_that_is_left_out_is_there() -> None:
    for name in (*OUTSIDE_RUNS, *ONLY_SHOWING):
        assert file_of(f"clsim.{name}") is not None, name


# --- what counts in them


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the package."""
    return shutil.copytree(HOME, tmp_path / "clsim", ignore=shutil.ignore_patterns("__pycache__"))


def test_comments_docstrings_and_files_outside_runs_do_not_count(home: Path) -> None:
    before = package_code(home)
    assert before == source_code.code_version()
    for path in home.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace('"""', '"""Edited. ', 1)
        path.write_text(f"# a comment\n\n{text}\n\n# another\n", encoding="utf-8")
    for path in set(home.rglob("*.py")) - set(run_files(home)):
        path.write_text("more = 1\n")
    assert package_code(home) == before


def test_a_statement_counts_in_every_file_that_a_run_can_import(home: Path) -> None:
    for path in run_files(home):
        before = hash_code([("", path)])
        path.write_text(path.read_text(encoding="utf-8") + "\nmore = 1\n", encoding="utf-8")
        assert hash_code([("", path)]) != before, path
    assert package_code(home) != source_code.code_version()


def test_a_renamed_a_new_and_a_removed_file_count(home: Path) -> None:
    found = {package_code(home)}
    (home / "training" / "distillation.py").rename(home / "training" / "lost.py")
    found.add(package_code(home))
    (home / "training" / "lost.py").unlink()
    found.add(package_code(home))
    (home / "training" / "new.py").write_text("")
    found.add(package_code(home))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', ""),
        ('"""A class."""', '"""Another\n\n    text."""'),
        ('"""A method."""', "# none"),
        ('"""An attribute."""', '"""Other."""'),
        ('"""Nothing."""', "pass"),
        ('"""Nothing."""', "..."),
        ("  # or else", ""),
        ("pi * SIDE * SIDE * scale", "(pi * SIDE\n            * SIDE * scale)"),
        ("(self, scale: float = 1.0)", "(\n        self,\n        scale: float = 1.0,\n    )"),
    ],
)
def test_layout_and_texts_do_not_count(tmp_path: Path, old: str, new: str) -> None:
    assert code_of(tmp_path, EXAMPLE.replace(old, new)) == code_of(tmp_path, EXAMPLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIDE = 2", "SIDE = 3"),
        ("SIDE = 2", "SIDE = 2.0"),
        ("SIDE = 2", "SIDE = True"),
        ("SIDE = 2", "SIDE = '2'"),
        ("SIDE = 2", "SIDE = None"),
        ("scale: float = 1.0", "scale: float"),
        ("-> float", "-> int"),
        ("pi * SIDE * SIDE * scale", "pi * (SIDE * SIDE) * scale"),
        ("pi * SIDE * SIDE", "pi + SIDE * SIDE"),
        ("assert scale > 0", "assert scale >= 0"),
        ("        assert scale > 0", "        pass"),
        ("return pi", "pi"),
        ("class Empty", "class Full"),
        ("    def area", "    @property\n    def area"),
        ("from math import pi", "from math import e as pi"),
    ],
)
def test_every_change_of_a_statement_counts(tmp_path: Path, old: str, new: str) -> None:
    assert old in EXAMPLE
    assert code_of(tmp_path, EXAMPLE.replace(old, new)) != code_of(tmp_path, EXAMPLE)


def code_of(folder: Path, text: str) -> str:
    (folder / "example.py").write_text(text)
    return hash_code([("example", folder / "example.py")])


def test_the_hash_is_the_same_in_every_version_of_python(tmp_path: Path) -> None:
    assert code_of(tmp_path, EXAMPLE)[:16] == "81859c3e352b4572"


@pytest.mark.parametrize("text", ["def f(:\n", "x = 1\0", "x = (" * 300])
def test_what_is_not_python_counts_with_its_bytes(tmp_path: Path, text: str) -> None:
    assert code_of(tmp_path, text) != code_of(tmp_path, text + " ")


def test_long_chains_are_no_obstacle(tmp_path: Path) -> None:
    chain = "if x == 0:\n    y = 0\n" + "".join(f"elif x == {n}:\n    y = {n}\n" for n in range(150))
    assert code_of(tmp_path, chain) == code_of(tmp_path, chain + "# end\n") != code_of(tmp_path, chain + "y = 1\n")


# --- code of a class


FILE = """
from clsim.training.strategy import Strategy

from . import near
from .package import inner
from .package.deep import thing


class Mine(Strategy):
    def plugins(self, context):
        from .lazy import make

        return [make(near, inner, thing)]
"""


@pytest.fixture
def mine(tmp_path: Path) -> type:
    (tmp_path / "package").mkdir()
    for name in ("near", "unused", "behind", "package/__init__", "package/inner", "package/deep", "lazy"):
        (tmp_path / f"{name}.py").write_text("thing = make = 1\n")
    (tmp_path / "near.py").write_text("from .behind import thing\n")
    (tmp_path / "mine.py").write_text(FILE)
    return strategy_class(f"{tmp_path / 'mine.py'}:Mine")


@pytest.mark.parametrize(
    "name", ["mine", "near", "behind", "package/__init__", "package/inner", "package/deep", "lazy"]
)
def test_a_users_class_counts_with_what_its_file_imports_from_beside_it(mine: type, tmp_path: Path, name: str) -> None:
    before = class_code(mine)
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("\n# a comment\n")
    assert class_code(mine) == before
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("\nmore = 1\n")
    assert class_code(mine) != before


def test_other_files_beside_it_and_its_place_do_not_count(mine: type, tmp_path: Path) -> None:
    before = class_code(mine)
    (tmp_path / "unused.py").write_text("thing = 2\n")
    assert class_code(mine) == before
    moved = shutil.copytree(tmp_path, tmp_path / "moved")
    assert class_code(strategy_class(f"{moved / 'mine.py'}:Mine")) == before


@pytest.mark.parametrize("module", ["clsim.strategies.er", "clsim.report.intervals"])
def test_a_users_class_counts_with_what_it_imports_of_clsim_that_is_not_of_every_run(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    (tmp_path / "heir.py").write_text(f"import clsim\nimport {module}\n\n\nclass Heir(clsim.Strategy):\n    pass\n")
    kind = strategy_class(f"{tmp_path / 'heir.py'}:Heir")
    shutil.copytree(STRATEGIES, home / "strategies")
    monkeypatch.setattr(source_code, "HOME", home)
    monkeypatch.setattr(source_code.resources, "files", lambda package: home / "strategies")
    before = class_code(kind)
    file = home.parent.joinpath(*module.split(".")).with_suffix(".py")
    file.write_text(file.read_text() + "\nmore = 1\n")
    assert class_code(kind) != before


def test_shipped_strategies_count_with_their_own_file() -> None:
    codes = {name: class_code(strategy_class(name)) for name in registered()}
    assert len(set(codes.values())) == len(codes)
    assert codes["er"] == hash_code([("", STRATEGIES / "er.py")])
