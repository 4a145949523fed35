"""Manifests: splits, paths, images and options, and that nothing a person may feed is taken silently the wrong way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from clsim.data import manifest
from clsim.data.manifest import Manifest
from clsim.data.manifest_config import ManifestConfig
from clsim.errors import Unplannable
from tests.fixtures.manifests import COLUMNS, assert_equal, problems, source

pytestmark = pytest.mark.usefixtures("own_cache")

# --- splits and paths


def test_splits_have_names_of_their_own(columns: Any) -> None:
    text = COLUMNS.replace("split", "fold").replace("train", "1").replace("test", "2") + "d.jpg,3,1,1\n"
    options = {"split_column": "fold", "train_splits": ["1"], "test_splits": ["2"]}
    assert columns(text, **options, other_splits=["3"]).labels("train").tolist() == [[0, 1], [1, 0]]
    assert problems(columns(text, **options)) == [
        "m.csv:5: column 'fold': given '3', allowed: 1, 2; dataset.other_splits names those to leave out"
    ]


def test_several_names_make_one_split(columns: Any) -> None:
    text = COLUMNS + "d.jpg,val,1,1\n"
    assert len(columns(text, train_splits=["train", "val"]).labels("train")) == 3


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (("True", "False"), (True, False)),
        (("TRUE", "false"), ("true", "False")),
        (("1", "0"), (1, 0)),
        (("1.0", "0.0"), (1, "0")),
    ],
)
def test_integers_and_booleans_name_splits(columns: Any, cells: tuple[str, str], names: tuple[Any, Any]) -> None:
    text = COLUMNS.replace("train", cells[0]).replace("test", cells[1])
    data = columns(text, train_splits=[names[0]], test_splits=[names[1]])
    assert (len(data.labels("train")), len(data.labels("test"))) == (2, 1)


def test_values_of_json_name_splits(columns: Any) -> None:
    for train, test in ((True, False), (1, 0), (1.0, 0.0)):
        rows = [{"path": f"{n}.jpg", "split": test if n else train, "cat": 1} for n in range(2)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        names = {"train_splits": [str(train)], "test_splits": [str(test)]}
        assert len(columns(text, "m.jsonl", **names).labels("test")) == 1


@pytest.mark.parametrize("given", ["Train", "trian", ""])
def test_an_unknown_split_is_refused(columns: Any, given: str) -> None:
    (text,) = problems(columns(COLUMNS + f"d.jpg,{given},1,1\n"))
    assert text.startswith(f"m.csv:5: column 'split': given {given!r}, allowed: train, test")
    assert ("did you mean 'train'?" in text) == bool(given)


def test_a_split_without_images(columns: Any) -> None:
    assert problems(columns("path,split,cat\na.jpg,train,1\n")) == [
        "m.csv: no image of the test split; allowed in 'split': train, test"
    ]


def test_rows_that_are_left_out_are_not_looked_at(columns: Any) -> None:
    assert len(columns(COLUMNS + "a.jpg,bad,x,y\n", other_splits=["bad"]).labels("train")) == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "given '', allowed: the path of an image"),
        ("https://example.org/a.jpg", "allowed: a file that is here; clsim downloads nothing"),
    ],
)
def test_paths_that_are_none(columns: Any, path: str, text: str) -> None:
    (found,) = problems(columns(COLUMNS + f"{path},train,1,1\n"))
    assert found.startswith("m.csv:5: column 'path': given ")
    assert found.endswith(text)


def test_words_that_say_yes_no_or_nothing(columns: Any) -> None:
    rows = "a.jpg,train,yes,NaN\nb.jpg,train,No,?\nc.jpg,test,YES,yes\n"
    assert columns(f"path,split,cat,dog\n{rows}").labels("train").tolist() == [[1, -1], [0, -1]]


def test_paths_of_windows_and_names_without_suffix(columns: Any, tmp_path: Path) -> None:
    text = "path,split,cat\nx\\0001,train,1\n0002.JPG,test,1\n"
    data = columns(text, suffix=".jpg")
    assert (data.files("train"), data.files("test")) == ([tmp_path / "x" / "0001.jpg"], [tmp_path / "0002.JPG"])


def test_rows_that_repeat_another_one_are_joined_and_counted(columns: Any) -> None:
    data = columns(COLUMNS + "a.jpg,train,1,0\n./a.jpg,train,1,0\n")
    assert len(data.labels("train")) == 2
    assert data.notes() == ["rows that repeat another one exactly, and are joined: 2"]
    assert columns().notes() == []


def test_a_file_with_other_capitals_is_named(columns: Any, tmp_path: Path) -> None:
    data = columns(COLUMNS)
    (tmp_path / "a.JPG").touch()
    (tmp_path / "c.jpg").touch()
    text = str(data.missing_images("train", [tmp_path / "a.jpg"], 2))
    assert text.endswith(f"relative paths start at {tmp_path}, did you mean 'a.JPG'?")


def test_encodings(columns: Any, tmp_path: Path) -> None:
    columns()
    text = COLUMNS.replace("cat", "kätzchen")
    (tmp_path / "m.csv").write_text(text, encoding="latin-1")
    assert problems(source(file=str(tmp_path / "m.csv"), label_columns="rest"))[0].startswith("m.csv:1: byte ")
    options = {"file": str(tmp_path / "m.csv"), "label_columns": "rest"}
    assert source(**options, encoding="latin-1").class_names == ("dog", "kätzchen")
    assert problems(source(**options, encoding="latin-0"))[0].startswith("m.csv: encoding 'latin-0' is not known; ")


@pytest.mark.parametrize("path", ["\\u0000", "\\ud800"])
def test_paths_no_file_can_have(columns: Any, path: str) -> None:
    (found,) = problems(columns(f'{{"path": "{path}", "split": "train", "cat": 1}}\n', "m.jsonl"))
    assert found.endswith("which no file can be called")


@pytest.mark.parametrize("again", ["a.jpg,train", "./sub/../a.jpg,train", "a.jpg,test"])
def test_an_image_is_listed_once(columns: Any, again: str) -> None:
    path = again.partition(",")[0]
    assert problems(columns(COLUMNS + f"{again},1,1\n")) == [
        f"m.csv:5: column 'path': given {path!r} a second time, with other labels or split; first in m.csv:2"
    ]


def test_paths_may_have_commas_spaces_and_any_script(columns: Any, tmp_path: Path) -> None:
    data = columns(COLUMNS.replace("a.jpg", '"häuser, 日本 1.jpg"'))
    assert data.files("train")[0] == tmp_path / "häuser, 日本 1.jpg"


def test_no_positive_at_all(columns: Any) -> None:
    assert problems(columns(COLUMNS.replace("test,,1", "test,,0")), "label_columns") == [
        "no class is present in any of the 1 images of the test split"
    ]


# --- a table for each split


def two_tables(folder: Path, train: str, test: str, **options: Any) -> Manifest:
    (folder / "train.csv").write_text(train)
    (folder / "more").mkdir(exist_ok=True)
    (folder / "more" / "test.csv").write_text(test)
    files = {"train_file": str(folder / "train.csv"), "test_file": str(folder / "more" / "test.csv")}
    return source(**files, **{"label_columns": "rest", **options})


def test_two_tables_need_no_split_column_and_may_order_columns_differently(tmp_path: Path) -> None:
    data = two_tables(tmp_path, "path,dog,cat\na.jpg,1,0\n", "cat,path,split,dog\n1,b.jpg,val,0\n")
    assert data.class_names == ("cat", "dog")
    assert (data.labels("train").tolist(), data.labels("test").tolist()) == ([[0, 1]], [[1, 0]])
    assert (data.files("train"), data.files("test")) == ([tmp_path / "a.jpg"], [tmp_path / "more" / "b.jpg"])


def test_two_tables_with_other_classes_are_refused(tmp_path: Path) -> None:
    data = two_tables(tmp_path, "path,dog,cat\na.jpg,1,0\n", "path,cat,dogs\nb.jpg,1,0\n")
    assert problems(data, "test_file") == [
        "more/test.csv: other classes than in the training table: missing 'dog'; not there 'dogs', did you mean 'dog'?"
    ]


def test_an_image_in_both_tables_is_refused(tmp_path: Path) -> None:
    data = two_tables(tmp_path, "path,cat\na.jpg,1\n", "path,cat\n../a.jpg,1\n")
    (text,) = problems(data, "test_file")
    assert text.startswith("more/test.csv:2: column 'path': given '../a.jpg' a second time, ")
    assert text.endswith("first in train.csv:2")


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    data = two_tables(tmp_path, "path,cat\na.jpg,1\n", "path,cat\n")
    assert problems(data, "test_file") == ["more/test.csv: no image of the test split"]


def test_a_table_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text(COLUMNS)
    assert problems(source(file=str(tmp_path / "fotos.csv"), label_columns="rest")) == [
        "fotos.csv: no such file, did you mean 'photos.csv'?"
    ]


def test_a_column_of_paths_by_another_name(columns: Any) -> None:
    text = COLUMNS.replace("path", "filepath")
    assert columns(text, path_column="filepath").class_names == ("cat", "dog")
    (found,) = problems(columns(text))
    assert found.startswith("m.csv: no column 'path', did you mean 'filepath'?; columns: filepath, split")


# --- images and cache


def test_images_are_aligned_with_labels(columns: Any) -> None:
    data = columns()
    for shade, file in enumerate([*data.files("train"), *data.files("test")]):
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10), (60 * shade, 0, 0)).save(file, quality=95)
    red = data.images("train", 16)[:, 0].mean(axis=(1, 2))
    np.testing.assert_allclose(red, [0, 60], atol=2)
    fingerprint = data.fingerprint()
    Image.new("RGB", (30, 30), (9, 9, 9)).save(data.files("test")[0])
    assert columns().fingerprint() != fingerprint


def test_missing_images_name_the_table_that_lists_them(columns: Any) -> None:
    data = columns()
    with pytest.raises(Unplannable) as caught:
        data.check_size(32)
    folder = data.images_folder()
    assert caught.value.path == ("dataset", "file")
    assert caught.value.text == (
        f"{folder}/a.jpg: no such file (2 of 2 images of train are missing); {folder}/m.csv lists it, and relative "
        f"paths start at {folder}"
    )


def test_tables_are_parsed_once(columns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = columns()
    expected.labels("train")
    path = expected.files("train")[0].parent / "m.csv"
    with monkeypatch.context() as patched:
        patched.setattr(manifest, "parse_manifest", lambda config: pytest.fail("parsed again"))
        assert_equal(source(file=str(path), label_columns="rest", resize="crop"), expected)
    assert source(file=str(path), label_columns=["cat"]).class_names == ("cat",)
    path.write_text(COLUMNS + "d.jpg,train,1,1\n")
    assert len(source(file=str(path), label_columns="rest").labels("train")) == 3


# --- configuration


@pytest.mark.parametrize(
    ("options", "below", "text"),
    [
        ({"label_columns": "rest"}, (), "no table is named"),
        ({"train_file": "a.csv", "label_columns": "rest"}, (), "no table is named"),
        ({"file": "m.csv"}, (), "no labels are named"),
        ({"file": "m.csv", "test_file": "t.csv", "label_columns": "rest"}, ("test_file",), "not together with file"),
        ({"file": "m.csv", "label_list": "tags", "label_columns": ["a"]}, ("label_columns",), "not together with"),
        ({"file": "m.csv", "label_columns": "rest", "separator": ";"}, ("separator",), "not together with"),
        (
            {"train_file": "a.csv", "test_file": "b.csv", "label_columns": "rest", "other_splits": ["x"]},
            ("other_splits",),
            "not together with train_file",
        ),
        ({"file": "m.csv", "label_column": "x", "label_list": "y"}, ("label_column",), "not together with label_list"),
        ({"file": "m.csv", "label_column": "x", "separator": ";"}, ("separator",), "not together with label_column"),
        ({"file": "m.csv", "label_list": "x", "counts": "present"}, ("counts",), "not together with label_list"),
        ({"file": "m.csv", "label_column": "x", "threshold": 0.5}, ("threshold",), "go together"),
        ({"file": "m.csv", "label_list": "x", "confidence_column": "y"}, ("confidence_column",), "not together"),
        ({"file": "m.csv", "label_columns": ["a", "a"]}, ("label_columns",), "none twice"),
        ({"file": "m.csv", "label_columns": []}, ("label_columns",), "at least one class"),
        ({"file": "m.csv", "label_columns": "rest", "test_splits": ["train"]}, ("test_splits",), "named twice"),
        ({"file": "m.csv", "label_list": "path"}, (), "column 'path' has two meanings"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], below: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ManifestConfig(name="manifest", **options)
    (error,) = caught.value.errors()
    assert text in error["msg"]
    assert error["ctx"]["below"] == below


@pytest.mark.parametrize("options", [{"label_columns": "all"}, {"delimiter": ", "}, {"colum": "x"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        ManifestConfig(**{"name": "manifest", "file": "m.csv", "label_columns": "rest", **options})


def test_options_may_be_given_again_as_they_are_by_default() -> None:
    """A scenario section hands over every option, set or not."""
    config = ManifestConfig(name="manifest", file="m.csv", label_columns="rest")
    assert ManifestConfig(**config.model_dump()) == config


def test_every_option_is_described() -> None:
    assert [name for name, field in ManifestConfig.model_fields.items() if not field.description] == []


# --- a share for testing


def test_a_table_without_splits_gives_a_share_to_the_test(columns: Any) -> None:
    rows = [f"{row}.jpg,{int(row % 4 == 0)},{int(row % 4 > 0)}\n" for row in range(40)]
    text = "path,dog,cat\n" + "".join(rows)
    data = columns(text, test={"share": 0.2})
    assert (data.labels("train").sum(axis=0).tolist(), data.labels("test").sum(axis=0).tolist()) == ([24, 8], [6, 2])
    names = {split: data.image_names(split) for split in ("train", "test")}
    assert sorted(names["train"] + names["test"]) == sorted(f"{row}.jpg" for row in range(40))
    for split in ("train", "test"):
        assert [int(name.partition(".")[0]) % 4 == 0 for name in names[split]] == [
            bool(dog) for _, dog in data.labels(split)
        ]
    assert columns(text, test={"share": 0.2, "seed": 1}).image_names("test") != names["test"]


def test_so_does_one_whose_splits_lack_a_test(columns: Any) -> None:
    text = "path,part,dog\n" + "".join(f"{row}.jpg,{'ab'[row % 2]},1\n" for row in range(20))
    keys = {"split_column": "part", "train_splits": ["a"], "other_splits": ["b"]}
    data = columns(text, test={"share": 0.5}, **keys)
    assert (len(data.labels("train")), len(data.labels("test"))) == (5, 5)
    assert problems(columns(text, test={"share": 0.5}, **{**keys, "other_splits": []}))[1] == (
        "m.csv:3: column 'part': given 'b', allowed: a; dataset.other_splits names those to leave out"
    )
    (found,) = problems(columns(text.replace(",1\n", ",0\n"), test={"share": 0.01}, **keys), "label_columns")
    assert found.startswith("no class is present")


def test_soft_labels_go_with_their_images_into_the_share(columns: Any) -> None:
    text = "path,dog,cat\n" + "".join(f"{row}.jpg,1,0.{row + 10}\n" for row in range(40))
    data = columns(text, test={"share": 0.5}, soft_labels="unknown")
    expected = [float(f"0.{int(name.partition('.')[0]) + 10}") for name in data.image_names("train")]
    np.testing.assert_array_equal(data.soft_labels("train")[:, 0], np.array(expected, dtype=np.float32), strict=True)


def test_chexpert_as_it_is(tmp_path: Path) -> None:
    """Columns, values and paths of CheXpert-v1.0: the paths start above the folder of the tables."""
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture,Support Devices\n"
    home = tmp_path / "CheXpert-v1.0"
    home.mkdir()
    (home / "train.csv").write_text(
        f"{header}CheXpert-v1.0/train/1.jpg,Female,68,Frontal,AP,1.0,,,1.0\n"
        "CheXpert-v1.0/train/2.jpg,Male,87,Frontal,AP,,-1.0,1.0,\n"
        "CheXpert-v1.0/train/3.jpg,Male,30,Lateral,,,1.0,0.0,-1.0\n"
    )
    (home / "valid.csv").write_text(f"{header}CheXpert-v1.0/valid/4.jpg,Male,73,Frontal,AP,0.0,1.0,0.0,1.0\n")
    data = source(
        train_file=str(home / "train.csv"),
        test_file=str(home / "valid.csv"),
        image_folder=str(tmp_path),
        path_column="Path",
        label_columns="rest",
        other_columns=["Sex", "Age", "Frontal/Lateral", "AP/PA"],
        minus_one={"uncertain": "positive"},
        no_finding={"name": "No Finding", "beside": ["Support Devices"]},
    )
    assert data.class_names == ("Edema", "Fracture", "Support Devices")
    assert data.labels("train").tolist() == [[0, 0, 1], [1, 1, -1], [1, 0, 1]]
    assert data.labels("test").tolist() == [[1, 0, 1]]
    assert data.files("train")[0] == home / "train" / "1.jpg"
    assert data.images_folder() == tmp_path
