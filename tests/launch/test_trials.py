"""The trials of a search: what comes next depends on seed and batch alone, whatever was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clsim.errors import RunError
from clsim.launch.trials import STARTUP_TRIALS, Trials
from clsim.launch.tuning_ranges import as_ranges

RANGES = as_ranges(
    {
        "strategy.akd.gamma": {"log_uniform": [0.1, 4]},
        "strategy.er.selection": {"choice": ["random", ["herding", 1]]},
        "training.epochs": {"int": [2, 9]},
        "training.optimizer.weight_decay": {"uniform": [0, 0.1]},
    }
)
SEARCH = {"strategy": "akd+er", "search.batch": 4}


def opened(home: Path, search: dict[str, Any] = SEARCH, seed: int = 0) -> Trials:
    home.mkdir(exist_ok=True)
    return Trials(home, search, RANGES, seed, batch=4)


def course(params: dict[str, Any]) -> list[float]:
    """Scores after each task: best at gamma 1, falling."""
    best = 60 - 10 * abs(params["strategy.akd.gamma"] - 1)
    return [best, best - 10, best - 20]


def carried_out(trials: Trials, most: int, batches: int = 99) -> Trials:
    """Carry out some batches; the order within a batch is from the last to the first."""
    while batches and (batch := trials.next_batch(most)):
        batches -= 1
        for trial in reversed(batch):
            scores = course(trial.params)
            if any(trials.prunes(trial.number, scores[: end + 1]) for end in range(len(scores) - 1)):
                trials.prune(trial.number)
            else:
                trials.complete(trial.number, sum(scores) / len(scores))
    return trials


def test_the_same_trials_come_whatever_interrupts_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = STARTUP_TRIALS + 6
    whole = carried_out(opened(tmp_path / "whole"), most).all
    assert len(whole) == most
    assert {trial.state for trial in whole} == {"complete", "pruned"}
    assert all(trial.state == "complete" for trial in whole[:4])  # nothing earlier to compare with

    carried_out(opened(tmp_path / "cut"), most, batches=2)
    cut = opened(tmp_path / "cut")
    calls = []
    sampler = Trials._sampler

    def killed(self: Trials, purpose: str, number: int) -> None:
        calls.append(purpose)
        if len(calls) == 7:  # between two values of one trial
            raise SystemExit
        sampler(self, purpose, number)

    monkeypatch.setattr(Trials, "_sampler", killed)
    with pytest.raises(SystemExit):
        cut.next_batch(most)
    monkeypatch.undo()
    half = opened(tmp_path / "cut").next_batch(most)
    opened(tmp_path / "cut").complete(half[1].number, sum(course(half[1].params)) / 3) if (
        whole[half[1].number].state == "complete"
    ) else opened(tmp_path / "cut").prune(half[1].number)
    again = carried_out(opened(tmp_path / "cut"), most).all
    assert [(one.number, one.params, one.state, one.value) for one in again] == [
        (one.number, one.params, one.state, one.value) for one in whole
    ]
    assert [one.params for one in carried_out(opened(tmp_path / "other", seed=1), 4).all] != [
        one.params for one in whole[:4]
    ]


def test_the_best_is_the_complete_trial_with_the_highest_value(tmp_path: Path) -> None:
    trials = opened(tmp_path)
    assert trials.best is None
    first = trials.next_batch(4)
    trials.fail(first[0].number, "no memory")
    trials.complete(first[1].number, 40.0)
    trials.complete(first[2].number, 41.0)
    trials.complete(first[3].number, 41.0)
    assert trials.best is not None
    assert (trials.best.number, trials.best.params) == (2, first[2].params)
    assert trials.all[0].reason == "no memory"
    assert {type(one.params["training.epochs"]) for one in trials.all} == {int}
    assert all(one.params["strategy.er.selection"] in ("random", ["herding", 1]) for one in trials.all)


def test_a_trial_is_pruned_below_the_median_of_earlier_batches_at_the_same_task(tmp_path: Path) -> None:
    trials = opened(tmp_path)
    for trial, first_score in zip(trials.next_batch(8), (50.0, 60.0, 70.0, 80.0), strict=True):
        assert not trials.prunes(trial.number, [first_score, 20.0])
        trials.complete(trial.number, first_score)
    low, high, falling, _ = trials.next_batch(8)
    assert trials.prunes(low.number, [64.0])
    assert not trials.prunes(high.number, [66.0, 21.0])
    assert trials.prunes(falling.number, [66.0, 10.0])  # 38, against 42.5; its first mean is above all of them


def test_a_database_of_another_search_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(RunError, match=r'search\.db: another search is there \(strategy: was "akd\+er", now "er"\)'):
        opened(tmp_path, SEARCH | {"strategy": "er"})
    (tmp_path / "search.db").write_bytes(b"no database")
    with pytest.raises(RunError, match=r"search\.db: cannot be used: ") as raised:
        opened(tmp_path)
    assert "\n" not in str(raised.value)
