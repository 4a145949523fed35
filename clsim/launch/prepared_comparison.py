"""`prepared.json` in the folder of a comparison: what workers need to know that carry its runs out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.files import write_json
from clsim.launch.first_task_groups import first_task_key
from clsim.launch.jobs import Job, Request
from clsim.strict_json import read_object

FILE = "prepared.json"


@dataclass(frozen=True)
class PreparedRun:
    """One run.

    Attributes:
        folder: below that of the comparison.
        epochs: per task; 0 for a run without.
        tasks: how many.
        first_task: see `first_task_key`.
    """

    folder: str
    epochs: int
    tasks: int
    first_task: str | None


@dataclass(frozen=True)
class PreparedComparison:
    """All runs, and what the report needs; see `Comparison`.

    Attributes:
        device: cpu, cuda or mps.
        threads: of each run.
    """

    device: str
    threads: int
    strategies: tuple[str, ...]
    order_seeds: tuple[int, ...]
    baseline: str | None
    sections: tuple[str, ...]
    runs: tuple[PreparedRun, ...]


def write_prepared(
    request: Request,
    jobs: Mapping[Path, Job],
    identities: Mapping[Path, Mapping[str, Any]],
    threads: int,
    sections: tuple[str, ...],
) -> None:
    """Write the file, over that of an earlier call."""
    runs = [
        PreparedRun(
            folder.relative_to(request.home).as_posix(),
            job.epochs,
            len(job.scenario.plan().tasks),
            first_task_key(job.first_task_part, identities[folder])
            if request.share_first_task and job.epochs
            else None,
        )
        for folder, job in jobs.items()
    ]
    prepared = PreparedComparison(
        request.hardware.device,
        threads,
        tuple(request.entries),
        request.order_seeds,
        request.baseline,
        sections,
        tuple(runs),
    )
    write_json(request.home / FILE, asdict(prepared))


def read_prepared(home: Path) -> PreparedComparison:
    """Return what `write_prepared` wrote.

    Raises:
        RunError: there is none, or it is damaged.
    """
    path = home / FILE
    if not path.is_file():
        raise RunError(f"{home}: no prepared comparison is here (no {FILE}); make one with clsim compare --prepare")
    content = read_object(path)
    try:
        runs = tuple(PreparedRun(**run) for run in content.pop("runs"))
        lists: dict[str, Any] = {key: tuple(content[key]) for key in ("strategies", "order_seeds", "sections")}
        return PreparedComparison(**{**content, **lists, "runs": runs})
    except (TypeError, KeyError) as error:
        raise RunError(f"{path}: damaged, or of another version of clsim: {error}") from None
