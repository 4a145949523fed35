"""What torchrun has told this process: its rank among those that it has started together."""

from __future__ import annotations

import os
from dataclasses import dataclass

from clsim.errors import RunError


@dataclass(frozen=True)
class Process:
    """The place of a process among those that train one run.

    Attributes:
        rank: 0 ... count - 1. The process of rank 0 writes the run folder.
        count: of processes, on all machines.
        local_rank: 0 ... local_count - 1, among those of this machine.
        local_count: of processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def this_process() -> Process:
    """Return the place of this process; rank 0 of 1 if it was not started by torchrun.

    Other programs set RANK and WORLD_SIZE too, so that these alone mean nothing.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Process()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Process(*(int(os.environ[name]) for name in names))


def refuse_ranks(command: str) -> None:
    """Raise RunError if torchrun has started this process beside others, for a command that starts runs itself."""
    if (count := this_process().count) > 1:
        raise RunError(
            f"{command}: started {count} times by torchrun, but it starts its runs itself; start it without torchrun, "
            f"or one run on {count} ranks: torchrun --nproc-per-node {count} --no-python clsim run ..."
        )
