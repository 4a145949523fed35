"""What a user sees while runs go on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clsim.launch.forecast import forecast
from clsim.launch.run_state import RunState, Status

STYLES: dict[Status, str] = {
    **{"waiting": "dim", "running": "cyan", "finished": "green"},
    **{"reused": "green dim", "interrupted": "yellow", "failed": "bold red"},
}
ENDS = ("finished", "reused", "interrupted", "failed")
LOOK_AT_FIRST = ("failed", "running", "interrupted", "waiting", "finished", "reused")
AROUND_TABLE = 4  # lines: headings, summary, the cursor, one to spare


class Progress(Protocol):
    """Told about runs by their folder `.../<strategy>/seed<k>`."""

    def update(self, folder: Path, state: RunState) -> None:
        """The run has come to `state`, which may change until the next call."""
        ...

    def say(self, text: str) -> None:
        """Something about all runs."""
        ...

    def close(self) -> None:
        """No more runs."""
        ...


class ConsoleProgress:
    """A live table on a terminal; otherwise a line at each evaluation and each end."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.states: dict[Path, RunState] = {}
        self.told: dict[Path, tuple[Status, float | None]] = {}
        self.began = time.monotonic()
        self.live: Live | None = None

    def update(self, folder: Path, state: RunState) -> None:
        self.states[folder] = state
        if self.console.is_terminal and self.live is None:
            self.live = Live(console=self.console, get_renderable=self.table, refresh_per_second=4)
            self.live.start()
        status, seen_map = self.told.get(folder, ("waiting", None))
        self.told[folder] = state.status, state.seen_map
        if state.status in ENDS and status != state.status and (self.live is None or state.status == "failed"):
            self.say(f"{_label(folder)}: {_end(state)}")
        elif self.live is None and state.status == "running" and state.seen_map not in (None, seen_map):
            left = forecast(self.states).all
            rest = f"; about {_clock(left)} left in all" if left and len(self.states) > 1 else ""
            self.say(f"{_label(folder)}: {state.done}/{state.total} epochs, mAP {state.seen_map:.1f}{rest}")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        if self.live is not None:
            live, self.live = self.live, None
            live.stop()

    def table(self) -> RenderableType:
        """All runs, or those that fit on the screen, and a line about all of them."""
        states = dict(self.states)
        ahead = forecast(states)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("strategy", overflow="ellipsis", no_wrap=True, max_width=28)
        table.add_column("seed", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("task", justify="right", no_wrap=True)
        table.add_column("epochs", justify="right", no_wrap=True)
        table.add_column("", width=10, no_wrap=True)
        for heading in ("mAP", "time", "left"):
            table.add_column(heading, justify="right", no_wrap=True)
        shown = self._on_screen(states)
        for folder in shown:
            state = states[folder]
            begun = state.done > 0 or state.status == "running"
            table.add_row(
                Text(_strategy(folder)),
                folder.name.removeprefix("seed"),
                Text(state.status, STYLES[state.status]),
                f"{state.task}/{state.tasks}" if begun else "",
                f"{state.done}/{state.total}",
                ProgressBar(state.total, state.done, width=10),
                "" if state.seen_map is None else f"{state.seen_map:.1f}",
                _clock(state.elapsed),
                _clock(ahead.each.get(folder)),
            )
        counts = Counter(state.status for state in states.values())
        said = [f"{counts[status]} {status}" for status in STYLES if counts[status]]
        said += [f"{_clock(time.monotonic() - self.began)} elapsed"]
        said += [f"about {_clock(ahead.all)} left"] if ahead.all else []
        said += [f"{len(states) - len(shown)} runs not shown"] if len(shown) < len(states) else []
        return Group(table, Text(", ".join(said), "dim"))

    def _on_screen(self, states: dict[Path, RunState]) -> list[Path]:
        room = max(1, self.console.height - AROUND_TABLE)
        if self.live is None or len(states) <= room:
            return list(states)
        first = sorted(states, key=lambda folder: LOOK_AT_FIRST.index(states[folder].status))[:room]
        return [folder for folder in states if folder in set(first)]


def _end(state: RunState) -> str:
    text: str = state.status
    if state.status == "interrupted":
        text += f" at {state.done}/{state.total} epochs"
    return f"{text}: {state.reason}" if state.reason else text


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _strategy(folder: Path) -> str:
    """The strategy, and the class order where a comparison has several."""
    order = folder.parents[1].name
    return f"{order}/{folder.parent.name}" if order.removeprefix("order").isdigit() else folder.parent.name


def _label(folder: Path) -> str:
    return f"{_strategy(folder)}/{folder.name}"
