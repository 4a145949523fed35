"""Manifests: what cells mean in every format, and that nothing a person may feed is taken silently the wrong way."""

from __future__ import annotations

import json
from collections.abc import Callable
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

COLUMNS = "path,split,dog,cat\na.jpg,train,1,0\nsub/b.jpg,test,,1\nc.jpg,train,0,1\n"
LISTS = "path,split,tags\na.jpg,train,dog\nb.jpg,test,cat|dog\nc.jpg,train,cat\nd.jpg,train,\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def columns(tmp_path: Path) -> Callable[..., Manifest]:
    """A manifest of the text of a table with a column for each class."""

    def made(text: str = COLUMNS, name: str = "m.csv", **options: Any) -> Manifest:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return source(file=str(tmp_path / name), **{"label_columns": "rest", **options})

    return made


@pytest.fixture
def lists(columns: Callable[..., Manifest]) -> Callable[..., Manifest]:
    """A manifest of the text of a table with a column of lists."""

    def made(text: str = LISTS, name: str = "m.csv", **options: Any) -> Manifest:
        return columns(text, name, **{"label_columns": None, "label_list": "tags", **options})

    return made


def source(**options: Any) -> Manifest:
    return Manifest(ManifestConfig(name="manifest", **options))


def problems(data: Manifest, key: str = "file") -> list[str]:
    """Lines of the error that blames `dataset.{key}`, without the folder."""
    with pytest.raises(Unplannable) as caught:
        data.labels("train")
    assert caught.value.path == ("dataset", key)
    return [line.replace(f"{data.images_folder()}/", "") for line in caught.value.text.split("\n")]


# --- a column for each class


def test_cells_are_present_absent_or_unknown(columns: Any) -> None:
    data = columns()
    assert data.class_names == ("cat", "dog")
    np.testing.assert_array_equal(data.labels("train"), np.array([[0, 1], [1, 0]], dtype=np.int8), strict=True)
    np.testing.assert_array_equal(data.labels("test"), np.array([[1, -1]], dtype=np.int8), strict=True)


def test_paths_start_at_the_folder_of_the_table(columns: Any, tmp_path: Path) -> None:
    data = columns(COLUMNS.replace("c.jpg", "/data/c.jpg").replace("a.jpg", "./x/../a.jpg"))
    assert data.files("train") == [tmp_path / "a.jpg", Path("/data/c.jpg")]
    assert data.files("test") == [tmp_path / "sub" / "b.jpg"]


def test_only_the_named_columns_are_classes(columns: Any) -> None:
    text = "path,width,split,dog,cat\na.jpg,640,train,1,0\nb.jpg,480,test,1,0\n"
    assert columns(text, label_columns=["dog"]).class_names == ("dog",)
    assert columns(text, label_columns=["dog"]).labels("train").tolist() == [[1]]
    assert columns(text, label_columns=["dog", "cat"]).class_names == ("cat", "dog")


@pytest.mark.parametrize("cell", ["1", " 1 ", "1.0", "true", "True", "TRUE", '"1"'])
def test_spellings_of_present(columns: Any, cell: str) -> None:
    assert columns(COLUMNS.replace("train,1,0", f"train,{cell},0")).labels("train").tolist() == [[0, 1], [1, 0]]


def test_json_lines_equal_csv(columns: Any) -> None:
    rows = [
        {"path": "a.jpg", "split": "train", "dog": True, "cat": 0},
        {"split": "test", "path": "sub/b.jpg", "cat": 1.0, "dog": None},
        {"path": "c.jpg", "split": "train", "cat": 1, "dog": "0"},
    ]
    expected = columns()
    found = columns("".join(json.dumps(row) + "\n" for row in rows), "m.jsonl")
    assert_equal(found, expected)


