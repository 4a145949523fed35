"""Open Images' tables of image-level labels: present, absent and unknown, lines that do not fit, many lines at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim.data import openimages_parser
from clsim.data.check import check_source
from clsim.data.openimages import OpenImages, OpenImagesConfig
from clsim.data.recognise import recognise
from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import load_scenario

HEAD = "ImageID,Source,LabelName,Confidence\n"
TRAIN = "train-annotations-human-imagelabels.csv"
TABLES = {
    TRAIN: f"{HEAD}b,verification,/m/2,1\na,verification,/m/1,1\na,crowdsource,/m/2,0\nb,verification,/m/4,1\n"
    "a,crowdsource,/m/1,1\nc,verification,/m/1,0\n",
    "oidv6-validation-annotations-human-imagelabels.csv": f"{HEAD}v,verification,/m/1,1\n",
    "test-annotations-human-imagelabels-boxable.csv": f"{HEAD}e,verification,/m/2,1\nd,verification,/m/1,1\n",
    "train-annotations-machine-imagelabels.csv": f"{HEAD}a,machine,/m/4,0.9\nm,machine,/m/1,0.8\nb,machine,/m/1,0.2\n",
    "oidv7-class-descriptions.csv": 'LabelName,DisplayName\n/m/1,Cat\n/m/2,"Dog, small"\n/m/3,Bird\n/m/9,Bird\n',
}


def write(root: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables that are downloaded, without images."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    for name, text in TABLES.items():
        write(tmp_path / "oi", name, text)
    return tmp_path / "oi"


def source(root: Path, **options: Any) -> OpenImages:
    return OpenImages(OpenImagesConfig(name="openimages", root=str(root), **options))


def labels(data: OpenImages, split: Any = "train") -> dict[str, list[int]]:
    return dict(zip(data.image_names(split), data.labels(split).tolist(), strict=True))


def problem(call: Callable[[], object], key: str = "root") -> str:
    with pytest.raises(Unplannable) as caught:
        call()
    assert caught.value.path == ("dataset", key)
    return caught.value.text


def test_present_absent_and_what_no_line_names(root: Path) -> None:
    data = source(root)
    assert data.class_names == ("/m/4", "Cat", "Dog, small")
    assert labels(data) == {"a": [-1, 1, 0], "b": [1, -1, 1], "c": [-1, 0, -1]}
    assert labels(data, "test") == {"d": [-1, 1, -1], "e": [-1, -1, 1]}
    assert labels(source(root, unlisted="absent")) == {"a": [0, 1, 0], "b": [1, 0, 1], "c": [0, 0, 0]}
    chosen = source(root, class_names=["/m/2", "Cat"])
    assert (chosen.class_names, labels(chosen)["b"]) == (("Cat", "Dog, small"), [-1, 1])
    assert problem(lambda: source(root, class_names=["Cta"]).class_names, "class_names").endswith("did you mean 'Cat'?")


def test_labels_of_machines_count_from_a_threshold(root: Path) -> None:
    write(root, "validation-annotations-machine-imagelabels.csv", f"{HEAD}v,machine,/m/1,0.5\n")
    data = source(root, labels="all", threshold=0.8, test="validation")
    assert labels(data) == {"a": [1, 1, 0], "b": [1, -1, 1], "c": [-1, 0, -1], "m": [-1, 1, -1]}
    (root / "oidv7-class-descriptions.csv").unlink()
    chosen = source(root, labels="machine", threshold=0.85, test={"share": 0.5}, class_names=["/m/4"])
    assert "0 of 1 images" in problem(lambda: chosen.labels("train"), "test")
    assert labels(source(root, labels="all", threshold=0.95, test="validation")) == labels(source(root))


def test_splits_are_joined_shared_and_kept_apart(root: Path) -> None:
    data = source(root, train=["validation", "train"])
    assert data.image_names("train") == ["v", "a", "b", "c"]
    assert data.files("train")[:2] == [root / "validation" / "v.jpg", root / "train" / "a.jpg"]
    shared = source(root, test=["test", "train"])
    assert shared.training_rows() is not None
    assert shared.training_rows().tolist() == [-1, -1, 0, 1, 2]  # type: ignore[union-attr]
    write(root, "test-annotations-human-imagelabels-boxable.csv", f"{HEAD}a,verification,/m/1,1\n")
    assert problem(lambda: source(root).class_names) == "test shares 1 images with train, the first is 'a'"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,v,/m/1,0.5\n", r"imagelabels\.csv:2: 'Confidence': given '0\.5', of a machine; dataset\.threshold takes"),
        ("a,v,/m/1,1\nb,v,/m/1,x\n", r":3: 'Confidence': given 'x', allowed: 0 to 1"),
        ("a,v,/m/1,nan\n", ":2: 'Confidence': given 'nan', allowed: 0 to 1"),
        ("a,v,/m/1\n", ":2: 3 cells under 4 columns"),
        ("a,v,/m/1,1\nb,v,/m/1,1,5\n", ":3: 5 cells under 4 columns"),
        ("a,v,/m/1,1,5\n", ":2: 5 cells under 4 columns"),
        ("../a,v,/m/1,1\n", ":2: 'ImageID': given '../a', allowed: the name of an image"),
        ("a,v,,1\n", ":2: 'LabelName': given ''"),
        ('a,"v,/m/1,1\n', ":2: not valid CSV: .*; is there a quote that is not closed"),
        (f"{'a' * 200_000},v,/m/1,1\n", ":2: not valid CSV: field larger than field limit"),
        ("a\0,v,/m/1,1\n", ":2: .*"),
        ("a,v,/m/1,1\nb,v,/m/1,\udcff\n", ":3: byte 10 of the line .* is not UTF-8"),
        ("a,v,/m/1,1\na,v,/m/1,0\n", "1 labels are present and absent, the first is '/m/1' in 'a'; dataset.contradic"),
        ("", "no line about a class that is read"),
    ],
)
def test_lines_that_do_not_fit(root: Path, rows: str, expected: str) -> None:
    (root / TRAIN).write_bytes((HEAD + rows).encode(errors="surrogateescape"))
    with pytest.raises(Unplannable, match=expected):
        source(root).labels("train")


def test_contradictions_can_be_unknown(root: Path) -> None:
    write(root, TRAIN, f"{HEAD}a,v,/m/1,1\na,v,/m/1,0\na,v,/m/2,1\n")
    data = source(root, contradiction="unknown", unlisted="absent", test="validation")
    assert labels(data) == {"a": [-1, 1]}


def test_other_forms_are_read_as_plain_ones_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = labels(source(root))
    monkeypatch.setattr(openimages_parser, "LINES_AT_ONCE", 20)
    write(root, TRAIN, "\ufeff" + TABLES[TRAIN].replace("\n", "\r\n").replace("/m/1", '"/m/1"'))
    assert labels(source(root)) == expected
    head, *rows = TABLES[TRAIN].splitlines(keepends=True)
    write(root, TRAIN, "".join([head, "# a comment\n", *(row.replace(",", " , ") for row in rows)]), "utf-16")
    assert labels(source(root)) == expected


def test_a_block_of_lines_ends_anywhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    lines = random.integers(0, (300, 9), (5000, 2))
    rows = "".join(f"i{image:03d},v,/m/{name},{(image + name) % 2}\n" for image, name in lines.tolist())
    write(root, TRAIN, HEAD + rows)
    data = source(root, test={"share": 0.2})
    monkeypatch.setattr(openimages_parser, "LINES_AT_ONCE", 700)
    monkeypatch.setenv("CLSIM_CACHE", str(root / "another"))
    again = source(root, test={"share": 0.2})
    for split in ("train", "test"):
        assert labels(data, split) == labels(again, split)
    image, name = (int(part) for part in lines[17])
    column = data.class_names.index({1: "Cat", 2: "Dog, small", 3: "Bird (/m/3)"}.get(name, f"/m/{name}"))
    assert {**labels(data), **labels(data, "test")}[f"i{image:03d}"][column] == (image + name) % 2


def test_a_matrix_that_is_too_large_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openimages_parser, "MOST_CELLS", 8)
    text = problem(lambda: source(root).labels("train"))
    assert text.startswith("3 images x 3 classes make a label matrix of 0 GB; dataset.class_names says")


def test_a_plan_masks_what_is_unknown(root: Path) -> None:
    stream = {"tasks": [["Cat"], ["Dog, small"]]}
    training = {"epochs": 1, "optimizer": {"lr": 1.0}}
    dataset = {"name": "openimages", "root": str(root), "classes": ["Cat", "Dog, small"]}
    plan = load_scenario({"name": "x", "dataset": dataset, "stream": stream, "training": training}).plan()
    assert [task.samples.tolist() for task in plan.tasks] == [[0], [1]]
    assert plan.test_truth.tolist() == [[1, -1], [-1, 1]]
    with pytest.raises(ScenarioError, match=r"dataset\.threshold: .*needed with labels: machine, such as 0\.8"):
        load_scenario(
            {"name": "x", "dataset": {**dataset, "labels": "machine"}, "stream": stream, "training": training}
        )


def test_images_lie_in_a_folder_for_each_split(root: Path) -> None:
    data = source(root)
    assert "train/a.jpg: no such file (3 of 3 images of train are missing); dataset.image_folder" in problem(
        lambda: data.check_size(16)
    )
    for split in ("train", "test"):
        for file in (root / "images" / path.relative_to(root) for path in data.files(split)):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 10), (7, 7, 7)).save(file)
    train, test = check_source(source(root))
    assert (train.files, train.missing, train.not_annotated.tolist()) == (3, (), [2, 1, 1])
    assert test.images == 2


def test_what_is_not_there_is_named(root: Path) -> None:
    (root / TRAIN).unlink()
    assert problem(lambda: source(root).class_names).startswith(f"{root}/*train-annotations-human-imagelabels*.csv: no")
    os.mkfifo(root / TRAIN)
    assert problem(lambda: source(root).class_names) == f"{root / TRAIN}: cannot be read: not a regular file"
    assert problem(lambda: source(root / "none").class_names) == f"{root / 'none'}: no such folder"
    with pytest.raises(Unplannable, match=r"root: not set: .*--set dataset\.root=FOLDER"):
        OpenImages(OpenImagesConfig(name="openimages")).labels("train")


def test_its_folder_is_recognised(root: Path) -> None:
    found = recognise(root)
    assert found.dataset == {"name": "openimages", "root": str(root), "train": "train", "test": "test"}
    assert found.notes[0] == "also there: validation"
    assert not any("import" in note for note in found.notes)
