"""CheXpert: blank and uncertain labels by policy, and "No Finding" beside devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clsim.errors import ClsimError

HEAD = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pneumonia,Support Devices"
ROWS = [
    ("1", "Frontal", ",1.0,-1.0,"),
    ("2", "Frontal", ",,1.0,0.0"),
    ("3", "Lateral", "1.0,,,1.0"),
    ("4", "Frontal", ",-1.0,0.0,1.0"),
]
IMAGES = {f"{split}/p{number}/view.jpg": None for split in ("train", "valid") for number in "1234"}


def table(split: str, rows: list[tuple[str, str, str]] = ROWS) -> str:
    home = f"CheXpert-v1.0-small/{split}"
    return "\n".join([HEAD, *(f"{home}/p{number}/view.jpg,Male,60,{view},AP,{cells}" for number, view, cells in rows)])


FILES = {"train.csv": table("train"), "valid.csv": table("valid"), **IMAGES}


def test_blank_and_uncertain_are_unknown_by_default(importing: Any) -> None:
    found = importing("chexpert", FILES)
    assert found.labels("train") == {
        "train/p1/view.jpg": {"Edema": "1", "Pneumonia": "", "Support Devices": ""},
        "train/p2/view.jpg": {"Edema": "", "Pneumonia": "1", "Support Devices": "0"},
        "train/p3/view.jpg": {"Edema": "0", "Pneumonia": "0", "Support Devices": "1"},
        "train/p4/view.jpg": {"Edema": "", "Pneumonia": "0", "Support Devices": "1"},
    }
    assert "-1, uncertain: unknown in training" in found.report


def test_policies(importing: Any) -> None:
    found = importing("chexpert", FILES, uncertain="positive", blank="absent", view="frontal")
    assert found.shown("train")["train/p1/view.jpg"] == "Edema Pneumonia"
    assert found.labels("test")["valid/p1/view.jpg"] == {"Edema": "1", "Pneumonia": "", "Support Devices": "0"}
    assert "train/p3/view.jpg" not in found.labels("train")
    assert "2 images are left out, because their view is not frontal" in found.report
    soft = importing("chexpert", {}, uncertain=0.6).scenario.source.soft_labels("train")
    assert np.allclose(soft[0], [0, 0.6, 0])


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (
            {"train.csv": table("train", [("1", "Frontal", ",2,,")])},
            {},
            r"train\.csv:2: given 'Edema': '2', allowed: 1, 0",
        ),
        ({"valid.csv": f"{HEAD},Hernia\n"}, {}, r"valid\.csv:1: other classes than in train\.csv"),
        ({}, {"uncertain": 1.5}, r"^uncertain: given 1\.5, allowed: unknown, positive, negative, or between 0 and 1$"),
    ],
)
def test_what_is_not_understood_is_an_error(importing: Any, files: Any, options: Any, message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("chexpert", {**FILES, **files}, **options)
