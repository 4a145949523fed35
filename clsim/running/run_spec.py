"""What identifies a run besides its scenario."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunSpec:
    """Strategy, options, seed and device of a run; `run.json` in its folder.

    Attributes:
        strategy: "lwf+er", or parts as file.py:Class.
        name: name of the strategy's folder.
        seed: seed of everything random in training.
        device: auto, cpu, cuda or mps; never one GPU of several, which is no matter of the run.
        options: strategy options, {"lwf.weight": 2.0}.
    """

    strategy: str
    name: str
    seed: int
    device: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError unless the fields are what `prepare` writes; the folder may be somebody else's."""
        if not all(isinstance(text, str) for text in (self.strategy, self.name, self.device)):
            raise ValueError("strategy, name or device is not a text")
        if type(self.seed) is not int or self.seed < 0 or not isinstance(self.options, dict):
            raise ValueError("seed is not a whole number of 0 or more, or options are no object")
        if (allowed := folder_name_problem(self.name)) is not None:
            raise ValueError(f"name: given {self.name!r}, expected {allowed}")

    def folder(self, home: Path) -> Path:
        """Return `<home>/<strategy>/seed<k>`, where home is `<out>/<scenario>`."""
        return home / self.name / f"seed{self.seed}"


def folder_name_problem(name: str) -> str | None:
    """Return what a strategy must be named in place of `name`, in words; None: it can name a folder, a curve and a row.

    A name may come from somebody else's run folder. None of those that are allowed leads out of a folder.
    """
    if not name.isprintable():
        return "no control characters"
    if "/" in name or "\\" in name:
        return "no / and no \\, because it names a folder"
    if ".." in name or name.startswith((".", "-")) or not name:
        return "no '..', and neither . nor - first, because it names a folder"
    return None


def safe_name(name: str) -> str:
    """Return the name of a strategy as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)
