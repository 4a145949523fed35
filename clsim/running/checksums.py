"""Checksums of a finished run: whether its files are still what it wrote. Runs of earlier versions have none."""

from __future__ import annotations

import hashlib

from clsim.errors import RunError
from clsim.files import write_json
from clsim.opening import regular
from clsim.running.run_folder import RunFolder
from clsim.strict_json import read_object

COVERED = (
    *(RunFolder.config, RunFolder.run, RunFolder.identity, RunFolder.environment, RunFolder.plan),
    *(RunFolder.metrics, RunFolder.class_values, RunFolder.about_class_values),
    *(RunFolder.timing, RunFolder.memory, RunFolder.result),
)
"""Files whose content a report or a comparison takes as it is, and that nothing writes to once the run is finished."""


def write_checksums(files: RunFolder, result: str) -> None:
    """Write `checksums.json`, SHA-256 by file name, of a run whose result is about to be written.

    Args:
        files: the run folder.
        result: what `result.json` will hold.

    Raises:
        OSError: it cannot be written.
    """
    found = {name: _sha256(files, name) for name in COVERED if (files.path / name).is_file()}
    found[RunFolder.result] = hashlib.sha256(result.encode()).hexdigest()
    write_json(files.checksums, found)


def changed_since(files: RunFolder) -> str | None:
    """Return what is no longer as a finished run wrote it, in words; None: all is, or it has no checksums."""
    if not files.checksums.exists():
        return None
    try:
        recorded = read_object(files.checksums)
        changed = [name for name in COVERED if name in recorded and _sha256(files, name) != recorded[name]]
    except FileNotFoundError as error:
        return f"{error.filename} is missing, which the run wrote"
    except (OSError, RunError) as error:
        return str(error)
    return f"{', '.join(changed)}: not as the run wrote it, by {RunFolder.checksums}" if changed else None


def refuse_changed(files: RunFolder) -> None:
    """Raise RunError if a file of a finished run is no longer as it wrote it."""
    if (reason := changed_since(files)) is not None:
        raise RunError(f"{files.path}: {reason}")


def _sha256(files: RunFolder, name: str) -> str:
    with open(files.path / name, "rb", opener=regular) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