def test_parquet_equals_csv(columns: Any, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    values = {
        "path": ["a.jpg", "sub/b.jpg", "c.jpg"],
        "split": ["train", "test", "train"],
        "dog": pyarrow.array([1.0, float("nan"), 0.0]),
        "cat": [False, True, True],
    }
    parquet.write_table(pyarrow.table(values), tmp_path / "m.parquet")
    assert_equal(source(file=str(tmp_path / "m.parquet"), label_columns="rest"), columns())


def assert_equal(found: Manifest, expected: Manifest) -> None:
    assert found.class_names == expected.class_names
    for split in ("train", "test"):
        np.testing.assert_array_equal(found.labels(split), expected.labels(split), strict=True)
        assert found.files(split) == expected.files(split)


def test_a_million_cells_row_by_row(columns: Any) -> None:
    """Long tables are streamed; the place of a late problem is still right."""
    names = [f"class{column}" for column in range(50)]
    rows = [f"{row}.jpg,{'train' if row % 2 else 'test'},{','.join('01'[row % 2] * 50)}\n" for row in range(20_000)]
    text = f"path,split,{','.join(names)}\n" + "".join(rows).replace("0,0,0", "1,0,0")
    assert columns(text).labels("train").shape == (10_000, 50)
    assert problems(columns(text + "x.jpg,train," + ",".join("2" * 1 + "1" * 49) + "\n")) == [
        "m.csv:20002: column 'class0': given '2', allowed: 1 present, 0 absent, empty unknown; "
        "if the column is no class, name it in dataset.other_columns"
    ]


@pytest.mark.parametrize("cell", ["2", "y", "1.5", "cat", "[1]"])
def test_other_cells_are_refused(columns: Any, cell: str) -> None:
    (text,) = problems(columns(COLUMNS.replace("train,1,0", f"train,{cell},0"), label_columns=["cat", "dog"]))
    assert text == f"m.csv:2: column 'dog': given {cell!r}, allowed: 1 present, 0 absent, empty unknown"


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_minus_one_is_refused_because_files_differ_in_what_it_means(columns: Any, name: str) -> None:
    text = COLUMNS.replace("train,1,0", "train,-1,0")
    if name == "m.jsonl":
        text = '{"path": "a", "split": "train", "dog": -1, "cat": 1}\n'
    (found,) = problems(columns(text, name))
    assert "empty unknown; -1 is absent in some files and unknown in others: dataset.minus_one says" in found


@pytest.mark.parametrize("value", [[1], {"a": 1}, 2, 0.3, "dog"])
def test_json_values_that_are_no_label(columns: Any, value: object) -> None:
    text = json.dumps({"path": "a", "split": "train", "dog": value, "cat": 1})
    (found,) = problems(columns(text, "m.jsonl"))
    assert found.startswith(f"m.jsonl:1: column 'dog': given {value!r}, allowed: 1 present")


def test_all_problems_are_told_up_to_ten(columns: Any) -> None:
    text = COLUMNS + "d.jpg,trian,1,1\nd.jpg,train,x,y\n"
    assert [line.partition(", allowed")[0] for line in problems(columns(text))] == [
        "m.csv:5: column 'split': given 'trian'",
        "m.csv:6: column 'cat': given 'y'",
        "m.csv:6: column 'dog': given 'x'",
    ]
    many = problems(columns(COLUMNS + "".join(f"{row}.jpg,train,x,1\n" for row in range(100)) + "never,read\n"))
    assert len(many) == 11
    assert many[-1] == "and more"


def test_a_table_without_classes(columns: Any) -> None:
    assert problems(columns("path,split\na.jpg,train\n")) == [
        "m.csv: no column is left to be a class; columns: path, split"
    ]


def test_a_class_that_is_no_column(columns: Any) -> None:
    (text,) = problems(columns(label_columns=["dgo", "cat"]))
    assert text == "m.csv:1: no column 'dgo', did you mean 'dog'?; columns: path, split, dog, cat"


# --- one column of lists


def test_a_list_says_present_or_absent(lists: Any) -> None:
    data = lists()
    assert data.class_names == ("cat", "dog")
    np.testing.assert_array_equal(data.labels("train"), np.array([[0, 1], [1, 0], [0, 0]], dtype=np.int8), strict=True)
    np.testing.assert_array_equal(data.labels("test"), np.array([[1, 1]], dtype=np.int8), strict=True)


def test_an_empty_list_may_mean_that_nobody_looked(lists: Any) -> None:
    assert lists(empty_list="unknown").labels("train").tolist() == [[0, 1], [1, 0], [-1, -1]]


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("cat|dog", {}),
        (" dog | cat ", {}),
        ("cat|cat|dog", {}),
        ('"[""cat"", ""dog""]"', {}),
        ('"cat,dog"', {"separator": ","}),
        ("cat dog", {"separator": " "}),
        ("cat<>dog", {"separator": "<>"}),
    ],
)
def test_spellings_of_a_list(lists: Any, cell: str, options: dict[str, str]) -> None:
    text = LISTS.replace("cat|dog", cell)
    assert lists(text, **options).labels("test").tolist() == [[1, 1]]


