"""YOLO: the layouts of Ultralytics, Roboflow and Darknet; a class number that has no name is an error."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ClsimError

CAT, DOG, POLYGON = "0 0.5 0.5 0.1 0.1\n", "1 0.5 0.5 0.1 0.1\n", "1 0 0 0.1 0.1 0.2 0.2 0.3 0.3\n"
LABELS = {("train", "0"): CAT + CAT, ("train", "1"): POLYGON + CAT, ("val", "0"): DOG, ("val", "1"): CAT}


def layout(image: str, label: str, **more: str) -> dict[str, str | None]:
    """Return the files of all images and labels, with places for split and name."""
    images = {image.format(split=split, name=name): None for split, name in LABELS}
    return {**images, **{label.format(split=split, name=name): text for (split, name), text in LABELS.items()}, **more}


ULTRALYTICS = layout("images/{split}/{name}.jpg", "labels/{split}/{name}.txt")
YAML = "path: /datasets/mine\ntrain: images/train\nval: images/val\ntest:\nnames: {0: cat, 1: dog, 7: bird}\n"


@pytest.mark.parametrize(
    ("files", "home"),
    [
        ({**ULTRALYTICS, "mine.yaml": YAML}, "images/{}/"),
        ({**ULTRALYTICS, "classes.txt": "cat\ndog\n"}, "images/{}/"),
        (
            {
                **layout("{split}/images/{name}.jpg", "{split}/labels/{name}.txt"),
                "data.yaml": "train: ../train/images\nval: ../val/images\ntest: ../no\nnc: 2\nnames: ['cat', 'dog']",
            },
            "{}/images/",
        ),
        (
            {
                **layout("obj_{split}_data/{name}.jpg", "obj_{split}_data/{name}.txt"),
                "obj.names": "cat\ndog\n",
                "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/val.txt\nbackup = backup/\n",
                **{f"{s}.txt": f"data/obj_{s}_data/0.jpg\ndata/obj_{s}_data/1.jpg\n" for s in ("train", "val")},
            },
            "obj_{}_data/",
        ),
    ],
    ids=["ultralytics", "without a yaml", "roboflow", "darknet"],
)
def test_layouts(importing: Any, files: dict[str, str | None], home: str) -> None:
    found = importing("yolo", files)
    assert found.shown("train") == {f"{home.format('train')}0.jpg": "cat", f"{home.format('train')}1.jpg": "cat dog"}
    assert found.shown("test") == {f"{home.format('val')}0.jpg": "dog", f"{home.format('val')}1.jpg": "cat"}


def test_an_image_without_a_file_shows_nothing_and_a_file_without_an_image_is_an_error(importing: Any) -> None:
    files = {**ULTRALYTICS, "mine.yaml": YAML, "images/val/empty.jpg": None}
    found = importing("yolo", files)
    assert found.shown("test")["images/val/empty.jpg"] == ""
    assert "1 images have no label file: taken as images without an object" in found.report
    with pytest.raises(ClsimError, match=r"labels/train/lost\.txt: no image belongs to this label file; --set images="):
        importing("yolo", {"labels/train/lost.txt": CAT})
    assert "1 label files belong to no image" in importing("yolo", {}, missing="left-out").report


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"labels/train/0.txt": "5 0 0 1 1\n"}, r"train/0\.txt:1: class 5, but there are 3 classes, 0 to 7$"),
        (
            {"labels/train/0.txt": "cat 0 0 1 1\n"},
            r"train/0\.txt:1: given 'cat 0 0 1 1', allowed: the number of a class",
        ),
        ({"mine.yaml": YAML.replace("images/val", "pictures")}, r"mine\.yaml: val: 'pictures' is not below "),
        ({"mine.yaml": "names: 3"}, r"mine\.yaml: names: allowed: a list of class names"),
        ({"mine.yaml": "names: [a, 'b"}, r"mine\.yaml: not valid YAML"),
    ],
)
def test_what_is_not_understood_is_an_error(importing: Any, more: dict[str, str], message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("yolo", {**ULTRALYTICS, "mine.yaml": YAML, **more})
