"""What a user sees while runs go on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clsim.errors import printable
from clsim.launch.forecast import forecast
from clsim.launch.run_state import RunState, Status
from clsim.preparation import Work
from clsim.scenario import Scenario
from clsim.standard_streams import Lossy

STYLES: dict[Status, str] = {
    **{"waiting": "dim", "running": "cyan", "finished": "green"},
    **{"reused": "green dim", "pruned": "dim", "interrupted": "yellow", "failed": "bold red"},
}
ENDS = ("finished", "reused", "pruned", "interrupted", "failed")
LOOK_AT_FIRST = ("failed", "running", "interrupted", "waiting", "finished", "pruned", "reused")
SECONDS_BETWEEN = 5.0  # two lines about the same work before training
AROUND_TABLE = 4  # lines: headings, summary, the cursor, one to spare


log = logging.getLogger("clsim")


@runtime_checkable
class Progress(Protocol):
    """An object that shows how runs go on; each run is known by its folder `.../<strategy>/seed<k>`."""

    def update(self, folder: Path, state: RunState) -> None:
        """Show the state of a run. The object may change until the next call."""
        ...

    def say(self, text: str) -> None:
        """Show a text about all runs."""
        ...

    def close(self) -> None:
        """End the display: there are no more runs."""
        ...


def say_notes(scenarios: Iterable[Scenario], progress: Progress) -> None:
    """Show what somebody should know of streams before they are trained on, each once; see `Scenario.notes`."""
    distinct = {id(scenario): scenario for scenario in scenarios}.values()
    for note in dict.fromkeys(note for scenario in distinct for note in scenario.notes()):
        progress.say(f"note: {note}")


class Unfailing:
    """A progress whose errors end no run: the first one is a warning in the log, and no further call is made."""

    def __init__(self, progress: Progress) -> None:
        self._progress: Progress | None = progress

    def update(self, folder: Path, state: RunState) -> None:
        """Show the state of a run."""
        if self._progress is not None:
            self._call(self._progress.update, folder, state)

    def say(self, text: str) -> None:
        """Show a text about all runs."""
        if self._progress is not None:
            self._call(self._progress.say, text)

    def close(self) -> None:
        """End the display: there are no more runs."""
        if self._progress is not None:
            self._call(self._progress.close)

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        try:
            method(*arguments)
        except (Exception, SystemExit) as error:  # rich ends the process when a pipe is closed
            self._progress = None
            log.warning("progress is no longer shown: %s: %s", type(error).__name__, error)


class Speaking:
    """A listener of `clsim.preparation` that says from time to time what this process does before runs start."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.pauses = _Pauses()

    def __call__(self, work: Work | None) -> None:
        if self.progress is not None and work is not None and self.pauses.over(None, work):
            self.progress.say(str(work))


class _Pauses:
    """Decides per run when to report work again: after SECONDS_BETWEEN seconds; at once if the work has no total."""

    def __init__(self) -> None:
        self.last: dict[Path | None, float] = {}
        self.said: dict[Path | None, str] = {}

    def over(self, folder: Path | None, work: Work) -> bool:
        """Tell whether to report the work now."""
        now = time.monotonic()
        new_wait = not work.total and self.said.get(folder) != work.what  # which is told only once
        if not new_wait and now - self.last.setdefault(folder, now) < SECONDS_BETWEEN:
            return False
        self.last[folder], self.said[folder] = now, work.what
        return True


class ConsoleProgress:
    """A live table on a terminal; otherwise one line per evaluation and per end, and some about work before training.

    Losing the console, by a closed pipe or a full device, is no error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.console.file = Lossy(self.console.file)  # type: ignore[assignment]  # rich would end the process
        self.states: dict[Path, RunState] = {}
        self.shown: dict[Path, tuple[Status, float | None]] = {}
        self.pauses = _Pauses()
        self.began = time.monotonic()
        self.live: Live | None = None

    @property
    def is_seen(self) -> bool:
        """Whether a terminal or a notebook shows it, and not a file or another program."""
        return self.console.is_terminal or self.console.is_jupyter

    def update(self, folder: Path, state: RunState) -> None:
        self.states[folder] = state
        if self.console.is_terminal and self.live is None:
            self.live = Live(console=self.console, get_renderable=self.table, refresh_per_second=4)
            self.live.start()
        status, seen_map = self.shown.get(folder, ("waiting", None))
        self.shown[folder] = state.status, state.seen_map
        if state.status in ENDS and status != state.status and (self.live is None or state.status == "failed"):
            self.say(f"{_label(folder)}: {_end_text(state)}")
        elif self.live is None and state.work is not None:
            if self.pauses.over(folder, state.work):
                self.say(f"{_label(folder)}: {state.work}")
        elif self.live is None and state.status == "running" and state.seen_map not in (None, seen_map):
            left = forecast(self.states).all
            rest = f"; about {clock(left)} left in all" if left and len(self.states) > 1 else ""
            self.say(f"{_label(folder)}: {state.done}/{state.total} {state.unit}, mAP {state.seen_map:.1f}{rest}")

    def say(self, text: str) -> None:
        self.console.print(printable(text, longest=None), highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        if self.live is not None:
            live, self.live = self.live, None
            live.stop()

    def table(self) -> RenderableType:
        """Return a table of all runs, or of those that fit on the screen, and a line about all of them."""
        states = dict(self.states)
        ahead = forecast(states)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("strategy", overflow="ellipsis", no_wrap=True, max_width=28)
        table.add_column("seed", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True, max_width=20)
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
                Text(printable(_strategy(folder))),
                folder.name.removeprefix("seed"),
                Text(_state_text(state), STYLES[state.status]),
                f"{state.task}/{state.tasks}" if begun else "",
                f"{state.done}/{state.total}" if state.has_epochs else "",
                ProgressBar(state.total, state.done, width=10),
                "" if state.seen_map is None else f"{state.seen_map:.1f}",
                clock(state.elapsed),
                clock(ahead.each.get(folder)),
            )
        counts = Counter(state.status for state in states.values())
        said = [f"{counts[status]} {status}" for status in STYLES if counts[status]]
        said += [f"{clock(time.monotonic() - self.began)} elapsed"]
        said += [f"about {clock(ahead.all)} left"] if ahead.all else []
        said += [f"{len(states) - len(shown)} runs not shown"] if len(shown) < len(states) else []
        return Group(table, Text(", ".join(said), "dim"))

    def _on_screen(self, states: dict[Path, RunState]) -> list[Path]:
        room = max(1, self.console.height - AROUND_TABLE)
        if self.live is None or len(states) <= room:
            return list(states)
        first = sorted(states, key=lambda folder: LOOK_AT_FIRST.index(states[folder].status))[:room]
        return [folder for folder in states if folder in set(first)]


def _state_text(state: RunState) -> str:
    if state.work is None:
        return state.status
    return f"{state.work.what} {state.work.done}/{state.work.total}" if state.work.total else state.work.what


def _end_text(state: RunState) -> str:
    text: str = state.status
    if state.status == "interrupted":
        text += f" at {state.done}/{state.total} {state.unit}"
    return f"{text}: {state.reason}" if state.reason else text


def clock(seconds: float | None) -> str:
    """Return a time as 1:05 or 1:00:05; "" for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _strategy(folder: Path) -> str:
    """Return the name of the strategy, after the class order if a comparison has several."""
    order = folder.parents[1].name
    return f"{order}/{folder.parent.name}" if order.removeprefix("order").isdigit() else folder.parent.name


def _label(folder: Path) -> str:
    return f"{_strategy(folder)}/{folder.name}"
