"""Names that packages share are written down once, in clsim.vocabulary."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from clsim import vocabulary

HOME = Path(vocabulary.__file__).parent
MODULES = [path for path in sorted(HOME.rglob("*.py")) if path.stem != "vocabulary"]
SHARED = {name: value for name, value in vars(vocabulary).items() if name.isupper()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(HOME).as_posix())
def test_no_other_module_defines_or_repeats_them(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {target.id for node in tree.body for target in _targets(node) if isinstance(target, ast.Name)}
    assert not defined & set(SHARED)
    tags = {value for value in SHARED.values() if isinstance(value, str)}
    lists = [value for value in SHARED.values() if isinstance(value, tuple)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            assert node.value not in tags, f"line {node.lineno}"
        elif isinstance(node, ast.Tuple | ast.List):
            words = tuple(entry.value for entry in node.elts if isinstance(entry, ast.Constant))
            assert words not in lists, f"line {node.lineno}"


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return [
            part for target in node.targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])
        ]
    return [node.target] if isinstance(node, ast.AnnAssign) else []
