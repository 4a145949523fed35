"""What a shell offers where a command expects a name: `clsim plan digits-<tab>`, `--strategies lwf,e<tab>`."""

from __future__ import annotations

import re
from pathlib import Path

from clsim.part_kinds import KINDS


def scenarios(incomplete: str) -> list[str]:
    """Return shipped scenarios, and YAML files and folders, that a text may become."""
    from clsim.scenario import shipped_scenarios

    typed = Path(incomplete)
    folder, start = (typed, "") if incomplete.endswith("/") else (typed.parent, typed.name)
    paths = [path for path in sorted(folder.glob("*")) if path.name.startswith(start) and _may_lead_to_one(path)]
    return [*shipped_scenarios(), *(f"{path}/" if path.is_dir() else str(path) for path in paths)]


def strategies(incomplete: str) -> list[str]:
    """Return the strategies that the last name of a text such as `lwf,akd+e` may become, after what is before it."""
    from clsim.parts import names

    before = "".join(re.findall(r"[^,+]*[,+]", incomplete))
    return [before + name for name in names("strategy")]


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of parts."""
    return list(KINDS)


def _may_lead_to_one(path: Path) -> bool:
    return path.is_dir() or path.suffix in (".yaml", ".yml")
