"""What a run ran on: versions, device, source state."""

from __future__ import annotations

import datetime
import json
import logging
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clsim.files import write_json

PACKAGES = ("clsim", "torch", "torchvision", "avalanche-lib", "numpy", "scikit-learn", "pycocotools", "tensorboard")

log = logging.getLogger("clsim")


def environment(device: str, threads: int) -> dict[str, Any]:
    """Facts for `environment.json`; JSON-ready. `git_commit` is null outside a checkout of clsim."""
    commit, dirty = _git_state(Path(__file__).resolve().parents[2])
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "device": device,
        "threads": threads,
        "git_commit": commit,
        "git_dirty": dirty,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def record_environment(path: Path, now: dict[str, Any]) -> bool:
    """Write `environment.json`; whether it was there, because the run goes on.

    What it began with stays; `resumed` gets an entry with the time, and with what has changed. Another version makes
    another run possible, which the log then says: bit-identity is promised for equal ones.
    """
    if not path.exists():
        write_json(path, now)
        return False
    began: dict[str, Any] = json.loads(path.read_bytes())
    changed = {key: value for key, value in now.items() if key != "started" and value != began.get(key)}
    if changed:
        told = ", ".join(f"{key} was {began.get(key)}, is {value}" for key, value in changed.items())
        log.warning("resumed in another environment, so the result may differ in its last bits: %s", told)
    write_json(path, began | {"resumed": [*began.get("resumed", []), {"at": now["started"], **changed}]})
    return True


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
