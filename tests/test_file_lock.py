"""The kernel's lock on a file, held by threads with files of their own as by processes."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from clsim.file_lock import open_locked


def test_a_second_holder_is_refused_until_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open_locked(path), pytest.raises(BlockingIOError):
        open_locked(path)
    open_locked(path).close()


def test_a_second_holder_may_wait_and_then_has_the_file_at_the_path(tmp_path: Path) -> None:
    """The first one renames its file, as a cache that is finished, so the second must not get that one."""
    path, waits, contents = tmp_path / "part", Event(), []

    def second() -> None:
        with open_locked(path, waits.set) as file:
            contents.append(file.read())

    with open_locked(path) as file:
        thread = Thread(target=second)
        thread.start()
        assert waits.wait(10)
        file.write(b"finished")
        file.flush()
        path.rename(tmp_path / "whole")
    thread.join(10)
    assert contents == [b""]
    assert path.is_file()


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_locked(tmp_path / "nowhere" / "lock")
