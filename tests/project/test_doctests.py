"""The examples in the docstrings of clsim are right."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "clsim").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(name), extraglobs={"np": np})
    assert tried
    assert not failed


def test_the_most_used_names_have_an_example() -> None:
    import clsim
    from clsim import kit
    from clsim.evaluation import metrics

    used = [clsim.load_scenario, kit.masked_bce, kit.focal, kit.permutation, kit.GrowingHead, metrics.average_precision]
    assert [thing.__name__ for thing in used if ">>> " not in (thing.__doc__ or "")] == []
