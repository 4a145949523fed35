"""What a comparison would do, before it does anything: the runs, which of them are there, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from clsim.errors import ClsimError
from clsim.launch.forecast import Forecast, forecast
from clsim.launch.progress import clock
from clsim.launch.reuse import FolderState
from clsim.launch.run_state import RunState, recorded_pace
from clsim.running.run_folder import SEED_FOLDERS, RunFolder


@dataclass(frozen=True)
class Preview:
    """The runs of a comparison that is not carried out.

    Attributes:
        home: `<out>/<scenario>`.
        found: folder -> whether the run is there.
        states: folder -> how far it is.
        workers: runs at a time.
    """

    home: Path
    found: Mapping[Path, FolderState]
    states: Mapping[Path, RunState]
    workers: int

    @cached_property
    def forecast(self) -> Forecast:
        """Seconds left, by the paces of runs that are there: of this comparison, and others of the same scenario."""
        states = dict(self.states)
        for folder, pace in self._paces_beside():
            states[folder] = replace(states.get(folder, RunState(1, 1, "reused")), recorded_pace=pace)
        return forecast(states, self.workers)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return of each run its folder, what becomes of it, and its time."""
        return [
            (str(folder), self._what(folder, state), clock(self.forecast.each.get(folder)))
            for folder, state in self.states.items()
        ]

    def summary(self) -> str:
        """Return in one line how many runs would be trained, and how long that takes."""
        to_train = sum(state.status == "waiting" for state in self.states.values())
        if not to_train:
            return "nothing to train: all runs are finished"
        seconds = self.forecast.all
        time = "no run in " + str(self.home) + " tells how long" if seconds is None else f"about {clock(seconds)}"
        return f"{to_train} of {len(self.states)} runs to train, {min(self.workers, to_train)} at a time: {time}"

    def _what(self, folder: Path, state: RunState) -> str:
        size = f"{state.tasks} tasks of {state.epochs} epochs" if state.has_epochs else f"{state.tasks} tasks"
        if self.found[folder] == "finished":
            return "reused"
        if self.found[folder] == "new":
            return f"trained in place of the run that is there: {size}" if folder.exists() else f"trained: {size}"
        if RunFolder(folder).obstacle is not None:
            return f"begun again, as it cannot be resumed: {size}"
        return f"continued at {state.done}/{state.total} {state.unit}"

    def _paces_beside(self) -> Iterator[tuple[Path, float]]:
        from clsim.report.run_result import read_run

        epochs = {folder.parent.name: state.has_epochs for folder, state in self.states.items()}
        homes = {folder.parents[1] for folder in self.states}
        for folder in sorted(folder for home in homes for folder in home.glob(SEED_FOLDERS)):
            if not RunFolder(folder).finished or self.found.get(folder, "new") != "new":
                continue
            try:
                training = read_run(folder).config["training"]
                each = max(1, int(training["epochs"])) if epochs.get(folder.parent.name, True) else 1
            except (ClsimError, LookupError, TypeError, ValueError):
                continue  # whatever is wrong with it is not asked here
            if (pace := recorded_pace(folder, each)) is not None:
                yield folder, pace
