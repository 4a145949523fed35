"""Hashes of files: computed once per state of a file, and never taken from a cache that may be wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clsim.data import content
from clsim.data.cache import cache_folder, file_states
from clsim.data.content import content_hashes, content_sha256


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{n}.bin" for n in range(150)]
    for n, file in enumerate(made):
        file.write_bytes(bytes([n]) * n)
    return made


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    made: list[str] = []
    read = content.file_sha256

    def counted(path: str) -> bytes:
        made.append(Path(path).name)
        return read(path)

    monkeypatch.setattr(content, "file_sha256", counted)
    return made


def later() -> None:
    """Forget what this process knows, as if another one began."""
    content._known.clear()


def hashed(files: list[Path]) -> list[str]:
    return [row.tobytes().hex() for row in content_hashes(files)]


def expected(files: list[Path]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def edit(file: Path) -> None:
    """Other bytes under equal size, name and modification time."""
    stat = file.stat()
    file.write_bytes(b"\xff" * stat.st_size)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace(file: Path) -> None:
    """Another file takes the place, with equal size and modification time."""
    other = file.with_suffix(".new")
    shutil.copy2(file, other)
    edit(other)
    other.replace(file)


def test_hashes_are_those_of_the_bytes_in_the_order_of_the_files(files: list[Path]) -> None:
    assert hashed(files) == expected(files)
    assert hashed(files[::-1]) == expected(files)[::-1]
    assert content_sha256(files[3]) == expected(files)[3]
    assert content_hashes([]).shape == (0, 32)
    with pytest.raises(ValueError, match="read-only"):
        content_hashes(files)[0] = 0


def test_what_has_not_changed_is_read_once(files: list[Path], readings: list[str]) -> None:
    hashed(files)
    assert sorted(readings) == sorted(file.name for file in files)
    readings.clear()
    for forget in (lambda: None, later):
        forget()
        assert hashed(files) == expected(files)
    assert readings == []


@pytest.mark.parametrize("change", [edit, replace])
def test_only_a_changed_file_is_read_again(
    files: list[Path], readings: list[str], change: Callable[[Path], None]
) -> None:
    hashed(files)
    for forget, file in ((lambda: None, files[70]), (later, files[71])):
        readings.clear()
        change(file)
        forget()
        assert hashed(files) == expected(files)
        assert readings == [file.name]


def test_a_copy_elsewhere_has_equal_hashes(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    assert hashed([Path(shutil.copy(file, tmp_path / "copy")) for file in files]) == hashed(files)


def test_a_write_right_after_a_file_was_examined_leaves_another_state(tmp_path: Path) -> None:
    for n in range(20):
        file = tmp_path / str(n)
        file.write_bytes(b"before")
        before = file_states([file])
        edit(file)
        assert (file_states([file]) != before).any()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_cache_is_made_again(
    files: list[Path], readings: list[str], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    hashed(files)
    (entry,) = (cache_folder() / "hashes").iterdir()
    whole = entry.read_bytes()
    at = whole.index(bytes.fromhex(expected(files)[9]))
    entry.write_bytes(
        {"cut": whole[:-40], "flip": whole[:at] + b"\0" + whole[at + 1 :], "empty": b"", "text": b"x"}[damage]
    )
    later()
    readings.clear()
    assert hashed(files) == expected(files)
    assert len(readings) == len(files)
    assert f"{entry}: damaged, thrown away" in caplog.text
    assert entry.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_a_warning_and_one_reading_per_process(
    files: list[Path],
    readings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(files[5]))  # a file, so no folder can be made inside
    for _ in range(3):
        assert hashed(files) == expected(files)
    assert len(readings) == len(files)
    assert caplog.text.count("hashes of files are not cached") == 1


def test_a_read_only_cache_is_used(files: list[Path], readings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hashed(files)
    readings.clear()

    def refuse(*arguments: object) -> None:
        raise OSError(30, "Read-only file system", "entry")

    monkeypatch.setattr(content, "write_arrays", refuse)
    later()
    edit(files[8])
    assert hashed(files) == expected(files)
    assert readings == ["8.bin"]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_cannot_be_read_is_named(files: list[Path], kind: str) -> None:
    files[4].unlink()
    if kind == "folder":
        files[4].mkdir()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        content_hashes(files)
    assert caught.value.filename == str(files[4])


HASH = """
import sys
from pathlib import Path
from clsim.data import content
files = [Path(name) for name in sys.argv[1:]]
for _ in range(20):
    content._known.clear()
    files[0].touch()
    hashes = content.content_hashes(files)
print(hashes.tobytes().hex())
"""


def test_two_processes_write_at_once(files: list[Path]) -> None:
    command = [sys.executable, "-c", HASH, *map(str, files)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert outputs == {"".join(expected(files))}
    (entry,) = (cache_folder() / "hashes").iterdir()
    assert entry.suffix == ".npz"
    assert hashed(files) == expected(files)


def test_states_are_whole_numbers_of_any_inode(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems use all 64 bits."""
    real = os.stat(files[0])

    class Stat:
        st_ino, st_size, st_mode = 2**64 - 1, 7, real.st_mode
        st_mtime_ns, st_ctime_ns = -5, real.st_ctime_ns - 10**12

    monkeypatch.setattr("clsim.data.cache.os", SimpleNamespace(stat=lambda file: Stat))
    np.testing.assert_array_equal(file_states(["x"]), [[-1, 7, -5, Stat.st_ctime_ns]])


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(OSError, match="not a regular file") as caught:
        content_hashes([tmp_path / "a.jpg"])
    assert caught.value.filename == str(tmp_path / "a.jpg")
