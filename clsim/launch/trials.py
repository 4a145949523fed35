"""The trials of a search, in Optuna's storage: which values are tried next, which trials are given up, which is best.

Trials come in batches. All values of a batch are chosen from the results of earlier batches only, and so is what its
trials are compared with when they are pruned. So a search depends on its seed and the size of its batches, and neither
on the number of workers nor on what ends first; one that was killed goes on to the same trials.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.launch.tuning_ranges import Range
from clsim.randomness import derive_seed
from clsim.running.run_identity import differences

DATABASE = "search.db"
STARTUP_TRIALS = 10
"""Trials at random before Optuna's TPE chooses."""
LEAST_COMPARED = 3
"""Finished trials of earlier batches that pruning needs."""
_SEARCH = "search"


@dataclass(frozen=True)
class Trial:
    """One point of a search.

    Attributes:
        number: from 0.
        params: key -> value.
        state: running, complete, pruned or failed.
        value: of the objective; None: not complete.
        reason: why it failed.
    """

    number: int
    params: dict[str, Any]
    state: str
    value: float | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """Name of the folder of its runs."""
        return f"trial{self.number}"


class Trials:
    """The trials of one search.

    Args:
        home: folder of the search, where its database is.
        search: everything that fixes the search, JSON-ready; a database with another one is refused.
        ranges: by key.
        seed: of the choices.
        batch: trials that are chosen at a time.

    Raises:
        RunError: Optuna is not installed; the database is of another search, or damaged.
    """

    def __init__(
        self, home: Path, search: Mapping[str, Any], ranges: Mapping[str, Range], seed: int, batch: int
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise RunError("a search needs Optuna, which is not installed: pip install 'clsim[tune]'") from None
        self._optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = home / DATABASE
        self.ranges, self.seed, self.batch = dict(ranges), seed, batch
        try:
            self._study = optuna.create_study(
                storage=f"sqlite:///{path.resolve()}", study_name="clsim", direction="maximize", load_if_exists=True
            )
            known = self._study.user_attrs.get(_SEARCH)
        except Exception as error:  # whatever SQLite and SQLAlchemy raise
            raise RunError(f"{path}: cannot be used: {str(error).partition(chr(10))[0]}") from None
        if known is None:
            self._study.set_user_attr(_SEARCH, dict(search))
        elif changed := differences(known, search):
            raise RunError(f"{path}: another search is there ({'; '.join(changed)}); use another --name or --out")

    @property
    def all(self) -> list[Trial]:
        """Every trial so far, by number."""
        return [self._trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    @property
    def best(self) -> Trial | None:
        """The complete trial with the highest value; of equal ones the first."""
        complete = [trial for trial in self.all if trial.value is not None]
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def next_batch(self, most: int) -> list[Trial]:
        """Return the trials to carry out next: those that an interrupted search has left, and new ones up to `most`."""
        known = self.all
        running = [trial for trial in known if trial.state == "running"]
        begin = (running[0].number if running else len(known)) // self.batch * self.batch
        end = min(begin + self.batch, most)
        for _ in range(len(known), end):
            self._sampler("ask", len(known))
            self._study.ask()
        wanted = [trial for trial in self.all if trial.state == "running"]
        return [Trial(trial.number, self._values(trial.number), "running") for trial in wanted]

    def prunes(self, number: int, course: list[float]) -> bool:
        """Record how a trial goes, and tell whether it is given up.

        DECIDED: it is, once the mean over its tasks so far is below the median of the same mean over the complete
        trials of earlier batches. Optuna's own median rule compares the best mean of a trial, which for a score that
        falls from task to task is that of the first task.

        Args:
            course: the score after each task so far, percent.
        """
        trial = self._open(number)
        others = [
            other.intermediate_values
            for other in self._study.get_trials(deepcopy=False)
            if other.number < number // self.batch * self.batch and other.state.name == "COMPLETE"
        ]
        reported = self._study.get_trials(deepcopy=False)[number].intermediate_values
        for step in range(len(course)):
            mean = statistics.fmean(course[: step + 1])
            if step not in reported:
                trial.report(mean, step)
            compared = [values[step] for values in others if step in values]
            if len(compared) >= LEAST_COMPARED and mean < statistics.median(compared):
                return True
        return False

    def complete(self, number: int, value: float) -> None:
        """Record the objective of a trial."""
        self._study.tell(number, value)

    def prune(self, number: int) -> None:
        """Record that a trial was given up."""
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """Record that a trial failed, and why."""
        self._open(number).set_user_attr("reason", reason)
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def _open(self, number: int) -> Any:
        return self._optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def _values(self, number: int) -> dict[str, Any]:
        """Return the values of a trial; each has a seed of its own, so that an interruption changes none."""
        trial = self._open(number)
        found = {}
        for key, values in self.ranges.items():
            self._sampler(key, number)
            found[key] = values.suggest(trial, key)
        return found

    def _sampler(self, purpose: str, number: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            self._study.sampler = self._optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS,
                constant_liar=True,
                seed=derive_seed(self.seed, "trial", number, purpose) % 2**32,
            )

    def _trial(self, frozen: Any) -> Trial:
        state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(frozen.state.name, "running")
        value = frozen.value if state == "complete" else None
        params = {key: self.ranges[key].stored(one) for key, one in frozen.params.items() if key in self.ranges}
        return Trial(frozen.number, params, state, value, str(frozen.user_attrs.get("reason", "")))
