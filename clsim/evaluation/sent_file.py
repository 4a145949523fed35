"""What loggers outside a run folder have been sent, in the folder's `loggers.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clsim.files import write_json
from clsim.opening import read_regular


class SentFile:
    """Remembers, over all processes of a run, what each logger has been sent and how it knows the run.

    DECIDED: a file of its own and not the checkpoint, because what was sent after the last checkpoint of a killed run
    comes again when it is resumed, and must not be sent again either.

    Args:
        path: of the file; one that is damaged counts as none, so that everything is sent again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(read_regular(path))
        except (OSError, ValueError):
            content = {}
        known = content if isinstance(content, dict) else {}
        self.content: dict[str, dict[str, Any]] = {name: own for name, own in known.items() if isinstance(own, dict)}

    def get(self, logger: str, key: str) -> Any:
        """Return what is known of a logger under a key; None: nothing."""
        return self.content.get(logger, {}).get(key)

    def set(self, logger: str, **values: Any) -> None:
        """Keep values of a logger."""
        self.content.setdefault(logger, {}).update(values)
        write_json(self.path, self.content)


def failures(path: Path) -> list[str]:
    """Return what went wrong with the loggers of a run, from its `loggers.json`, in a sentence each."""
    return [str(known["failed"]) for known in SentFile(path).content.values() if known.get("failed")]
