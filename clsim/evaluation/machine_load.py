"""How busy other processes keep the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

STATISTICS = Path("/proc/stat")
WAITING = (3, 4)
"""Places of idle and iowait among the columns user, nice, system, idle, iowait, irq, softirq, steal."""
COLUMNS = 8


class LoadMeter:
    """Measures the share of all cores that other processes keep busy from its creation on."""

    def __init__(self) -> None:
        self._began = _counted()

    def share_of_others(self) -> float | None:
        """Return the share so far, 0..1; None where the system does not tell, or no time has passed."""
        now = _counted()
        if now is None or self._began is None:
            return None
        total, busy, own = (after - before for after, before in zip(now, self._began, strict=True))
        return min(1.0, max(0.0, (busy - own) / total)) if total > 0 else None


def _counted() -> tuple[float, float, float] | None:
    """Return the seconds of all cores, of busy cores and of this process so far; None without `STATISTICS`."""
    try:
        line = STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()
        seconds = [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in line[1 : COLUMNS + 1]]
    except (OSError, ValueError):
        return None
    waiting = sum(seconds[place] for place in WAITING if place < len(seconds))
    return sum(seconds), sum(seconds) - waiting, time.process_time()