def test_lists_in_json_lines(lists: Any) -> None:
    tags = {"a.jpg": ["dog"], "b.jpg": ["cat", "dog"], "c.jpg": "cat", "d.jpg": None}
    rows = [{"path": path, "split": "test" if path == "b.jpg" else "train", "tags": t} for path, t in tags.items()]
    assert_equal(lists("".join(json.dumps(row) + "\n" for row in rows), "m.jsonl"), lists())


def test_lists_in_parquet(lists: Any, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    values = {
        "path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        "split": ["train", "test", "train", "train"],
        "tags": [["dog"], ["cat", "dog"], ["cat"], []],
    }
    parquet.write_table(pyarrow.table(values), tmp_path / "m.parquet")
    assert_equal(source(file=str(tmp_path / "m.parquet"), label_list="tags"), lists())


def test_whole_numbers_are_names_of_classes(lists: Any) -> None:
    rows = [{"path": f"{split}.jpg", "split": split, "tags": [7, 10]} for split in ("train", "test")]
    assert lists("".join(json.dumps(row) + "\n" for row in rows), "m.jsonl").class_names == ("10", "7")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("\"['cat', 'dog']\"", 'given "[\'cat\', \'dog\']", allowed: a JSON list such as ["cat", "dog"]'),
        ('"[""cat"", [1]]"', "given '[\"cat\", [1]]', allowed: a list of class names"),
        ("cat||dog", "given 'cat||dog', a list with an empty name"),
        ("cat|", "given 'cat|', a list with an empty name"),
        (
            "cat;dog",
            "given 'cat;dog' as one class; if ';' stands between classes, set dataset.separator; if not, list the "
            "classes under dataset.vocabulary",
        ),
    ],
)
def test_lists_that_are_refused(lists: Any, cell: str, text: str) -> None:
    assert problems(lists(LISTS.replace("cat|dog", cell))) == [f"m.csv:3: column 'tags': {text}"]


@pytest.mark.parametrize(
    "cell",
    ['{"choices":["cat","dog"]}', "{cat,dog}", "('cat','dog')", "'cat','dog'", '"cat","dog"', "<cat>", "cat (b)"],
)
@pytest.mark.parametrize("separator", ["|", ","])
def test_brackets_and_quotes_in_a_class_name_need_a_vocabulary(lists: Any, cell: str, separator: str) -> None:
    table = LISTS.replace("cat|dog", '"' + cell.replace('"', '""') + '"')
    (text,) = problems(lists(table, separator=separator))
    assert text.startswith(f"m.csv:3: column 'tags': given {cell!r}, in which ")
    assert text.endswith("belongs to a name, list the classes under dataset.vocabulary")


def test_a_bracket_in_a_list_or_a_vocabulary_and_an_apostrophe_are_meant(lists: Any) -> None:
    listed = LISTS.replace("cat|dog", '"[""cat (a)""]"').replace("train,dog", 'train,"[""cat (a)""]"')
    assert lists(listed).class_names == ("cat", "cat (a)")
    plain = LISTS.replace("dog", "cat (a)")
    assert lists(plain, vocabulary=["cat", "cat (a)"]).labels("test").tolist() == [[1, 1]]
    assert lists(LISTS.replace("dog", "bird's nest")).class_names == ("bird's nest", "cat")


