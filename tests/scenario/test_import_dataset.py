"""An import writes a whole folder or nothing, never over another one, and counts all problems."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import ClsimError
from clsim.scenario import load_scenario
from clsim.scenario.import_dataset import import_dataset

LABELS = ("cat", "dog")


def export(home: Path, images: int = 8, labels: tuple[str, ...] = LABELS, files: int | None = None) -> Path:
    """Write an export of CVAT without splits; the images alternate between the labels."""
    home.mkdir()
    boxes = (f'<box label="{labels[number % len(labels)]}"/>' for number in range(images))
    lines = [f'<image name="{number}.jpg">{box}</image>' for number, box in enumerate(boxes)]
    (home / "a.xml").write_text(f"<annotations>{''.join(lines)}</annotations>", encoding="utf-8")
    for number in range(images if files is None else files):
        (home / f"{number}.jpg").write_text(str(number))
    return home


def test_the_folder_is_whole_plans_and_is_replaced_only_on_request(tmp_path: Path) -> None:
    source, target = export(tmp_path / "in"), tmp_path / "out"
    written = import_dataset("cvat", source, target)
    assert sorted(os.listdir(target)) == ["labels.csv", "report.txt", "scenario.yaml"]
    scenario = load_scenario(written.scenario)
    assert scenario.name == "out"
    assert (target / "report.txt").read_text() == written.report
    before = scenario.plan().sha256
    with pytest.raises(ClsimError, match=r"/out: there already; use --overwrite to replace, or name another folder$"):
        import_dataset("cvat", source, target)
    assert load_scenario(import_dataset("cvat", source, target, overwrite=True).scenario).plan().sha256 == before
    target.rename(tmp_path / "moved")
    assert load_scenario(tmp_path / "moved" / "scenario.yaml").plan().sha256 == before
    for path in (source, tmp_path):
        with pytest.raises(ClsimError, match=r": there already, and not what an import wrote; name another folder$"):
            import_dataset("cvat", source, path, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["in", "moved"]


def test_all_problems_are_counted_and_ten_shown(tmp_path: Path) -> None:
    with pytest.raises(ClsimError) as caught:
        import_dataset("cvat", export(tmp_path / "in", images=30, files=3), tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == "27 problems, the first 10:"
    assert len(lines) == 11
    assert "image '3.jpg': no such file in" in lines[1]
    assert os.listdir(tmp_path) == ["in"]
    left = import_dataset("cvat", tmp_path / "in", tmp_path / "out", {"missing": "left-out"})
    assert "27 labelled images whose file is not there, left out: '3.jpg', " in left.report
    kept = import_dataset("cvat", tmp_path / "in", tmp_path / "kept", {"missing": "keep"})
    assert "\n30 images" in kept.report


def test_a_scenario_that_does_not_plan_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClsimError, match=r": 1 class in 8 images; a stream needs two or more$"):
        import_dataset("cvat", export(tmp_path / "in", labels=("cat",)), tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("cat", "Cat"), r"'Cat' and 'cat' differ in spelling alone; --set spellings=join joins them"),
        (("a b", "a\u00a0b"), r"'a\\xa0b' and 'a b' differ in spelling alone"),
        (("cat", "c\u200bat"), r"'c\\u200bat' and 'cat' differ in spelling alone"),
        (("cat", "dog&#10;x"), r"'dog\\nx' is no name of a class|differ"),
    ],
)
def test_names_that_could_be_one_class_are_refused(tmp_path: Path, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        import_dataset("cvat", export(tmp_path / "in", labels=labels), tmp_path / "out")


def test_spellings_are_joined_by_a_word(tmp_path: Path) -> None:
    source = export(tmp_path / "in", images=24, labels=("cat", "Cat", "dog", "cat\u200b"))
    written = import_dataset("cvat", source, tmp_path / "out", {"spellings": "join"})
    data = load_scenario(written.scenario).source
    assert data.class_names == ("cat", "dog")
    assert sum(int(data.labels(split)[:, 0].sum()) for split in ("train", "test")) == 18
    assert r"- joined as one class 'cat': 'Cat', 'cat\u200b'" in written.report


def test_names_are_composed_and_columns_may_have_any_name(tmp_path: Path) -> None:
    source = export(tmp_path / "in", images=24, labels=("caf\u00e9", "cafe\u0301", "path", "a,b"))
    scenario = load_scenario(import_dataset("cvat", source, tmp_path / "out").scenario)
    assert scenario.source.class_names == ("a,b", "caf\u00e9", "path")
    scenario.plan()


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("cvta", {}, r"^FORMAT: given 'cvta', allowed: .*, did you mean 'cvat'\?$"),
        ("cvat", {"mising": "keep"}, r"^no option 'mising' of cvat, did you mean 'missing'\?; allowed: classes, "),
        ("cvat", {"missing": "x"}, r"^missing: given 'x': .*'error', 'left-out' or 'keep'"),
        ("cvat", {"images": "nowhere"}, r"^images: .*/nowhere: no such folder$"),
    ],
)
def test_wrong_input_is_one_line(tmp_path: Path, format: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        import_dataset(format, export(tmp_path / "in"), tmp_path / "out", options)


def test_image_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    source = export(tmp_path / "in")
    text = (source / "a.xml").read_text().replace('"0.jpg"', '"../secret.jpg"')
    (source / "a.xml").write_text(text)
    (tmp_path / "secret.jpg").write_text("x")
    for missing in ("error", "keep"):
        with pytest.raises(ClsimError, match=r"image '\.\./secret\.jpg'"):
            import_dataset("cvat", source, tmp_path / "out", {"missing": missing})
