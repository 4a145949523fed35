"""Tables: every kind gives the same rows, and what is wrong with a file is told with its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from clsim.data.table_form import BadTable
from clsim.data.tables import open_table


def read(file: Path, *args: Any) -> tuple[Any, list[Any]]:
    """Columns, and (line, cells) of each row."""
    with open_table(file, *args) as table:
        return table.columns, [(row.where.removeprefix(str(file)), list(row.cells)) for row in table.rows]


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def problem(file: Path, *args: Any) -> str:
    with pytest.raises(BadTable) as caught:
        read(file, *args)
    text = str(caught.value)
    assert text.startswith(str(file))
    return text.removeprefix(str(file))


# --- CSV


def test_rows_carry_the_line_they_begin_in(tmp_path: Path) -> None:
    file = write(tmp_path, 'path,note\n\na.jpg,"one\ntwo"\n\n\nb.jpg,"x, ""y"""\n')
    assert read(file) == (("path", "note"), [(":3", ["a.jpg", "one\ntwo"]), (":7", ["b.jpg", 'x, "y"'])])


@pytest.mark.parametrize(
    "content",
    [
        b"path,cat\na.jpg,1\n",
        b"\xef\xbb\xbfpath,cat\na.jpg,1\n",
        b"path,cat\r\na.jpg,1\r\n",
        b"path,cat\ra.jpg,1",
        b"path, cat \na.jpg, 1\n",
        b'"path","cat"\n"a.jpg","1"\n',
    ],
    ids=["plain", "BOM", "CRLF", "CR", "spaces", "quotes"],
)
def test_spellings_of_one_table(tmp_path: Path, content: bytes) -> None:
    assert read(write(tmp_path, content)) == (("path", "cat"), [(":2", ["a.jpg", "1"])])


def test_only_the_wanted_columns_in_the_wanted_order(tmp_path: Path) -> None:
    file = write(tmp_path, ",path,note,cat\n0,a.jpg,x,1\n")
    assert read(file, ["cat", "path"]) == (("cat", "path"), [(":2", ["1", "a.jpg"])])


def test_delimiters(tmp_path: Path) -> None:
    expected = (("path", "tags"), [(":2", ["a.jpg", "x,y"])])
    assert read(write(tmp_path, "path;tags\na.jpg;x,y\n"), None, ";") == expected
    assert read(write(tmp_path, "path\ttags\na.jpg\tx,y\n", "t.TSV")) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", ": empty; the first line names the columns"),
        ("path,cat,cat\n", ":1: there are two columns 'cat'"),
        (",path\n", ":1: column 1 has no name (an index written by pandas? use index=False)"),
        ("path,cat\na.jpg,1\nb.jpg,1,0\n", ":3: 3 cells under 2 columns; cells with ',' in them need quotes"),
        ("path,cat\na.jpg\n", ":2: 1 cells under 2 columns; cells with ',' in them need quotes"),
        (
            'path,cat\na.jpg,1\n"b.jpg,1\nc.jpg,1\n',
            ":3: not valid CSV: unexpected end of data; is there a quote that is not closed?",
        ),
        (
            'path,cat\n"a"b.jpg,1\n',
            ":2: not valid CSV: ',' expected after '\"'; is there a quote that is not closed?",
        ),
    ],
)
def test_broken_csv(tmp_path: Path, content: str, text: str) -> None:
    assert problem(write(tmp_path, content)) == text


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path, "image,split,dog\n")
    assert problem(file, ["images"]) == ":1: no column 'images', did you mean 'image'?; columns: image, split, dog"
    file = write(tmp_path, "path;split;dog\n")
    assert problem(file, ["path"]).endswith("columns: path;split;dog; is the delimiter ';'?")


def test_other_encodings_are_named_with_the_line(tmp_path: Path) -> None:
    file = write(tmp_path, "path,cat\na.jpg,1\nhäuser.jpg,1\n".encode("latin-1"))
    assert (
        problem(file) == ":3: byte 2 of the line (b'\\xe4') is not UTF-8; another encoding must be named, such "
        "as cp1252 (Latin letters) or gbk"
    )
    with open_table(file, encoding="latin-1") as table:
        assert [row.cells[0] for row in table.rows] == ["a.jpg", "häuser.jpg"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    assert read(write(tmp_path, "path,cat\nä.jpg,1\n".encode(encoding))) == (("path", "cat"), [(":2", ["ä.jpg", "1"])])


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\npath;cat\na.jpg;1\n",
        "path,cat,,\na.jpg,1,,\n",
        "path,cat\na.jpg,1\npath,cat\n",
        "path,cat\n,\na.jpg,1\n,\n",
        "path,cat\na.jpg,1,,\n",
        "# made by\n#\npath,cat\n# a row, struck out, perhaps\na.jpg,1\n",
    ],
)
def test_what_spreadsheets_add_is_passed_over(tmp_path: Path, content: str) -> None:
    columns, rows = read(write(tmp_path, content))
    assert (columns, [cells for _, cells in rows]) == (("path", "cat"), [["a.jpg", "1"]])
    line = content.split("\n").index(next(one for one in content.split("\n") if one.startswith("a.jpg"))) + 1
    assert rows[0][0] == f":{line}"


