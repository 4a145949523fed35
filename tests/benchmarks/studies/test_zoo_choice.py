"""What tuning chooses: the greatest sum over the streams where a method runs, among settings that ran on each."""

from __future__ import annotations

from benchmarks.studies.methods import Method, each
from benchmarks.studies.zoo_choice import best

ONE = Method("lwf", each("weight", 2.0, 5.0))
TWO = Method("moments", each("ridge", 1.0), trained={"features": "first-task"})


def test_the_setting_with_the_greatest_sum_is_chosen() -> None:
    frozen = {"lwf": 50.0, "lwf, weight=2.0": 52.0, "lwf, weight=5.0": 40.0}
    trained = {"lwf": 50.0, "lwf, weight=2.0": 49.0, "lwf, weight=5.0": 61.0}
    assert best([ONE], [frozen], [True]) == {"lwf": {"weight": 2.0}}
    assert best([ONE], [frozen, trained], [True, False]) == {
        "lwf": {"weight": 2.0}
    }  # by 1, though 5.0 is once far ahead
    assert best([ONE], [frozen | {"lwf": 53.0}], [True]) == {}


def test_what_did_not_run_on_every_stream_is_not_chosen() -> None:
    frozen, trained = {"lwf": 1.0, "lwf, weight=2.0": 2.0, "lwf, weight=5.0": 9.0}, {"lwf": 1.0, "lwf, weight=2.0": 1.5}
    assert best([ONE], [frozen, trained], [True, False]) == {"lwf": {"weight": 2.0}}
    assert best([ONE], [{}, {"lwf, weight=2.0": 1.5}], [True, False]) == {}


def test_a_stream_on_which_the_defaults_cannot_be_run_does_not_count() -> None:
    frozen = {"lwf": 1.0, "lwf, weight=2.0": 2.0, "lwf, weight=5.0": 3.0}
    assert best([ONE], [frozen, {"lwf, weight=2.0": 9.0}], [True, False]) == {"lwf": {"weight": 5.0}}


def test_names_of_a_backbone_that_trains_are_found() -> None:
    frozen = {"moments": 1.0, "moments, ridge=1.0": 2.0}
    trained = {"moments, first-task": 1.0, "moments, first-task, ridge=1.0": 1.0}
    assert best([TWO], [frozen, trained], [True, False]) == {"moments": {"ridge": 1.0}}