def test_a_class_of_test_images_only_is_a_slip(lists: Any) -> None:
    assert problems(lists(LISTS.replace("cat|dog", "cat|dogg")), "label_list") == [
        "m.csv:3: column 'tags': given 'dogg', which no training image shows, did you mean 'dog'?; "
        "dataset.vocabulary may list it"
    ]


def test_classes_that_differ_in_capitals_are_a_slip(lists: Any) -> None:
    assert problems(lists(LISTS.replace("train,dog", "train,Cat|dog")), "label_list") == [
        "m.csv:4: column 'tags': given 'cat', elsewhere 'Cat'; if these are two classes, list them under "
        "dataset.vocabulary"
    ]


def test_a_vocabulary_fixes_the_classes(lists: Any) -> None:
    data = lists(LISTS.replace("cat|dog", "Cat|dog"), vocabulary=["dog", "cat", "Cat", "traffic, light"])
    assert data.class_names == ("Cat", "cat", "dog", "traffic, light")
    assert data.labels("test").tolist() == [[1, 0, 1, 0]]
    assert problems(lists(LISTS.replace("cat|dog", "cat|dogg"), vocabulary=["cat", "dog"])) == [
        "m.csv:3: column 'tags': given 'dogg', which is not in dataset.vocabulary, did you mean 'dog'?"
    ]


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


def test_rows_that_repeat_another_one_are_joined_and_counted(columns: Any, caplog: pytest.LogCaptureFixture) -> None:
    data = columns(COLUMNS + "a.jpg,train,1,0\n./a.jpg,train,1,0\n")
    assert len(data.labels("train")) == 2
    assert "m.csv: 2 rows repeat another one exactly, and are joined" in caplog.text


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


# --- labels that are neither present nor absent

MEDICAL = "path,split,age,Edema,Mass,No Finding\na.jpg,train,60,1,-1,0\nb.jpg,train,50,,1,\nc.jpg,train,40,,,1\n"
MEDICAL += "d.jpg,test,30,-1,1,\n"


def medical(columns: Any, text: str = MEDICAL, **options: Any) -> Manifest:
    found: Manifest = columns(text, **{"other_columns": ["age", "No Finding"], **options})
    return found


def test_columns_to_leave_out_are_no_classes(columns: Any) -> None:
    assert medical(columns, minus_one="absent").class_names == ("Edema", "Mass")
    assert problems(medical(columns, other_columns=["agee"], minus_one="absent")) == [
        "m.csv: dataset.other_columns: no column 'agee', did you mean 'age'?"
    ]


@pytest.mark.parametrize(
    ("meaning", "train", "test"),
    [
        ("absent", [[1, 0], [-1, 1], [-1, -1]], [[0, 1]]),
        ("unknown", [[1, -1], [-1, 1], [-1, -1]], [[-1, 1]]),
        ({"uncertain": "positive"}, [[1, 1], [-1, 1], [-1, -1]], [[-1, 1]]),
        ({"uncertain": "negative"}, [[1, 0], [-1, 1], [-1, -1]], [[-1, 1]]),
        ({"uncertain": {"soft": 0.6}}, [[1, -1], [-1, 1], [-1, -1]], [[-1, 1]]),
    ],
    ids=str,
)
def test_minus_one_means_what_is_declared(columns: Any, meaning: Any, train: Any, test: Any) -> None:
    data = medical(columns, minus_one=meaning)
    assert (data.labels("train").tolist(), data.labels("test").tolist()) == (train, test)
    soft = data.soft_labels("train")
    assert (soft is not None) == (meaning == {"uncertain": {"soft": 0.6}})
    if soft is not None:
        np.testing.assert_array_equal(soft, np.array([[0, 0.6], [0, 0], [0, 0]], dtype=np.float32), strict=True)
    assert data.soft_labels("test") is None


