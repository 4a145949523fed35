"""Files are whole or not there, whoever writes beside us or dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clsim.files import GrowingFile, part_folder, write_atomically, written_whole


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a") as file:
        file.write(b"half")
        assert not (tmp_path / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"half"


def test_a_failure_leaves_the_old_content_and_no_scraps(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "old")

    def fail() -> None:
        with written_whole(tmp_path / "a") as file:
            file.write(b"new")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_two_writers_at_once_each_write_a_whole_file(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a") as slow:
        slow.write(b"slow, ")
        with written_whole(tmp_path / "a") as fast:
            fast.write(b"fast")
        assert (tmp_path / "a").read_bytes() == b"fast"
        slow.write(b"but whole")
    assert (tmp_path / "a").read_bytes() == b"slow, but whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with part_folder(tmp_path / "new" / "a") as part:
        (part / "file").write_text("x")
        assert not (tmp_path / "new" / "a").exists()
        part.rename(tmp_path / "new" / "a")
    with part_folder(tmp_path / "new" / "b") as part:
        (part / "file").write_text("x")
    assert sorted(path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*")) == [
        "a",
        "a/file",
    ]


def test_what_killed_writers_have_left_is_removed_and_what_living_ones_hold_is_not(tmp_path: Path) -> None:
    (tmp_path / ".a.7.part").mkdir()  # as versions before named them
    (tmp_path / ".a.7.part" / "file").write_text("half")
    (tmp_path / ".a.8-1234.part").write_text("half")
    with written_whole(tmp_path / "a") as file, part_folder(tmp_path / "b") as part:
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0))
        file.write(b"whole")
        file.flush()
        write_atomically(tmp_path / "a", "other")
        with part_folder(tmp_path / "b"):
            assert part.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_a_text_with_a_file_name_that_is_not_utf8_is_written(tmp_path: Path) -> None:
    """As in `command.txt` and run.log, where a command was given such a folder."""
    write_atomically(tmp_path / "a", os.fsdecode(b"--out a\xff"))
    GrowingFile(tmp_path / "b").append(os.fsdecode(b"a\xff"))
    assert (tmp_path / "a").read_bytes() == b"--out a\xff"
    assert (tmp_path / "b").read_bytes() == b"a\xff"
