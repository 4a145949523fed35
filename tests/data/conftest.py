"""A small folder in VOC layout, made of digit scenes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_voc
from clsim.data.source import Split
from clsim.data.voc import Voc, VocConfig

DIGITS = list("0123456789")
N_TRAIN, N_TEST = 24, 12


class PartlyAnnotated(Digits):
    """Digit scenes in which every seventh absent label is not annotated."""

    def labels(self, split: Split) -> NDArray[np.int8]:
        labels = super().labels(split).copy()
        absent = np.flatnonzero(labels.ravel() == 0)[::7]
        labels.ravel()[absent] = -1
        return labels


@pytest.fixture(scope="session")
def scenes() -> PartlyAnnotated:
    return PartlyAnnotated(DigitsConfig(name="digits", train=N_TRAIN, test=N_TEST))


@pytest.fixture(scope="session")
def written(scenes: PartlyAnnotated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOCdevkit folder with VOC2007 of the scenes, to be read only."""
    return write_voc(scenes, tmp_path_factory.mktemp("written") / "VOCdevkit", 32)


@pytest.fixture
def devkit(written: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "VOCdevkit"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for each test."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def voc() -> Callable[..., Voc]:
    """`voc(root, difficult="ignore")`: the source of a folder of digit scenes."""

    def source(root: Path | None, **options: Any) -> Voc:
        options = {"class_names": DIGITS, **options}
        return Voc(VocConfig(name="voc", root=None if root is None else str(root), **options))

    return source
