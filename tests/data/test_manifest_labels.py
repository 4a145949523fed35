"""Labels of manifests: what cells mean in every format, and that none is taken silently the wrong way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.data.manifest import Manifest
from tests.fixtures.manifests import COLUMNS, assert_equal, problems, source

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


def test_a_million_cells_row_by_row(columns: Any) -> None:
    """Long tables are streamed; the place of a late problem is still right."""
    names = [f"class{column}" for column in range(50)]
    rows = [f"{row}.jpg,{'train' if row % 2 else 'test'},{','.join('01'[row % 2] * 50)}\n" for row in range(20_000)]
    text = f"path,split,{','.join(names)}\n" + "".join(rows).replace("0,0,0", "1,0,0")
    assert columns(text).labels("train").shape == (10_000, 50)
    assert problems(columns(text + "x.jpg,train," + ",".join("x" * 1 + "1" * 49) + "\n")) == [
        "m.csv:20002: column 'class0': given 'x', allowed: 1 present, 0 absent, empty unknown; "
        "if the column is no class, name it in dataset.other_columns"
    ]


@pytest.mark.parametrize("cell", ["-2", "y", "1.5", "cat", "[1]"])
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
        "3 problems:",
        "m.csv:5: column 'split': given 'trian'",
        "m.csv:6: column 'cat': given 'y'",
        "m.csv:6: column 'dog': given 'x'",
    ]
    many = problems(columns(COLUMNS + "".join(f"{row}.jpg,train,x,1\n" for row in range(100)) + "never,read\n"))
    assert len(many) == 11
    assert many[0] == "101 problems, the first 10:"


def test_a_table_without_classes(columns: Any) -> None:
    assert problems(columns("path,split\na.jpg,train\n")) == [
        "m.csv: no column is left to be a class; columns: path, split"
    ]


def test_a_class_that_is_no_column(columns: Any) -> None:
    (text,) = problems(columns(label_columns=["dgo", "cat"]))
    assert text == "m.csv:1: no column 'dgo', did you mean 'dog'?; columns: path, split, dog, cat"


def test_counts_of_objects_are_present_if_they_are_declared(columns: Any) -> None:
    text = COLUMNS.replace("train,1,0", "train,12,0").replace("train,0,1", "train,0,3.0")
    assert columns(text, counts="present").labels("train").tolist() == [[0, 1], [1, 0]]
    assert problems(columns(text))[2].partition("; ")[2] == (
        "counts of objects need dataset.counts: present; if the column is no class, name it in dataset.other_columns"
    )
    assert "given '2.5', allowed" in problems(columns(text.replace("12", "2.5"), counts="present"))[0]
    rows = [{"path": "a", "split": "train", "dog": 4, "cat": 0}, {"path": "b", "split": "test", "dog": 1, "cat": 2}]
    found = columns("".join(json.dumps(row) + "\n" for row in rows), "m.jsonl", counts="present")
    assert found.labels("test").tolist() == [[1, 1]]


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
        "5 problems:",
        *(
            f"m.csv:{line}: column {name!r}: given {cell!r}, allowed: 1 present, 0 absent, empty unknown; {hint}"
            for line, name, cell, hint in (
                (2, "cat", "0.7", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
                (3, "dog", ".25", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
                (4, "dog", "0.5", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
                (5, "cat", "1e-60", "if the column is no class, name it in dataset.other_columns"),
                (5, "dog", "0.4", "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"),
            )
        ),
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
