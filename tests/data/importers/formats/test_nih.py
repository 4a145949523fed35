"""ChestX-ray14: findings, "No Finding", the published lists, and patients that never come apart."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ClsimError

HEAD = '"Image Index","Finding Labels","Follow-up #","Patient ID","Patient Age"'
FINDINGS = ("Mass", "Edema|Mass", "No Finding", "Hernia", "Edema", "Mass|Hernia")


def table(patients: int, *findings: str) -> str:
    rows = [f"{n:04d}_00{k}.png,{findings[(n + k) % len(findings)]},0,{n},50" for n in range(patients) for k in (0, 1)]
    return "\n".join([HEAD, *rows]) + "\n"


def images(patients: int) -> dict[str, None]:
    return {f"images_00{n % 3}/images/{n:04d}_00{k}.png": None for n in range(patients) for k in (0, 1)}


def test_patients_are_divided_where_no_list_says_how(importing: Any) -> None:
    found = importing("nih", {"Data_Entry_2017.csv": table(30, *FINDINGS), **images(30)}, test_share=0.3)
    train, test = ({file.split("/")[-1][:4] for file in found.shown(split)} for split in ("train", "test"))
    assert not train & test
    assert 3 <= len(test) <= 15
    assert found.scenario.source.class_names == ("Edema", "Hernia", "Mass")
    shown = found.shown("train") | found.shown("test")
    assert shown["images_000/images/0000_000.png"] == "Mass"
    assert shown["images_000/images/0000_001.png"] == "Edema Mass"
    assert shown["images_001/images/0001_001.png"] == ""
    assert "'No Finding' is no class" in found.report


def test_the_published_lists_are_the_splits(importing: Any) -> None:
    names = [f"{n:04d}_00{k}.png" for n in range(6) for k in (0, 1)]
    files = {"Data_Entry_2017.csv": table(6, *FINDINGS), **images(6)}
    lists = {"train_val_list.txt": "\n".join(names[2:]), "test_list.txt": "\n".join(names[:2]) + "\n"}
    found = importing("nih", {**files, **lists})
    assert sorted(found.shown("test")) == ["images_000/images/0000_000.png", "images_000/images/0000_001.png"]
    with pytest.raises(ClsimError, match=r"1 patients have images in both lists$"):
        importing("nih", {"train_val_list.txt": "\n".join(names[1:]), "test_list.txt": names[0]})
    with pytest.raises(
        ClsimError, match=r":13: image '0005_001\.png' is in none of train_val_list\.txt, test_list\.txt$"
    ):
        importing("nih", {"train_val_list.txt": "\n".join(names[2:-1]), "test_list.txt": "\n".join(names[:2])})


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        (("Mass", "No Finding|Edema"), r"given 'No Finding\|Edema': a finding beside 'No Finding'"),
        (("Mass", ""), r"given '', allowed: names joined with \|$"),
    ],
)
def test_what_is_not_understood_is_an_error(importing: Any, findings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("nih", {"x.csv": table(4, *findings), **images(4)})