def test_what_only_looks_so_is_an_error(tmp_path: Path) -> None:
    assert problem(write(tmp_path, "path,cat,\na.jpg,1,x\n")).startswith(":2: 3 cells under 2 columns")
    assert problem(write(tmp_path, "path,cat\na.jpg,1,,x\n")).startswith(":2: 4 cells under 2 columns")
    assert problem(write(tmp_path, "path,cat\na.jpg\n")).startswith(":2: 1 cells under 2 columns")
    assert problem(write(tmp_path, "sep=;\npath;cat\n"), None, ",").startswith(":1: the delimiter is ';' by this line")


def test_several_blanks_are_one_delimiter(tmp_path: Path) -> None:
    columns, rows = read(write(tmp_path, 'path  cat\n a.jpg   1  \n\n"b c.jpg" 0\n'), None, " ")
    assert (columns, [cells for _, cells in rows]) == (("path", "cat"), [["a.jpg", "1"], ["b c.jpg", "0"]])


@pytest.mark.parametrize("content", ["path,cat\na.jpg,1\n#b.jpg,1\n", "#path,cat\npath,cat\na.jpg,1\n"])
def test_a_comment_that_may_be_a_row_needs_a_word(tmp_path: Path, content: str) -> None:
    file = write(tmp_path, content)
    line = content.split("\n").index(next(one for one in content.split("\n") if one.startswith("#"))) + 1
    assert problem(file).startswith(f":{line}: begins with '#' and has 2 cells, as many as the header; dataset.comment")
    assert [cells for _, cells in read(file, None, None, None, "#")[1]] == [["a.jpg", "1"]]
    kept = read(file, None, None, None, False)
    assert "#" in kept[0][0] + kept[1][-1][1][0]


def test_a_line_inside_a_quoted_cell_is_no_comment(tmp_path: Path) -> None:
    assert read(write(tmp_path, 'path,cat\n"a\n# b.jpg",1\n'))[1] == [(":2", ["a\n# b.jpg", "1"])]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_proposed(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path, "path,cat\na.jpg,1\n".encode(encoding))
    assert problem(file) == f":1: zero bytes in the text; is its encoding {encoding}?"
    assert read(file, None, None, encoding)[1] == [(":2", ["a.jpg", "1"])]


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    assert read(write(tmp_path, "path,貓\nhäuser.jpg,1\n"))[0] == ("path", "貓")


# --- JSON Lines


def test_json_lines_keep_their_types_and_may_lack_keys(tmp_path: Path) -> None:
    content = '{"path": "a.jpg", "cat": 1, "tags": ["x"]}\r\n\r\n{"tags": [], "path": "b\\u00e9.jpg"}'
    assert read(write(tmp_path, content, "t.jsonl")) == (
        ("path", "cat", "tags"),
        [(":1", ["a.jpg", 1, ["x"]]), (":3", ["bé.jpg", None, []])],
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("\n", ": empty; each line is a JSON object"),
        ('{"path": "a"}\n{"path": \n', ":2: not valid JSON: Expecting value; each line is one object"),
        ("[1]\n", ':1: each line is a JSON object such as {"path": "a.jpg"}, not a list'),
        (
            '{"path": "a", "dog": 1}\n{"path": "b", "dgo": 1}\n',
            ":2: key 'dgo' is not in the first line, did you mean 'dog'?; allowed: path, dog",
        ),
    ],
)
def test_broken_json_lines(tmp_path: Path, content: str, text: str) -> None:
    assert problem(write(tmp_path, content, "t.jsonl")) == text


def test_keys_nobody_asks_for_may_come_and_go(tmp_path: Path) -> None:
    file = write(tmp_path, '{"path": "a"}\n{"path": "b", "exif": {"iso": 100}}\n', "t.ndjson")
    assert read(file, ["path"])[1] == [(":1", ["a"]), (":2", ["b"])]


# --- Parquet


def parquet(folder: Path, **columns: list[Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet as writer

    file = folder / "t.parquet"
    writer.write_table(pyarrow.table(columns), file)
    return file


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    file = parquet(tmp_path, path=["a", "b"], cat=[1, None], tags=[["x", "y"], []], __index_level_0__=[5, 6])
    expected = [(": row 1", ["a", 1, ["x", "y"]]), (": row 2", ["b", None, []])]
    assert read(file) == (("path", "cat", "tags"), expected)
    assert read(file, ["tags"])[1] == [(": row 1", [["x", "y"]]), (": row 2", [[]])]


def test_parquet_goes_on_counting_beyond_one_batch(tmp_path: Path) -> None:
    file = parquet(tmp_path, path=[str(number) for number in range(10_000)])
    assert read(file)[1][-1] == (": row 10000", ["9999"])


def test_parquet_without_the_wanted_column(tmp_path: Path) -> None:
    assert problem(parquet(tmp_path, path=["a"]), ["paht"]) == ": no column 'paht', did you mean 'path'?; columns: path"


def test_what_is_no_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    assert problem(write(tmp_path, "path,cat\n", "t.parquet")).startswith(": not valid Parquet: ")


def test_without_pyarrow_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    text = problem(write(tmp_path, "PAR1", "t.parquet"))
    assert text == ": Parquet needs pyarrow, which is not installed: pip install pyarrow"


# --- files


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    assert problem(tmp_path / name) == ": cannot be read: No such file or directory"


@pytest.mark.parametrize("name", ["t.json", "t.xlsx", "t"])
def test_other_kinds_of_file_are_refused(tmp_path: Path, name: str) -> None:
    text = problem(write(tmp_path, json.dumps([]), name))
    assert text.endswith("allowed: .csv, .tsv, .jsonl, .ndjson, .parquet")
