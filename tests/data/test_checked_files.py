"""Cache files with checksums: no changed byte is read as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.data.checked_files import map_checked, read_arrays, write_arrays, write_checked
from tests.fixtures.peak_memory import peak_bytes

ARRAY = np.arange(14, dtype=np.float32).reshape(7, 2)


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    with (tmp_path / "array.npy").open("wb") as file:
        write_checked(file, ARRAY, 3)
    return tmp_path / "array.npy"


@pytest.fixture
def named(tmp_path: Path) -> Path:
    write_arrays(tmp_path / "folder" / "arrays.npz", {"a b": ARRAY, "c": np.arange(3, dtype=np.int8)})
    return tmp_path / "folder" / "arrays.npz"


def test_arrays_are_not_in_memory_twice_to_be_written(tmp_path: Path) -> None:
    array = np.zeros(64 << 20, dtype=np.int8)
    peak = peak_bytes(lambda: write_arrays(tmp_path / "arrays.npz", {"a": array}))
    assert peak < len(array) * 3 / 4  # NumPy writes 16 MB at a time


def read(path: Path, **changed: Any) -> Any:
    wanted = {"shape": (7, None), "dtype": np.float32, "rows_per_checksum": 3} | changed
    return map_checked(path, **wanted)


def test_a_whole_array_comes_back_as_a_read_only_map(mapped: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = read(mapped)
    np.testing.assert_array_equal(array, ARRAY, strict=True)
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    np.testing.assert_array_equal(np.load(mapped), ARRAY)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "changed", [{"shape": (6, None)}, {"shape": (7, 3)}, {"shape": (7,)}, {"dtype": np.int32}, {"rows_per_checksum": 2}]
)
def test_an_array_that_is_not_the_wanted_one_counts_as_damaged(
    mapped: Path, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert read(mapped, **changed) is None
    assert f"{mapped}: damaged" in caplog.text


def test_a_file_that_is_not_there_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path / "none.npy") is None
    assert read_arrays(tmp_path / "none.npz") is None
    assert caplog.text == ""


def test_no_changed_byte_of_an_array_is_taken_for_whole(mapped: Path) -> None:
    whole = mapped.read_bytes()
    for at in range(len(whole)):
        mapped.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        array = read(mapped)
        assert array is None or np.array_equal(array, ARRAY), f"byte {at}"  # spaces in the header mean nothing
    for length in range(0, len(whole), 7):
        mapped.write_bytes(whole[:length])
        assert read(mapped) is None
    mapped.write_bytes(whole + b"\0")
    assert read(mapped) is None


def test_no_changed_byte_of_named_arrays_is_taken_for_whole(named: Path) -> None:
    whole, expected = named.read_bytes(), read_arrays(named)
    assert expected is not None
    assert list(expected) == ["a b", "c"]
    for at in range(len(whole)):
        named.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        assert read_arrays(named) is None, f"byte {at}"
    for length in range(0, len(whole), 7):
        named.write_bytes(whole[:length])
        assert read_arrays(named) is None
