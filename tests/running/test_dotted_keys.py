from __future__ import annotations

from clsim.running.dotted_keys import flat, hyperparameters


def test_flat_joins_keys_with_dots() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}
    assert flat({"b": 1}, "a.") == {"a.b": 1}


def test_hyperparameters_are_named_as_the_command_line_sets_them() -> None:
    config = {
        "name": "toy",
        "dataset": {"name": "digits"},
        "stream": {"increment": 2},
        "labels": {"visible": "task"},
        "memory": {"budget": "none"},
        "training": {"optimizer": {"lr": 0.1}},
    }
    assert hyperparameters(config, "lwf", 3, {"lwf": {"weight": 2.0}}) == {
        "scenario": "toy",
        "strategy": "lwf",
        "seed": 3,
        "strategy.lwf.weight": 2.0,
        "stream.increment": 2,
        "labels.visible": "task",
        "memory.budget": "none",
        "training.optimizer.lr": 0.1,
    }
