"""Checkpoint files: whole or not there, the one before kept, damage found."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from clsim.errors import RunError
from clsim.running.checkpoint_files import FORMAT, Checkpoint, keep_newest, newest_checkpoint, write_checkpoint
from clsim.running.run_folder import RunFolder

STATE = {"weights": torch.arange(1000.0), "position": {"task": 1}, "names": ["a"], "nothing": None}


def write(run: Path, number: int, files: dict[str, int] | None = None) -> Path:
    return write_checkpoint(run, STATE | {"number": number}, {"identity": {}, "position": {}, "files": files or {}})


def newest(run: Path) -> Checkpoint:
    found = newest_checkpoint(run)
    assert found is not None
    return found


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, 1)
    state = newest(tmp_path).state()
    assert torch.equal(state.pop("weights"), STATE["weights"])
    assert state == {key: value for key, value in STATE.items() if key != "weights"} | {"number": 1}


def test_there_is_none_in_a_folder_without(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path, number)
    names = sorted(path.name for path in (tmp_path / RunFolder.checkpoint).iterdir())
    assert names == ["000002.json", "000002.pt", "000003.json", "000003.pt"]
    keep_newest(tmp_path, 1)
    assert newest(tmp_path).state()["number"] == 3
    assert len(list((tmp_path / RunFolder.checkpoint).iterdir())) == 2


@pytest.mark.parametrize("name", ["000002.pt", "000002.json"])
@pytest.mark.parametrize("damage", ["a flipped bit", "a lost end", "a lost file"])
def test_a_damaged_one_is_passed_over_with_a_warning(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    path = tmp_path / RunFolder.checkpoint / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "a lost file":
        path.unlink()
    else:
        path.write_bytes(content if damage == "a flipped bit" else content[:-20])
    with caplog.at_level(logging.WARNING, "clsim"):
        assert newest(tmp_path).state()["number"] == 1
    gone = damage == "a lost file" and name.endswith(".json")  # a state without a header was never whole
    assert ("000002.pt is damaged and passed over" in caplog.text) == (not gone)


def test_one_whose_growing_files_have_lost_their_end_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b"12345")
    write(tmp_path, 1, {"metrics.jsonl": 5, "never written": 0})
    write(tmp_path, 2, {"metrics.jsonl": 6})
    assert newest(tmp_path).state()["number"] == 1


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 1).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(RunError, match=f"checkpoint format is 99, this version of clsim reads {FORMAT}"):
        newest_checkpoint(tmp_path)


def test_reading_a_state_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return print, ("sprung",)

    write_checkpoint(tmp_path, {"trap": Trap()}, {"identity": {}, "position": {}, "files": {}})
    with pytest.raises(RunError, match="not the state of a run: not only tensors and plain values"):
        newest(tmp_path).state()


def test_a_disk_that_fills_up_leaves_the_ones_before_whole(tmp_path: Path, full_for: Any) -> None:
    write(tmp_path, 1)
    for name in ("000002.pt", "000002.json"):
        with full_for(name), pytest.raises(OSError, match=rf"No space left on device: '.*{name}'"):
            write(tmp_path, 2)
        assert newest(tmp_path).state()["number"] == 1
    write(tmp_path, 2)
    assert newest(tmp_path).state()["number"] == 2


def test_tensors_of_a_gpu_are_read_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says cuda:3 of all tensors, as if they had been there."""
    with monkeypatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:3")
        write(tmp_path, 1)
    assert torch.equal(newest(tmp_path).state()["weights"], STATE["weights"])