def test_soft_labels_are_training_targets_and_test_truth_is_hard(columns: Any) -> None:
    text = "path,split,dog,cat\na.jpg,train,1,0.7\nb.jpg,train,.25,1\nc.jpg,test,0.5,1\nd.jpg,test,0.4,1e-60\n"
    assert problems(columns(text)) == [
        f"m.csv:{line}: column {name!r}: given {cell!r}, allowed: 1 present, 0 absent, empty unknown; {hint}"
        for line, name, cell, hint in (
            (2, "cat", "0.7", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
            (3, "dog", ".25", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
            (4, "dog", "0.5", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
            (5, "cat", "1e-60", "if the column is no class, name it in dataset.other_columns"),
            (5, "dog", "0.4", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
        )
    ]
    text = text.replace("1e-60", "1")
    unknown = columns(text, soft_labels="unknown")
    assert (unknown.labels("train").tolist(), unknown.labels("test").tolist()) == (
        [[-1, 1], [1, -1]],
        [[1, -1], [1, -1]],
    )
    halves = columns(text, soft_labels={"threshold": 0.5})
    assert (halves.labels("train").tolist(), halves.labels("test").tolist()) == ([[1, 1], [1, 0]], [[1, 1], [1, 0]])
    for data in (unknown, halves):
        expected = np.array([[0.7, 0], [0, 0.25]], dtype=np.float32)
        np.testing.assert_array_equal(data.soft_labels("train"), expected, strict=True)
        assert data.soft_labels("test") is None


def test_soft_labels_alone_say_how_they_count(columns: Any) -> None:
    text = "path,split,dog\na.jpg,train,0.7\nb.jpg,test,1\n"
    (found,) = problems(columns(text, soft_labels="unknown"), "label_columns")
    assert found.endswith("1 images of the train split; by dataset.soft_labels: {threshold: 0.5} soft labels count")


def test_no_finding_says_that_the_others_are_absent_and_is_no_class(columns: Any) -> None:
    data = medical(columns, other_columns=["age"], no_finding="No Finding", minus_one="unknown")
    assert data.class_names == ("Edema", "Mass")
    assert data.labels("train").tolist() == [[1, -1], [-1, 1], [0, 0]]


def test_no_finding_says_nothing_of_classes_beside_it(columns: Any) -> None:
    rule = {"name": "No Finding", "beside": ["Edema"]}
    text = MEDICAL.replace("40,,,1", "40,1,,1")
    data = medical(columns, text, other_columns=["age"], no_finding=rule, minus_one="unknown")
    assert data.labels("train").tolist() == [[1, -1], [-1, 1], [1, 0]]


@pytest.mark.parametrize("cell", ["1", "-1", "0.5"])
def test_no_finding_beside_a_finding_is_refused_with_its_line(columns: Any, cell: str) -> None:
    meaning = {"minus_one": {"uncertain": "negative"}, "soft_labels": "unknown"}
    text = MEDICAL.replace("40,,,1", f"40,{cell},,1")
    assert problems(
        medical(columns, text, other_columns=["age"], no_finding="No Finding", **meaning), "label_columns"
    ) == ["m.csv:4: given 'No Finding' and another class that is not absent"]


def test_no_finding_in_a_list(lists: Any) -> None:
    text = "path,split,tags\na.jpg,train,dog\nb.jpg,test,cat|dog\nc.jpg,train,cat\nd.jpg,test,none\n"
    data = lists(text, no_finding="none", empty_list="unknown")
    assert data.class_names == ("cat", "dog")
    assert data.labels("test").tolist() == [[1, 1], [0, 0]]
    assert lists(text, no_finding="none", vocabulary=["dog", "cat"]).class_names == ("cat", "dog")
    both = text.replace("test,none", "test,none|cat")
    assert problems(lists(both, no_finding="none"), "label_list") == [
        "m.csv:5: given 'none' and another class that is not absent"
    ]
    assert problems(lists(text.replace("none", "dog"), no_finding="non"), "no_finding")[0].startswith("no label 'non'")


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
    assert problems(columns(text, test={"share": 0.5}, **{**keys, "other_splits": []}))[0] == (
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
