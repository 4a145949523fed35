"""Open Images: verified labels, those of machines, and lines that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ClsimError

HEAD = "ImageID,Source,LabelName,Confidence"
NAMES = '/m/1,Cat\n/m/2,"Dog, small"\n/m/3,Bird\n/m/4,Bird\n'
TABLES = {
    "train-annotations-human-imagelabels.csv": f"{HEAD}\na,verification,/m/1,1\na,verification,/m/2,0\n"
    "a,crowdsource,/m/1,1\nb,verification,/m/2,1\nb,verification,/m/3,1\n",
    "validation-annotations-human-imagelabels.csv": f"{HEAD}\nc,verification,/m/1,1\nd,verification,/m/2,1\n",
    "train-annotations-bbox.csv": f"{HEAD},XMin\na,x,/m/9,1,0\n",
    "class-descriptions.csv": NAMES,
}
IMAGES = {f"{split}/{name}.jpg": None for split, name in zip(("train", "train", "val", "val"), "abcd", strict=True)}
MACHINE = {"train-annotations-machine-imagelabels.csv": f"{HEAD}\na,machine,/m/3,0.9\nb,machine,/m/1,0.2\n"}


def test_verified_labels_and_display_names(importing: Any) -> None:
    found = importing("open-images", {**TABLES, **IMAGES})
    assert found.labels("train") == {
        "train/a.jpg": {"Bird (/m/3)": "", "Cat": "1", "Dog, small": "0"},
        "train/b.jpg": {"Bird (/m/3)": "1", "Cat": "", "Dog, small": "1"},
    }
    assert found.shown("test") == {"val/c.jpg": "Cat", "val/d.jpg": "Dog, small"}
    found = importing("open-images", {}, only=["Cat", "Dog, small"])
    assert found.scenario.source.class_names == ("Cat", "Dog, small")
    with pytest.raises(ClsimError, match=r"only: given 'Cta', which no .* names, did you mean 'Cat'\?$"):
        importing("open-images", {}, only=["Cta"])


def test_labels_of_machines_need_a_threshold(importing: Any) -> None:
    with pytest.raises(
        ClsimError, match=r"machine-imagelabels\.csv:2: .* given '0\.9', of a machine; --set threshold="
    ):
        importing("open-images", {**TABLES, **MACHINE, **IMAGES})
    found = importing("open-images", {}, threshold=0.5)
    assert found.labels("train")["train/a.jpg"]["Bird (/m/3)"] == "1"
    assert found.labels("train")["train/b.jpg"]["Cat"] == ""


def test_contradictions(importing: Any) -> None:
    more = {"train-extra.csv": f"{HEAD}\nb,verification,/m/2,0\nb,verification,/m/2,1\n"}
    with pytest.raises(
        ClsimError, match=r":2: 'Dog, small' is present and absent in 'b'; --set contradiction=unknown$"
    ):
        importing("open-images", {**TABLES, **more, **IMAGES})
    files = {
        "train-annotations-human-imagelabels.csv": f"{TABLES[next(iter(TABLES))]}c2,v,/m/2,1\n",
        "train/c2.jpg": None,
    }
    found = importing("open-images", files, contradiction="unknown")
    assert found.labels("train")["train/b.jpg"]["Dog, small"] == ""
    assert "1 labels are unknown, because lines contradict each other" in found.report
