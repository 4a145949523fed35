"""Formats of datumaro: its process is a Python with a stand-in for datumaro, in which a test writes the data set."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import ClsimError

STAND_IN = """
class Namespace:
    def __init__(self, **values):
        self.__dict__.update(values)

class AnnotationType:
    label = "label"

class ImportErrorPolicy:
    pass

class Dataset(list):
    @classmethod
    def import_from(cls, folder, format, error_policy):
        print("what a format prints")
        made = cls()
        BODY
        return made

    def categories(self):
        return {"label": Namespace(items=[Namespace(name=name) for name in ("background", "cat", "dog")])}

    def add(self, id, split, labels, path=None):
        annotations = [Namespace(label=label, attributes={}) for label in labels]
        self.append(Namespace(id=id, subset=split, annotations=annotations, media=path and Namespace(path=path)))

DEFAULT_ENVIRONMENT = Namespace(importers=["kitti", "vott_csv"])
"""
IMAGES = {f"{split}/{number}.jpg": None for split in ("train", "val") for number in range(2)}


@pytest.fixture
def datumaro(tmp_path: Path) -> Callable[[str], str]:
    """Return the Python of an environment with the stand-in; a text fills the data set `made`."""

    def made(body: str) -> str:
        home = tmp_path / "environment"
        (home / "datumaro" / "components").mkdir(parents=True, exist_ok=True)
        (home / "datumaro-1.13.12.dist-info").mkdir(exist_ok=True)
        (home / "datumaro-1.13.12.dist-info" / "METADATA").write_text("Name: datumaro\nVersion: 1.13.12\n")
        for name in ("annotation", "dataset", "environment", "importer"):
            (home / "datumaro" / "components" / f"{name}.py").write_text(STAND_IN.replace("BODY", body))
        program = home / "python"
        isolated = 'test "$1" = -I && shift && PYTHONDONTWRITEBYTECODE=1'
        program.write_text(f'#!/bin/sh\n{isolated} PYTHONPATH={home} exec {sys.executable} "$@"\n')
        program.chmod(0o755)
        return str(program)

    return made


def test_labels_splits_and_files_are_those_of_datumaro(importing: Any, datumaro: Any) -> None:
    body = "; ".join(
        [
            'made.add("a", "train", [1, 2, 1], f"{folder}/train/0.jpg")',
            'made.add("train/1", "train", [2])',
            'made.add("b", "val", [1], "/elsewhere/val/0.jpg"); made.add("val/1", "val", [2])',
            'made[1].annotations += [Namespace(label=1, attributes={"is_crowd": True}), Namespace(caption="x")]',
        ]
    )
    found = importing("kitti", IMAGES, via="datumaro", python=datumaro(body))
    assert found.shown("train") == {"train/0.jpg": "cat dog", "train/1.jpg": "dog"}
    assert found.shown("test") == {"val/0.jpg": "cat", "val/1.jpg": "dog"}
    for line in (
        "Imported as kitti: by datumaro",
        "- read by datumaro 1.13.12; a class is present where an annotation has its label",
        "- 1 annotations without a label are left out",
        "- 1 regions of a crowd are left out",
        "- classes that no image shows, left out (--set classes=all keeps them): 'background'",
    ):
        assert line in found.report


def test_what_goes_wrong_there_is_told_here(importing: Any, datumaro: Any) -> None:
    def error(format: str, body: str, python: str | None = None) -> str:
        with pytest.raises(ClsimError) as caught:
            importing(format, IMAGES, via="datumaro", python=python or datumaro(body))
        return str(caught.value)

    assert error("kiti", "pass") == "FORMAT: given 'kiti', allowed by datumaro: kitti, vott_csv, did you mean 'kitti'?"
    assert error("kitti", "raise ValueError('no labels')").endswith("export as kitti: ValueError: no labels")
    reported = "error_policy._handle_item_error(OSError('x')); error_policy._handle_annotation_error(OSError('y'))"
    home = error("kitti", f"{reported}; made.add('gone', 'default', [1])").splitlines()
    assert home[0] == "3 problems:"
    assert [line.partition("/export")[2] for line in home[1:3]] == [": x", ": y"]
    assert "image 'gone.jpg': no such file" in home[3]
    assert "; then --python datumaro/bin/python" in error("kitti", "pass", "/no/such/python")
    assert error("kitti", "pass", "/bin/true").startswith("/bin/true: gave no answer that can be read: ")
    assert "No module named 'datumaro'; python3 -m venv datumaro && " in error("kitti", "pass", sys.executable)
