"""Shipped scenarios that plan from small generated data, as texts to be spoiled."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import reduce
from operator import getitem
from typing import Any

import pytest
from ruamel.yaml import YAML

from clsim.scenario import shipped_scenarios


@pytest.fixture(scope="session")
def scenario_texts(shipped_in_small: Callable[[str], dict[str, Any]]) -> dict[str, str]:
    """Shipped files by name, with their comments; data sets and class counts are small, `expected` has two rows."""
    texts = {}
    for name, path in shipped_scenarios().items():
        reader = YAML(typ="rt", pure=True)
        content = reader.load(path.read_text(encoding="utf-8"))
        for dotted, value in shipped_in_small(name).items():
            section, *outer, key = dotted.split(".")
            if section in ("dataset", "stream", "evaluation"):
                reduce(getitem, outer, content[section])[key] = value
        del content["expected"][2:]
        written = io.StringIO()
        reader.dump(content, written)
        texts[name] = written.getvalue()
    return texts
