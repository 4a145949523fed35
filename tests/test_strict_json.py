"""Strict JSON: what is refused, and with which place; files read whole and while they grow."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from clsim.errors import RunError
from clsim.strict_json import Tail, finite_or_null, parse_object, read_lines, read_object


def test_what_is_undefined_becomes_null() -> None:
    content = {"a": [math.nan, (math.inf, 1)], "b": np.float64("nan"), "c": np.int64(3)}
    assert json.dumps(finite_or_null(content), allow_nan=False) == '{"a": [null, [null, 1]], "b": null, "c": 3}'


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "not readable as JSON"), ('{"a": NaN}', "NaN is not JSON"), ("[]", "found list"), ("\xff", "not")],
)
def test_what_is_no_strict_object_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(RunError, match=f"here, line 3: .*{why}"):
        parse_object(text.encode("latin-1"), "here, line 3")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape(f"{tmp_path / 'x.json'}: cannot be read: No such file")):
        read_object(tmp_path / "x.json")


def test_a_damaged_line_is_named_unless_it_is_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert read_lines(path) == []
    path.write_text('{"a": 1}\n{"b": \n{"a": 2}\n')
    with pytest.raises(RunError, match=re.escape(f"{path}, line 2: not readable")):
        read_lines(path)
    assert read_lines(path, holding='"a"') == [{"a": 1}, {"a": 2}]


def test_a_file_that_grows_is_read_line_by_line_and_anew_once_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = Tail(path)
    assert tail.read() == ([], False)
    path.write_text('{"a": 1}\nno\n{"a": ')
    assert tail.read() == ([{"a": 1}], False)
    path.write_text('{"a": 1}\nno\n{"a": 2}\n')
    assert tail.read() == ([{"a": 2}], False)
    path.write_text('{"a": 3}\n')
    assert tail.read() == ([{"a": 3}], True)
