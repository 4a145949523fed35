"""What a run ran on: versions, device, source state."""

from __future__ import annotations

import datetime
import logging
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.files import write_json
from clsim.running.gpu import described
from clsim.strict_json import read_object

PACKAGES = ("clsim", "torch", "torchvision", "avalanche-lib", "numpy", "scikit-learn", "pycocotools", "tensorboard")

log = logging.getLogger("clsim")


def environment(device: str, threads: int) -> dict[str, Any]:
    """Return the content of `environment.json`. `git_commit` is null outside a checkout of clsim.

    A run on CUDA has four more entries: gpu, gpu_driver, cuda and cudnn.
    """
    commit, dirty = _git_state(Path(__file__).resolve().parents[2])
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "device": device,
        "threads": threads,
        **described(device),
        "git_commit": commit,
        "git_dirty": dirty,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def record_environment(path: Path, now: dict[str, Any]) -> None:
    """Write `environment.json` of a run that begins, or extend that of a run that goes on.

    The first environment stays. `resumed` gets an entry with the time and the values that have changed. The log warns
    of changed values, because bit-identity is promised for equal ones only.

    Raises:
        RunError: the file that is there is damaged.
    """
    if not path.exists():
        write_json(path, now)
        return
    began = read_object(path)
    changed = {key: value for key, value in now.items() if key != "started" and value != began.get(key)}
    if changed:
        changes = ", ".join(f"{key} was {began.get(key)}, is {value}" for key, value in changed.items())
        log.warning("resumed in another environment, so the result may differ in its last bits: %s", changes)
    earlier = began.get("resumed", [])
    if not isinstance(earlier, list):
        raise RunError(f"{path}: resumed: expected a list, found {type(earlier).__name__}")
    write_json(path, began | {"resumed": [*earlier, {"at": now["started"], **changed}]})


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
