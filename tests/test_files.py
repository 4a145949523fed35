"""Files are whole or not there, whoever writes beside us or dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from clsim.files import write_atomically, written_whole


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
