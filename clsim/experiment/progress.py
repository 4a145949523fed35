"""What a user sees while runs go on: bars with the running mAP on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """Told about runs by their folder `.../<strategy>/seed<k>`."""

    def update(self, folder: Path, state: RunState) -> None:
        """The run has come to `state`."""
        ...

    def finish(self, folder: Path, error: str | None) -> None:
        """The run has ended, with `error` if it failed."""
        ...

    def close(self) -> None:
        """No more runs."""
        ...


class ConsoleProgress:
    """A bar for each run on a terminal; otherwise a line at each evaluation and each end."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.told: dict[Path, float | None] = {}
        self.bars: dict[Path, TaskID] = {}
        self.display: RichProgress | None = None
        if self.console.is_terminal:
            self.display = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("epochs"),
                TextColumn("{task.fields[shown]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.display.start()

    def update(self, folder: Path, state: RunState) -> None:
        shown = "" if state.seen_map is None else f"mAP {state.seen_map:.1f}"
        if self.display is None:
            if shown and self.told.get(folder) != state.seen_map:
                self.console.print(f"{_label(folder)}: {state.done}/{state.total} epochs, {shown}", highlight=False)
            self.told[folder] = state.seen_map
            return
        if folder not in self.bars:
            self.bars[folder] = self.display.add_task(_label(folder), total=state.total, shown="")
        self.display.update(self.bars[folder], completed=state.done, shown=shown)

    def finish(self, folder: Path, error: str | None) -> None:
        if self.display is None or error is not None:
            self.console.print(f"{_label(folder)}: {'failed: ' + error if error else 'finished'}", highlight=False)
        elif folder in self.bars:
            bar = self.bars[folder]
            self.display.update(bar, completed=self.display.tasks[bar].total)

    def close(self) -> None:
        if self.display is not None:
            self.display.stop()


@dataclass
class RunState:
    """How far a run is, from the lines of its `metrics.jsonl`.

    Attributes:
        total: epochs of the whole run.
        done: epochs done.
        seen_map: mAP over seen classes after the last finished task, percent.
    """

    total: int
    done: int = 0
    seen_map: float | None = None

    def take(self, line: dict[str, Any]) -> None:
        if line["phase"] == "train":
            self.done = line["step"]
        elif line["phase"] == "eval":
            self.seen_map = line["values"]["mAP/seen"]


def read_state(folder: Path, total: int) -> RunState:
    """The state of a run that another process writes; a half-written last line waits for the next look."""
    state = RunState(total)
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return state
    for text in lines:
        try:
            state.take(json.loads(text))
        except ValueError:
            break
    return state


def _label(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
