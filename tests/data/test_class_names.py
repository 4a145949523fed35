"""Names of classes: accents in either form are one class, other spellings need a yes, line breaks are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim import load_scenario
from clsim.data.class_names import alike, unfit_names
from clsim.data.folder import Folder, FolderConfig
from clsim.errors import ScenarioError

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    "other", ["Cat", "cat ", "cat\u00a0", " cat", "cat\u200b", "\uff43at"], ids=lambda name: ascii(name)
)
def test_spellings_of_one_name(other: str) -> None:
    assert alike(["dog", "cat", other]) == [("cat", other)]


def test_other_names_are_others() -> None:
    assert alike(["cat", "cats", "c at", "caf\u00e9", "cafe"]) == []


def test_line_breaks_and_control_characters_are_unfit() -> None:
    assert unfit_names(["a", "a\nb", "a\u2028", "a\x1b[0m", "caf\u00e9 au lait", "\u732b"]) == [
        "a\nb",
        "a\u2028",
        "a\x1b[0m",
    ]


def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], **dataset: Any) -> tuple[str, ...]:
    """Class names of the plan of a manifest with a column for each class."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    quoted = [f'"{name}"' for name in names]
    rows = [
        f"{split}{n}.jpg,{split}," + ",".join(str(int(n == m)) for m in range(len(names)))
        for split in ("train", "test")
        for n in range(len(names))
    ]
    (tmp_path / "m.csv").write_text("\n".join([",".join(["path", "split", *quoted]), *rows]), encoding="utf-8")
    section = {"name": "manifest", "file": str(tmp_path / "m.csv"), "label_columns": "rest", **dataset}
    training = {"epochs": 1, "optimizer": {"lr": 0.1}}
    content = {"name": "own", "dataset": section, "stream": {"increment": 1}, "training": training}
    return load_scenario(content).plan().class_names


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["cat", "Cat"], "'Cat' and 'cat' (1 like them) differ in spelling alone"),
        (["cat dog", "cat\u00a0dog"], r"'cat dog' and 'cat\xa0dog' (1 like them) differ in spelling alone"),
        ([COMPOSED, DECOMPOSED], r"'cafe\u0301' and 'caf\xe9' (1 like them) differ in spelling alone"),
        (["cat", "a\nb"], r"class 'a\nb' (1 like it) holds a line break or another control character"),
    ],
)
def test_a_plan_refuses_them(tmp_path: Path, monkeypatch: Any, names: list[str], told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, monkeypatch, names)
    assert told.replace("'caf\\xe9'", f"'{COMPOSED}'") in str(caught.value)
    if names == ["cat", "Cat"]:
        assert planned(tmp_path, monkeypatch, names, classes=["Cat", "cat"]) == ("Cat", "cat")
    else:
        with pytest.raises(ScenarioError):
            planned(tmp_path, monkeypatch, names, classes=[COMPOSED, DECOMPOSED])


def test_either_form_of_an_accent_is_found(tmp_path: Path, monkeypatch: Any) -> None:
    assert planned(tmp_path, monkeypatch, [DECOMPOSED, "dog"]) == (COMPOSED, "dog")
    assert planned(tmp_path, monkeypatch, [COMPOSED, "dog"], classes=[DECOMPOSED, "dog"]) == (COMPOSED, "dog")


def test_folders_of_either_form_are_one_class(tmp_path: Path) -> None:
    for number, name in enumerate((f"train/{COMPOSED}", f"train/{DECOMPOSED}", "train/dog", f"test/{DECOMPOSED}")):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    source = Folder(FolderConfig(name="folder", root=str(tmp_path)))
    assert source.class_names == (COMPOSED, "dog")
    np.testing.assert_array_equal(source.labels("train").sum(axis=0), [2, 1])
    np.testing.assert_array_equal(source.labels("test"), [[1, 0]])
