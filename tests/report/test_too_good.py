"""What a report says of numbers that are better than they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clsim.report.facts import warnings_of
from clsim.report.results import load_results
from clsim.report.too_good import too_good


@pytest.fixture
def sentences(make_run: Callable[..., Path], tmp_path: Path) -> Callable[..., list[str]]:
    """What is said of runs of two seeds: strategy -> last mAP of each, and changes of their results."""

    def of(values: dict[str, list[float]], **changes: object) -> list[str]:
        for strategy, numbers in values.items():
            own = changes if strategy == "mine" else {}
            for seed, value in enumerate(numbers):
                make_run(tmp_path, strategy, seed, last_mAP=value, **own)
        results = load_results(tmp_path)
        found = too_good(results)
        assert set(found) <= set(warnings_of(results))
        return found

    return of


def test_a_method_above_joint_by_more_than_the_interval_is_named(sentences: Callable[..., list[str]]) -> None:
    (text,) = sentences({"joint": [60.0, 60.5], "mine": [70.0, 70.7], "er": [60.0, 65.0]})
    assert text.startswith("mine is 10.1 points above joint, the upper reference, and more than the 95 % interval")
    assert text.endswith("and whether joint, which begins anew in each task, had enough epochs.")


def test_one_seed_has_no_interval(sentences: Callable[..., list[str]]) -> None:
    assert sentences({"joint": [60.0], "mine": [70.0]}) == []


def test_a_control_may_be_above_joint(sentences: Callable[..., list[str]]) -> None:
    assert sentences({"joint": [60.0, 60.5], "mine": [70.0, 70.6]}, control="knows something") == []


def test_an_upper_reference_with_more_epochs_may_be_above_joint(sentences: Callable[..., list[str]]) -> None:
    assert sentences({"joint": [60.0, 60.5], "mine": [70.0, 70.6]}, format=2, reference="upper") == []


def test_exactly_one_hundred_is_named(sentences: Callable[..., list[str]]) -> None:
    assert sentences({"mine": [99.9, 100.0]}) == [
        "mine reaches exactly 100 % mAP: check whether it has seen the true labels."
    ]


def test_who_replaces_outputs_is_named(sentences: Callable[..., list[str]]) -> None:
    (text,) = sentences({"mine": [50.0, 51.0]}, replaced_outputs=["Prototypes"])
    assert text == "mine replaces the network's scores of the evaluation images (Prototypes: after_eval_forward)."
