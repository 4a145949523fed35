"""Labels of manifests as names of classes: which forms of a list are read, and which are an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.manifests import LISTS, assert_equal, problems, source


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
        ("\"['cat' 'dog']\"", 'given "[\'cat\' \'dog\']", allowed: a JSON list such as ["cat", "dog"]'),
        ("[cat]", 'given \'[cat]\', allowed: a JSON list such as ["cat", "dog"]'),
        ('"[""cat"", {""choices"": [""dog""]}]"', 'given \'["cat", {"choices": ["dog"]}]\', allowed: a list of'),
        (
            '"{""cat"": 1}"',
            "given '{\"cat\": 1}', allowed: a list of class names, or one under a key of ",
        ),
        ('"{cat,NULL}"', "given '{cat,NULL}', in which one class is NULL"),
        ('"[""cat"", [1]]"', "given '[\"cat\", [1]]', allowed: a list of class names"),
        ("cat||dog", "given 'cat||dog', a list with an empty name"),
        ("|cat", "given '|cat', a list with an empty name"),
        (
            "cat;dog",
            "given 'cat;dog' as one class; if ';' stands between classes, set dataset.separator; if not, list the "
            "classes under dataset.vocabulary",
        ),
    ],
)
def test_lists_that_are_refused(lists: Any, cell: str, text: str) -> None:
    (found,) = problems(lists(LISTS.replace("cat|dog", cell)))
    assert found.startswith(f"m.csv:3: column 'tags': {text}")


@pytest.mark.parametrize(
    "cell",
    ["('cat')", "{cat: dog}", "{'cat' 'dog'}", "'cat','dog'", '"cat","dog"', "<cat>", "cat (b)", "(cat, dog)"],
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


def test_spellings_are_joined_by_a_word(lists: Any) -> None:
    text = LISTS.replace("train,dog", "train,Cat|dog").replace("test,cat", "test,CAT")
    assert lists(text, spellings="join").class_names == ("CAT", "Cat", "cat", "dog")  # the plan joins them
    assert problems(lists(text.replace("CAT", "bird"), spellings="join"), "label_list")[0].startswith("m.csv:3: ")


def test_classes_that_differ_in_capitals_are_a_slip(lists: Any) -> None:
    assert problems(lists(LISTS.replace("train,dog", "train,Cat|dog")), "label_list") == [
        "m.csv:4: column 'tags': given 'cat', elsewhere 'Cat'; dataset.spellings: join makes them one class; if they "
        "are two, list them under dataset.vocabulary"
    ]


def test_a_vocabulary_fixes_the_classes(lists: Any) -> None:
    data = lists(LISTS.replace("cat|dog", "Cat|dog"), vocabulary=["dog", "cat", "Cat", "traffic, light"])
    assert data.class_names == ("Cat", "cat", "dog", "traffic, light")
    assert data.labels("test").tolist() == [[1, 0, 1, 0]]
    assert problems(lists(LISTS.replace("cat|dog", "cat|dogg"), vocabulary=["cat", "dog"])) == [
        "m.csv:3: column 'tags': given 'dogg', which is not in dataset.vocabulary, did you mean 'dog'?"
    ]


# --- one row for each image and label

ROWS = "path,split,label,score\na.jpg,train,dog,0.9\nb.jpg,test,cat,1\na.jpg,train,cat,0.4\na.jpg,train,dog,.2\n"
ROWS += "c.jpg,train,cat,0.5\nb.jpg,test,dog,0.7\nd.jpg,train,,\n"


@pytest.fixture
def rows(columns: Any) -> Any:
    def made(text: str = ROWS, name: str = "m.csv", **options: Any) -> Any:
        return columns(text, name, **{"label_columns": None, "label_column": "label", **options})

    return made


def test_rows_of_an_image_add_up(rows: Any) -> None:
    data = rows()
    assert [file.name for file in data.files("train")] == ["a.jpg", "c.jpg", "d.jpg"]
    assert data.class_names == ("cat", "dog")
    assert data.labels("train").tolist() == [[1, 1], [1, 0], [0, 0]]
    assert data.labels("test").tolist() == [[1, 1]]


def test_a_confidence_below_the_threshold_is_absent(rows: Any) -> None:
    sure = {"confidence_column": "score", "threshold": 0.5}
    assert rows(**sure).labels("train").tolist() == [[0, 1], [1, 0], [0, 0]]
    low = ROWS.replace("cat,0.5", "cat,0.49").replace("cat,0.4\n", "cat,0.6\n")
    assert rows(low, **sure, empty_list="unknown").labels("train").tolist() == [[1, 1], [-1, -1], [-1, -1]]
    wrong = ROWS.replace("0.9", "90").replace(".2\n", "high\n")
    assert problems(rows(wrong, **sure)) == [
        "2 problems:",
        "m.csv:2: column 'score': given '90', allowed: 0 to 1",
        "m.csv:5: column 'score': given 'high', allowed: 0 to 1",
    ]


def test_rows_that_are_no_labels_of_one_image(rows: Any) -> None:
    assert problems(rows(ROWS.replace("train,cat,0.4", "test,cat,0.4"))) == [
        "m.csv:4: column 'path': given 'a.jpg' a second time, with other split; first in m.csv:2"
    ]
    (found,) = problems(rows(ROWS.replace("train,cat,0.4", "train,'[cat]',0.4")))
    assert found.startswith("m.csv:4: column 'label': given \"'[cat]'\", allowed: the name of one class; ")
    assert rows(ROWS.replace("dog", '"dog, or (wolf)"')).class_names == ("cat", "dog, or (wolf)")
    (found,) = problems(rows(ROWS.replace("dog,0.7", "dgo,0.7"), vocabulary=["cat", "dog"]))
    assert found.endswith("given 'dgo', which is not in dataset.vocabulary, did you mean 'dog'?")


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
