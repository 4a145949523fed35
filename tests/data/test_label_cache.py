"""The label cache parses once, and again whenever what it stored may not be what the files say now."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clsim.data.cache import cache_folder
from clsim.data.label_cache import Arrays, cached_labels, pack_texts, unpack_texts


class Parser:
    """Parses a file into its bytes and counts how often."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"labels": np.frombuffer(self.file.read_bytes(), dtype=np.int8).copy()}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "labels.csv"
    path.write_bytes(b"101")
    return path


def entries() -> list[Path]:
    return sorted((cache_folder() / "labels").iterdir())


def test_files_are_parsed_once_and_come_back_equal_and_read_only(file: Path) -> None:
    parse = Parser(file)
    first, second = (cached_labels(("csv", 1), [file], parse) for _ in range(2))
    assert parse.calls == 1
    for arrays in (first, second):
        np.testing.assert_array_equal(arrays["labels"], np.frombuffer(b"101", dtype=np.int8), strict=True)
        with pytest.raises(ValueError, match="read-only"):
            arrays["labels"][0] = 0


def test_other_options_are_another_entry(file: Path) -> None:
    parse = Parser(file)
    for identity in [("csv", "ignored"), ("csv", "positive")] * 2:
        cached_labels(identity, [file], parse)
    assert parse.calls == 2
    assert len(entries()) == 2


def test_other_files_are_never_answered_from_an_entry(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if they look the same: one relative path, two folders, equal size and time."""
    stat = file.stat()
    for folder, content in [("a", b"101"), ("b", b"000")]:
        path = file.parent / folder / file.name
        path.parent.mkdir()
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        monkeypatch.chdir(path.parent)
        assert cached_labels("csv", [Path(file.name)], Parser(path))["labels"].tobytes() == content


def grow(file: Path) -> None:
    stat = file.stat()
    file.write_bytes(b"1011")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def touch(file: Path) -> None:
    stat = file.stat()
    file.write_bytes(b"110")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def edit(file: Path) -> None:
    stat = file.stat()
    file.write_bytes(b"011")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [grow, touch, edit])
def test_a_changed_file_is_parsed_again_and_replaces_its_entry(file: Path, change: Callable[[Path], None]) -> None:
    parse = Parser(file)
    cached_labels("csv", [file], parse)
    change(file)
    for _ in range(2):
        assert cached_labels("csv", [file], parse)["labels"].tobytes() == file.read_bytes()
    assert parse.calls == 2
    assert len(entries()) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_entry_is_made_again(file: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    parse = Parser(file)
    cached_labels("csv", [file], parse)
    (entry,) = entries()
    whole = entry.read_bytes()
    at = whole.index(b"101")
    entry.write_bytes(
        {"cut": whole[:-40], "flip": whole[:at] + b"0" + whole[at + 1 :], "empty": b"", "text": b"x"}[damage]
    )
    assert cached_labels("csv", [file], parse)["labels"].tobytes() == b"101"
    assert parse.calls == 2
    assert entry.read_bytes() == whole
    assert f"{entry}: damaged, thrown away" in caplog.text


def test_an_entry_with_python_objects_is_never_loaded(file: Path) -> None:
    parse = Parser(file)
    cached_labels("csv", [file], parse)
    (entry,) = entries()
    with np.load(entry) as content:
        np.savez(entry, **{name: content[name] for name in content.files if name != "labels"}, labels=np.array([{}]))
    assert cached_labels("csv", [file], parse)["labels"].tobytes() == b"101"
    assert parse.calls == 2


def test_a_file_replaced_while_it_is_parsed_is_parsed_again(file: Path) -> None:
    parse = Parser(file)

    def parse_while_it_changes() -> Arrays:
        arrays = parse()
        grow(file)
        return arrays

    cached_labels("csv", [file], parse_while_it_changes)
    assert cached_labels("csv", [file], parse)["labels"].tobytes() == b"1011"
    assert parse.calls == 2


def test_a_failed_parse_leaves_nothing(file: Path) -> None:
    def fail() -> Arrays:
        raise ValueError("line 3")

    with pytest.raises(ValueError, match="line 3"):
        cached_labels("csv", [file], fail)
    assert not cache_folder().exists()


def test_a_cache_that_cannot_be_written_costs_a_warning_only(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(file))  # a file, so no folder can be made inside
    assert cached_labels("csv", [file], Parser(file))["labels"].tobytes() == b"101"
    assert "labels are not cached" in caplog.text


def test_a_missing_file_is_not_answered_from_the_cache(file: Path) -> None:
    parse = Parser(file)
    cached_labels("csv", [file], parse)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        cached_labels("csv", [file], parse)


@pytest.mark.parametrize("texts", [[], [""], ["a", ""], ["é/日本.jpg", "b c|d,e\n"]])
def test_texts_survive_packing(texts: list[str]) -> None:
    packed = pack_texts(texts)
    assert packed.dtype == np.uint8
    assert unpack_texts(packed) == texts
