"""COCO folders: which annotations make a label, which images are left out, several splits, images, options."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from clsim.data import coco_parser
from clsim.data.coco import Coco, CocoConfig
from clsim.data.coco_forms import annotation_file
from clsim.data.coco_parser import parse_annotations
from clsim.errors import ScenarioError
from clsim.scenario import Scenario, load_scenario
from tests.fixtures import coco_folders
from tests.fixtures.coco_folders import TEST, TRAIN, content, problems, source, write

root = coco_folders.root


# --- labels


def test_columns_follow_the_alphabet_and_rows_the_image_ids(root: Path) -> None:
    data = source(root)
    assert data.class_names == ("airplane", "dog", "person", "toothbrush")
    assert data.image_ids("train").tolist() == [4, 9, 11]
    expected = np.array([[0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], dtype=np.int8)
    np.testing.assert_array_equal(data.labels("train"), expected, strict=True)
    np.testing.assert_array_equal(
        data.labels("test"), np.array([[1, 0, 0, 1], [0, 0, 1, 0]], dtype=np.int8), strict=True
    )


def test_a_crowd_is_no_label_and_an_image_without_labels_is_left_out(root: Path) -> None:
    data = source(root)
    person = data.class_names.index("person")
    assert data.labels("train")[data.image_ids("train") == 11, person] == 0
    assert not np.isin([7, 2], data.image_ids("train")).any()


def test_paths_are_aligned_with_labels_and_need_no_images(root: Path) -> None:
    names = [path.name for path in source(root).files("train")]
    assert names == [f"COCO_train2014_{image:012d}.jpg" for image in (4, 9, 11)]
    assert source(root).files("test")[0] == root / "val2014" / "COCO_val2014_000000000001.jpg"


def test_labels_are_read_only(root: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        source(root).labels("train")[0, 0] = 1


def test_the_order_of_the_file_does_not_matter(root: Path) -> None:
    before = source(root).labels("train")
    shuffled = content(TRAIN, "train2014")
    for section in ("images", "categories", "annotations"):
        shuffled[section].reverse()
    write(root, "train2014", shuffled)
    np.testing.assert_array_equal(source(root).labels("train"), before, strict=True)


def test_other_splits_are_options(root: Path) -> None:
    write(root, "minival", content(TEST, "minival"))
    data = source(root, train="val2014", test="minival")
    np.testing.assert_array_equal(data.labels("train"), data.labels("test"), strict=True)
    assert data.files("test")[0].parent == root / "minival"


@pytest.mark.parametrize(("given", "crowd"), [("0", 0), (None, 0), (False, 0), (0.0, 0), ("1", 1), (True, 1)])
def test_a_crowd_is_one_however_it_is_written(root: Path, given: Any, crowd: int) -> None:
    changed = content(TRAIN, "train2014")
    for annotation in changed["annotations"]:
        if annotation["image_id"] == 4:
            annotation["iscrowd"] = given
    write(root, "train2014", changed)
    assert source(root).image_ids("train").tolist() == ([9, 11] if crowd else [4, 9, 11])


@pytest.mark.parametrize("given", ["no", 2, [0], ""])
def test_a_crowd_that_is_neither_is_an_error(root: Path, given: Any) -> None:
    changed = content(TRAIN, "train2014")
    changed["annotations"][1]["iscrowd"] = given
    file = write(root, "train2014", changed)
    assert problems(lambda: parse_annotations(file)) == [
        f"{file}: annotations[1].iscrowd: given {given!r}, allowed: 0, 1"
    ]


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "/data/x.jpg"])
def test_an_image_outside_the_folder_is_refused(root: Path, name: str) -> None:
    changed = content(TRAIN, "train2014")
    changed["images"][0]["file_name"] = name
    file = write(root, "train2014", changed)
    (problem,) = problems(lambda: source(root).labels("train"))
    assert problem.startswith(
        f"{file}: file_name {name!r} (1 like it) leaves {root / 'train2014'}; dataset.image_folder"
    )
    if name.startswith("/"):
        test = annotation_file(root, "val2014")
        config = CocoConfig(name="coco", train_file=str(file), test_file=str(test), image_folder="/")
        assert Path("/data/x.jpg") in Coco(config).files("train")


def test_annotations_without_iscrowd_are_labels(root: Path) -> None:
    value = content(TRAIN, "train2014")
    for annotation in value["annotations"]:
        del annotation["iscrowd"]
    write(root, "train2014", value)
    assert source(root).image_ids("train").tolist() == [4, 7, 9, 11]


def test_labels_come_from_the_cache_until_the_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = source(root)
    before.labels("train")
    monkeypatch.setattr(coco_parser, "parse_annotations", lambda file: pytest.fail("parsed again"))
    after = source(root)
    np.testing.assert_array_equal(after.labels("train"), before.labels("train"), strict=True)
    assert (after.class_names, after.files("train")) == (before.class_names, before.files("train"))
    monkeypatch.undo()
    monkeypatch.setenv("CLSIM_CACHE", str(root.parent / "cache"))
    write(root, "train2014", content({**TRAIN, 2: [(5, 0)]}, "train2014"))
    assert source(root).image_ids("train").tolist() == [2, 4, 9, 11]


def test_nothing_is_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source(root).labels("train")
    assert capsys.readouterr() == ("", "")


def test_labels_need_neither_torch_nor_when_cached_pycocotools(root: Path) -> None:
    script = (
        "import sys; from clsim.data.coco import Coco, CocoConfig;"
        f"Coco(CocoConfig(name='coco', root={str(root)!r})).labels('train');"
        "print('torch' in sys.modules, 'pycocotools' in sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in "ab"]
    assert [run.stdout for run in runs] == ["False True\n", "False False\n"]


# --- ids


def test_ids_choose_training_images_only(root: Path) -> None:
    (root / "ids.txt").write_bytes(b"\xef\xbb\xbf# COCO-MLT\r\n000000000011\r\n\r\n4  # twelve digits or fewer\r\n")
    data = source(root, ids=str(root / "ids.txt"))
    assert data.image_ids("train").tolist() == [4, 11]
    assert [path.name for path in data.files("train")] == [f"COCO_train2014_{i:012d}.jpg" for i in (4, 11)]
    np.testing.assert_array_equal(data.labels("train"), source(root).labels("train")[[0, 2]], strict=True)
    np.testing.assert_array_equal(data.labels("test"), source(root).labels("test"), strict=True)


def test_wrong_ids_are_named_by_line(root: Path) -> None:
    ids = root / "ids.txt"
    ids.write_text("4\n7\nCOCO_4.jpg\n4\n-9\n")
    assert problems(lambda: source(root, ids=str(ids)).labels("train"), "ids") == [
        "4 problems:",
        f"{ids}:2: 7 is not the id of a labelled image of train2014",
        f"{ids}:3: given 'COCO_4.jpg', allowed: the id of an image, a whole number",
        f"{ids}:4: 4 is there a second time, first in line 1",
        f"{ids}:5: given '-9', allowed: the id of an image, a whole number",
    ]


def test_a_file_without_ids_or_no_file_is_refused(root: Path) -> None:
    ids = root / "ids.txt"
    assert problems(lambda: source(root, ids=str(ids)).labels("train"), "ids") == [
        f"{ids}: no such file; give --set dataset.ids=FILE, with one image id a line"
    ]
    ids.write_text("# none\n")
    assert problems(lambda: source(root, ids=str(ids)).labels("train"), "ids") == [f"{ids}: no ids in it"]


# --- several splits


def test_several_splits_are_one_list_of_images(root: Path) -> None:
    write(root, "extra", content({8: [(5, 0)], 20: [(1, 0)]}, "extra"))
    data = source(root, train=["extra", "train2014"], test=["val2014"])
    assert data.image_ids("train").tolist() == [4, 8, 9, 11, 20]
    assert [file.parent.name for file in data.files("train")] == ["train2014", "extra", *["train2014"] * 2, "extra"]
    np.testing.assert_array_equal(data.labels("train")[[0, 2, 3]], source(root).labels("train"), strict=True)
    assert data.labels("train")[[1, 4]].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert data.files("test") == source(root).files("test")
    paint(data)
    assert data.images("train", 16).shape == (5, 3, 16, 16)
    data.files("train")[1].unlink()
    (text,) = problems(lambda: source(root, train=["extra", "train2014"]).check_size(32))
    assert text == f"{root}/extra/COCO_extra_{8:012d}.jpg: no such file (1 of 5 images of train are missing)"


def test_an_image_of_two_splits_and_other_classes_are_refused(root: Path) -> None:
    write(root, "extra", content({3: [(5, 0)], 4: [(1, 0)]}, "extra"))
    (text,) = problems(lambda: source(root, train=["train2014", "extra"]).labels("train"), "train")
    assert text == "extra shares 1 image ids with train2014, the first is 4"
    (text,) = problems(lambda: source(root, test=["val2014", "extra"]).labels("test"), "test")
    assert text == "extra shares 1 image ids with val2014, the first is 3"
    value = content({30: [(18, 0)]}, "extra")
    value["categories"][0]["name"] = "dogs"
    file = write(root, "extra", value)
    assert problems(lambda: source(root, train=["train2014", "extra"]).labels("train"), "train") == [
        f"{file}: other categories than instances_train2014.json: missing 'dog'; not there 'dogs', did you mean 'dog'?"
    ]


def test_lists_choose_among_splits_that_are_trained_and_tested_on(root: Path, tmp_path: Path) -> None:
    both = ["train2014", "val2014"]
    dataset = {"name": "coco", "root": str(root), "train": both, "test": both}
    training = {"epochs": 1, "optimizer": {"lr": 1.0}}

    def scenario(**keys: Any) -> Scenario:
        stream = {"increment": 2, "assignment": {"given": str(tmp_path / "tasks.csv")}}
        return load_scenario({"name": "x", "dataset": {**dataset, **keys}, "stream": stream, "training": training})

    with pytest.raises(
        ScenarioError, match=r"dataset\.test: .* test_ids, which says what of train2014 is for testing$"
    ):
        scenario()
    (tmp_path / "tasks.csv").write_text("image,task\n9,0\n3,1\n4,1\n")
    (tmp_path / "test.txt").write_text("11\n1\n")
    plan = scenario(test_ids=str(tmp_path / "test.txt")).plan()
    ids = Coco(CocoConfig(**dataset)).image_ids("test")
    assert ids[plan.test_samples].tolist() == [1, 11]
    assert [ids[task.samples].tolist() for task in plan.tasks] == [[9], [3, 4]]
    (tmp_path / "test.txt").write_text("11\n3\n")
    with pytest.raises(
        ScenarioError, match=r"dataset\.test_ids: 1 of these images are trained on in task 1, such as '3'"
    ):
        scenario(test_ids=str(tmp_path / "test.txt")).plan()


# --- images


def paint(data: Coco) -> None:
    """Grey images whose brightness tells their row."""
    for split in ("train", "test"):
        for row, file in enumerate(data.files(split)):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (12, 10), 20 * row + 7).save(file, quality=95)


def test_images_are_aligned_with_labels(root: Path) -> None:
    data = source(root)
    paint(data)
    images = data.images("train", 16)
    assert (images.shape, images.dtype) == ((3, 3, 16, 16), np.uint8)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), [7, 27, 47], atol=1)
    assert len(data.images("test", 16)) == len(data.labels("test"))


def test_missing_images_are_named_with_what_to_download(root: Path) -> None:
    data = source(root)
    assert problems(lambda: data.check_size(32)) == [
        f"{root}/train2014/COCO_train2014_000000000004.jpg: no such file (3 of 3 images of train are missing); "
        f"download http://images.cocodataset.org/zips/train2014.zip and unpack it into {root}; clsim downloads nothing"
    ]
    paint(data)
    data.check_size(32)
    data.files("test")[1].unlink()
    (text,) = problems(lambda: data.images("test", 16))
    assert text.startswith(f"{data.files('test')[1]}: no such file (1 of 2 images of test are missing); download")
    data.files("test")[1].with_suffix(".JPG").touch()
    (text,) = problems(lambda: data.images("test", 16))
    assert f"are missing), did you mean {data.files('test')[1].with_suffix('.JPG').name!r}?; download" in text


def test_the_fingerprint_is_of_the_images_wherever_they_are(root: Path) -> None:
    data = source(root)
    paint(data)
    fingerprint = data.fingerprint()
    copied = source(Path(shutil.copytree(root, root.parent / "copy")))
    assert copied.fingerprint() == fingerprint
    assert source(root, resize="crop").fingerprint() != fingerprint
    Image.new("L", (40, 40), 200).save(data.files("test")[0])
    assert source(root).fingerprint() != fingerprint


# --- configuration


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"train": "annotations/train2014"}, "train"),
        ({"train": ["val2014", "train2014", "val2014"]}, "a split is named twice"),
        ({"train": []}, "train"),
        ({"year": 2014}, "year"),
        ({"root": 3}, "root"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        CocoConfig(**{"name": "coco", "root": "coco", **options})


def test_every_option_is_described() -> None:
    assert [name for name, field in CocoConfig.model_fields.items() if not field.description] == []
