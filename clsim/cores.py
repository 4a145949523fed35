"""How many processor cores there are to use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Count the cores this process may run on, which in a container can be fewer than the machine has.

    A system without CPU affinity, such as macOS, gives all its cores.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
