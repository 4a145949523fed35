"""How clsim starts Python processes, none of which imports from the working directory, and how it ends them."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Environment variables that pass the rule on to what a child starts itself."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a new process of this Python.

    Installed packages and PYTHONPATH are found as ever. The working directory is not searched (`-P`): a user's
    `queue.py` or a folder named `clsim` there would be taken for the module of that name.
    """
    return [*python_command(), "-m", module, *arguments]


def python_command() -> list[str]:
    """Return the command that starts this Python, without the working directory among what it imports from."""
    return [sys.executable, "-P"]


def remove_unused_folders() -> None:
    """Remove the empty folders that W&B makes in TMPDIR when Avalanche imports it.

    W&B does so itself when a process takes its modules apart, which those that end at once or are killed do not.
    """
    media = getattr(sys.modules.get("wandb.sdk.data_types._private"), "MEDIA_TMP", None)
    artifact = getattr(sys.modules.get("wandb.sdk.artifacts.artifact"), "Artifact", None)
    for folder in (media, getattr(artifact, "_TMP_DIR", None)):
        if folder is not None:
            with suppress(OSError):  # one that another version of W&B writes to
                os.rmdir(folder.name)


def end_at_once(code: int) -> NoReturn:
    """End this process without taking its modules apart, which takes longer than a second; all files are closed."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
