"""`clsim.kit`: one list of names, loaded when they are used, and an example that runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim import kit

ROOT = Path(__file__).parents[1]


def test_the_lists_of_names_agree() -> None:
    homes = {name: module for names in kit.SECTIONS.values() for name, module in names.items()}
    assert sorted(homes) == sorted(kit.__all__)
    tree = ast.parse(Path(str(kit.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == homes


@pytest.mark.parametrize("name", kit.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(kit, name) is not None


@pytest.mark.parametrize(("package", "name", "nearest"), [(kit, "Distilation", "Distillation"), (clsim, "runn", "run")])
def test_an_unknown_name_is_an_error_with_the_nearest_one(package: Any, name: str, nearest: str) -> None:
    problem = f"module '{package.__name__}' has no attribute '{name}', did you mean '{nearest}'?"
    with pytest.raises(AttributeError, match=re.escape(problem)):
        getattr(package, name)


def test_what_listing_and_planning_need_loads_no_torch() -> None:
    code = "from clsim import kit; kit.Strategy, kit.Options, kit.Context, kit.permutation, kit.StrategyError"
    code += "; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_the_example_of_the_page_runs(tmp_path: Path, tiny_overrides: dict[str, Any]) -> None:
    file = tmp_path / "mine.py"
    file.write_text((ROOT / "docs" / "kit.md").read_text().split("```python\n")[1].partition("```")[0])
    result = clsim.run("digits-b0c2", f"er+{file}:MyMethod", overrides=tiny_overrides, out=tmp_path)
    assert "loss/quiet" in (result.folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("module", "name"),
    [("losses", "masked_bce"), ("memory", "Memory"), ("memory", "Selection"), ("more", "ModelRebalancing")],
)
def test_paths_that_earlier_pages_named_still_work(module: str, name: str) -> None:
    assert getattr(import_module(f"clsim.training.{module}"), name)


def test_reports_know_of_more_without_torch() -> None:
    code = "import sys; import clsim.strategies.report_sections.more_figures; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
