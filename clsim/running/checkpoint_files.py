"""Checkpoints of a run on the disk: whole or not there, and read without executing code.

`checkpoint/` in a run folder holds the last two. Each has two parts: `<n>.pt`, the state of what trains, and
`<n>.scores`, that of what scores, which another process may write at the same time. Both are as `torch.save` writes
them and `torch.load(weights_only=True)` reads them. `<n>.json`, the header, is written after both. Parts without a
header are not there, so a process that is killed at any moment leaves the checkpoint before, whole.

The header: `format`; `identity`, what must be equal when the run goes on; `position`, where it stands; `files`, lengths
in bytes that the growing files of the run folder had; `state_sha256`; `scores_sha256`, null where nothing scores; and
`sha256` of all these.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from clsim.errors import RunError
from clsim.files import write_json, written_whole
from clsim.opening import refuse_packed, regular
from clsim.running.run_folder import RunFolder
from clsim.strict_json import read_object

FORMAT = 5
"""Raised by a change of the header, or of what any part of the state means."""

KEPT = 2

log = logging.getLogger("clsim")


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint.

    Attributes:
        path: of the state of what trains.
        header: see the module.
    """

    path: Path
    header: dict[str, Any]

    def state(self, device: str = "cpu") -> dict[str, Any]:
        """Read the state of what trains.

        Args:
            device: where tensors come that were on a GPU, of whatever kind and number; those of the CPU stay there.

        Raises:
            RunError: it is no state, although its header says so.
        """

        return _read_part(self.path, device)

    def scores(self) -> dict[str, Any]:
        """Read the state of what scores.

        Raises:
            RunError: it is no state, although its header says so.
        """
        return _read_part(scores_of(self.path), "cpu")


def scores_of(path: Path) -> Path:
    """Return the path of the state of what scores, which belongs to the state of what trains at `path`."""
    return path.with_suffix(".scores")


def write_checkpoint(run: Path, state: dict[str, Any], facts: dict[str, Any]) -> Path:
    """Write the next checkpoint of a run folder where nothing scores; then remove all but the last two.

    Args:
        state: tensors and plain values, as `MultiLabelTemplate.state_dict` gives.
        facts: `identity`, `position` and `files` of the header; JSON-ready.

    Returns:
        The path of the state.

    Raises:
        OSError: it cannot be written; the ones before are whole.
    """
    path = next_checkpoint(run)
    finish_checkpoint(path, facts | {"state_sha256": write_part(path, state), "scores_sha256": None})
    return path


def next_checkpoint(run: Path) -> Path:
    """Return the path of the state of a run folder's next checkpoint, in a folder that is there.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = RunFolder(run).checkpoint
    folder.mkdir(exist_ok=True)
    return folder / f"{max(_numbers(folder), default=0) + 1:06d}.pt"


def write_part(path: Path, state: dict[str, Any]) -> str:
    """Write a part of a checkpoint, tensors and plain values, and return its SHA-256.

    Raises:
        OSError: it cannot be written.
    """
    with written_whole(path) as file:
        return save_state(state, file)


def finish_checkpoint(path: Path, facts: dict[str, Any]) -> None:
    """Make a checkpoint whole, whose parts are on the disk; then remove all but the last two.

    Args:
        path: of the state of what trains.
        facts: the header without `format` and `sha256`; JSON-ready.

    Raises:
        OSError: the header cannot be written; the checkpoints before are whole.
    """
    header = {"format": FORMAT, **facts}
    write_json(path.with_suffix(".json"), header | {"sha256": _sha256(header)})
    keep_newest(path.parent.parent, KEPT)


def keep_newest(run: Path, count: int) -> None:
    """Remove all checkpoints of a run folder but the newest `count`, and parts without a header."""
    folder = RunFolder(run).checkpoint
    kept = {f"{number:06d}" for number in _numbers(folder)[-count:]}
    for suffix in (".json", ".pt", ".scores"):  # a header goes before its parts
        for path in sorted(folder.glob(f"*{suffix}")):
            if path.stem not in kept:
                path.unlink(missing_ok=True)


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint of a run folder, or None; a damaged one is skipped with a warning in the log.

    Raises:
        RunError: it is of another format; with what to do.
    """
    folder = RunFolder(run).checkpoint
    for number in reversed(_numbers(folder)):
        path = folder / f"{number:06d}.pt"
        try:
            return Checkpoint(path, _read_header(run, path))
        except (OSError, ValueError, LookupError) as error:
            log.warning("checkpoint %s is damaged and passed over: %s", path, error)
    return None


def _read_header(run: Path, path: Path) -> dict[str, Any]:
    """Return the header of a whole checkpoint; raise OSError, ValueError or LookupError for a damaged one."""
    try:
        header = read_object(path.with_suffix(".json"))
    except RunError as error:
        raise ValueError(str(error)) from None
    if header["format"] != FORMAT:
        raise RunError(
            f"{path}: checkpoint format is {header['format']!r}, this version of clsim reads {FORMAT}; resume the run "
            "with the version that began it, or begin it again with --overwrite"
        )
    if _sha256({key: value for key, value in header.items() if key != "sha256"}) != header["sha256"]:
        raise ValueError("the header does not match its checksum")
    for part, digest in ((path, header["state_sha256"]), (scores_of(path), header["scores_sha256"])):
        if digest is not None:
            with open(part, "rb", opener=regular) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise ValueError(f"{part.name} does not match its checksum")
    for name, length in header["files"].items():
        if length and (run / name).stat().st_size < length:
            raise ValueError(f"{name} is shorter than it was")
    return header


def _read_part(path: Path, device: str) -> dict[str, Any]:
    """Read a part of a checkpoint; see `Checkpoint.state`."""

    def placed(storage: Any, location: str) -> Any:
        return storage if location == "cpu" else storage.to(device=torch.device(device))

    try:
        refuse_packed(path)
        loaded: dict[str, Any] = torch.load(path, map_location=placed, weights_only=True)
    except pickle.UnpicklingError:
        raise RunError(f"{path}: not the state of a run: not only tensors and plain values") from None
    except (ValueError, RuntimeError) as error:
        raise RunError(f"{path}: not the state of a run: {str(error).partition(chr(10))[0]}") from None
    return loaded


def _numbers(folder: Path) -> list[int]:
    """Return the numbers of the checkpoints that have a header, rising."""
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def _sha256(header: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def save_state(state: dict[str, Any], file: BinaryIO) -> str:
    """Write tensors and plain values as `torch.save` does, and return the SHA-256 of the bytes.

    Raises:
        OSError: it cannot be written.
    """
    target = _Hashed(file)
    torch.save(state, cast(IO[bytes], target))
    if target.error is not None:
        raise target.error
    return target.digest.hexdigest()


class _Hashed:
    """A file that hashes what is written. It keeps an error for later: torch's writer cannot pass one on."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """The file is flushed when it is closed."""
