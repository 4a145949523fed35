"""The label cache: hit, stale, damaged, not writable."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clsim.data.cache import cache_folder
from clsim.data.label_cache import cached_labels

LABELS = np.array([[1, 0, 2], [0, 0, 1]], dtype=np.int8)


class Parser:
    def __init__(self, labels: NDArray[np.int8] = LABELS) -> None:
        self.labels = labels
        self.calls = 0

    def __call__(self) -> NDArray[np.int8]:
        self.calls += 1
        return self.labels


def read(parse: Parser, identity: object = "a", state: str = "s", shape: tuple[int, int] = (2, 3)) -> NDArray[np.int8]:
    return cached_labels(identity, state, shape, parse)


def test_what_was_parsed_comes_back_without_parsing(own_cache: Path) -> None:
    parse = Parser()
    first = read(parse)
    second = read(parse)
    np.testing.assert_array_equal(second, LABELS)
    np.testing.assert_array_equal(first, LABELS)
    assert parse.calls == 1
    assert not first.flags.writeable
    assert not second.flags.writeable
    assert len(list((own_cache / "labels").iterdir())) == 1


def test_a_newer_state_replaces_the_older_one(own_cache: Path) -> None:
    read(Parser())
    np.testing.assert_array_equal(read(Parser(1 - LABELS), state="t"), 1 - LABELS)
    assert len(list((own_cache / "labels").iterdir())) == 1
    np.testing.assert_array_equal(read(Parser(), state="s"), LABELS)


def test_another_identity_is_another_file(own_cache: Path) -> None:
    read(Parser(), identity=("a", "x"))
    read(Parser(), identity=("a", "y"))
    assert len(list((own_cache / "labels").iterdir())) == 2


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "header", "shape"])
def test_a_damaged_file_is_rebuilt(own_cache: Path, damage: str) -> None:
    read(Parser())
    (path,) = (own_cache / "labels").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    elif damage == "truncated":
        del content[-1:]
    elif damage == "empty":
        content.clear()
    elif damage == "header":
        content[0:5] = b"other"
    path.write_bytes(content)
    parse = Parser(LABELS.T) if damage == "shape" else Parser()
    labels = read(parse, shape=(3, 2) if damage == "shape" else (2, 3))
    assert parse.calls == 1
    np.testing.assert_array_equal(labels, parse.labels)
    again = Parser()
    read(again, shape=labels.shape)
    assert again.calls == 0


def test_a_folder_that_cannot_be_written_costs_time_only(own_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_cache.write_text("a file where the folder should be")
    parse = Parser()
    with caplog.at_level(logging.WARNING, logger="clsim"):
        np.testing.assert_array_equal(read(parse), LABELS)
        np.testing.assert_array_equal(read(parse), LABELS)
    assert parse.calls == 2
    assert "labels are not cached" in caplog.text


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLSIM_CACHE")
    assert cache_folder() == tmp_path / ".cache" / "clsim"
