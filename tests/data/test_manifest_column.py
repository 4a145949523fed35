"""A column of a manifest that is no label: values by image, whatever form the labels have; what is wrong has a line."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import Unplannable

pytestmark = pytest.mark.usefixtures("own_cache")

TABLE = (
    "path,split,tags,weather\na.jpg,train,dog, sun\nt.jpg,test,dog,fog\nb.jpg,train,cat,rain\nc.jpg,train,dog|cat,7\n"
)


def refused(data: Any, name: str) -> str:
    with pytest.raises(Unplannable) as caught:
        data.column("train", name)
    assert caught.value.path == ("stream", "domains")
    return caught.value.text


def test_values_follow_the_rows_of_a_split(lists: Any) -> None:
    data = lists(TABLE)
    for _ in range(2):  # the second time from the cache
        assert data.column("train", "weather") == ["sun", "rain", "7"]
        assert data.column("test", "weather") == ["fog"]


def test_a_share_for_testing_and_rows_by_label_keep_the_order_of_images(lists: Any) -> None:
    text = "path,label,weather\n" + "".join(f"{n}.jpg,{label},w{n}\n" for label in ("dog", "cat") for n in range(9))
    data = lists(text, label_list=None, label_column="label", test={"share": 0.3})
    for split in ("train", "test"):
        assert data.column(split, "weather") == [f"w{file.stem}" for file in data.files(split)]
    assert len(data.column("test", "weather")) == 3


def test_a_column_that_is_not_there_and_cells_without_a_value_are_told_with_their_line(lists: Any) -> None:
    assert "m.csv:1: no column 'wether', did you mean 'weather'?" in refused(lists(TABLE), "wether")
    text = refused(lists(TABLE + "d.jpg,train,cat,\n"), "weather")
    assert text.endswith("m.csv:6: column 'weather': nothing given, allowed: a text or a number")
    rows = "path,split,label,weather\na.jpg,train,dog,sun\na.jpg,train,cat,rain\nt.jpg,test,dog,fog\n"
    text = refused(lists(rows, label_list=None, label_column="label"), "weather")
    assert text.endswith("m.csv:3: column 'weather': given 'rain', in an earlier row of this image 'sun'")


def test_a_column_of_labels_is_no_domain(columns: Any) -> None:
    text = "path,split,dog,cat,weather\na.jpg,train,1,0,sun\nb.jpg,test,0,1,fog\nc.jpg,train,0,1,fog\n"
    assert "read as a class; list it under dataset.other_columns" in refused(columns(text), "weather")
    assert columns(text, other_columns=["weather"]).column("train", "weather") == ["sun", "fog"]
    assert refused(columns(text, label_columns=["dog", "cat"]), "dog") == "column 'dog' is read as a class"
