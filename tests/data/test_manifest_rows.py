"""Rows of a manifest kept compactly: what is taken from earlier rows changes nothing, and a row takes little memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.manifests import LISTS, problems
from tests.fixtures.peak_memory import peak_bytes

pytestmark = pytest.mark.usefixtures("own_cache")

PATHS = ["a.jpg", "./b.jpg", "sub/c.jpg", "sub//d.jpg", "sub/../e.jpg", " sub/f.jpg", "/abs/g.jpg", "x y/h i.jpg"]
ODD = ["sub/j.jpg ", "sub/é.jpg", "sub/..", "sub/.k", "sub/.", "l.jpg/", "x\\m.jpg", "sub/x\\n.jpg"]


@pytest.mark.parametrize("names", [PATHS, ODD], ids=["plain", "odd"])
def test_a_folder_met_before_changes_no_path(lists: Any, tmp_path: Path, names: list[str]) -> None:
    again = [f"{name[: name.rfind('/') + 1]}again{name[name.rfind('/') + 1 :]}" for name in names]
    spelt = ["t.jpg,test,dog", *(f"{name},train,dog" for name in [*names, *again])]
    text = "path,split,tags\n" + "".join(f"{row}\n" for row in spelt)
    expected = [name.strip() for name in [*names, *again]]
    expected = [name if "/" in name else name.replace("\\", "/") for name in expected]
    files = [os.path.normpath(os.path.join(tmp_path, name)) for name in expected]
    assert list(map(str, lists(text).files("train"))) == files


def test_a_name_met_before_changes_no_list(lists: Any) -> None:
    cells = ["cat", "cat", "dog|cat", "cat|", " cat ", '"[""cat"", ""dog""]"', "", "cat|cat"]
    text = LISTS + "".join(f"{number}.jpg,train,{cell}\n" for number, cell in enumerate(cells))
    expected = [[1, 0], [1, 0], [1, 1], [1, 0], [1, 0], [1, 1], [0, 0], [1, 0]]
    assert lists(text).labels("train")[3:].tolist() == expected
    (found,) = problems(lists(text + "x.jpg,train,cat||dog\n"))
    assert found == f"m.csv:{len(cells) + 6}: column 'tags': given 'cat||dog', a list with an empty name"


def test_a_row_takes_little_memory(lists: Any) -> None:
    rows = 20_000
    names = [f"{row}.jpg,{'train' if row % 10 else 'test'},c{row % 7}|c{row % 5}|c{row % 3}" for row in range(rows)]
    data = lists("path,split,tags\n" + "\n".join(names) + "\n")
    assert peak_bytes(lambda: data.class_names) / rows < 400  # 7 of them labels, 150 the path, twice
