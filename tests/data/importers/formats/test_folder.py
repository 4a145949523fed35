"""One folder per class, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ClsimError


def test_folders_with_and_without_splits(importing: Any) -> None:
    files = {
        f"{split}/{name}/{name}{n}.jpg": None for split in ("train", "test") for name in ("cat", "dog") for n in (1, 2)
    }
    found = importing("folder", {**files, "train/cat/both.jpg": "same", "train/dog/both.jpg": "same"})
    assert found.shown("train")["train/cat/both.jpg"] == "cat dog"
    assert found.shown("test")["test/dog/dog1.jpg"] == "dog"
    assert len(found.shown("train")) == 5


def test_a_share_and_a_folder_that_shows_no_class(importing: Any) -> None:
    files = {f"{name}/{name}{number}.jpg": None for name in ("cat", "dog", "none") for number in range(5)}
    found = importing("folder", files, no_finding="none")
    shown = found.shown("train") | found.shown("test")
    assert shown["none/none0.jpg"] == ""
    assert shown["cat/cat3.jpg"] == "cat"
    with pytest.raises(ClsimError, match=r"no class folder 'nothing'$"):
        importing("folder", {}, no_finding="nothing")
