"""Which images are shown with their predictions, what is said of them, and how that is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from clsim.evaluation.sample_sheet import LINES, SIDE, Tile, fitted, sheet
from clsim.evaluation.samples import Verdict, evaluation_places, showing, training_places, verdicts
from clsim.scenario import Scenario, load_scenario


def test_every_class_is_judged_by_its_label_and_prediction() -> None:
    labels = np.array([1, 1, 0, 0, -1, -1, 0, 1], dtype=np.int8)
    probabilities = np.array([0.9, 0.5, 0.6, 0.7, 0.8, 0.1, 0.2])
    assert verdicts(labels, probabilities, 0.5) == [
        Verdict("right", 0, 0.9),
        Verdict("missed", 1, 0.5),  # p = threshold is not predicted
        Verdict("untold", 4, 0.8),
        Verdict("wrong", 3, 0.7),
        Verdict("wrong", 2, 0.6),
        Verdict("to come", 7, None),
    ]


def test_evaluation_images_show_classes_of_all_tasks_whatever_the_seed(tiny: Scenario) -> None:
    plan = tiny.plan()
    places = evaluation_places(plan, 6)
    assert len(set(places.tolist())) == 6
    assert np.array_equal(places, evaluation_places(tiny.plan(), 6))
    for task in plan.tasks:
        assert (plan.test_truth[places, slice(*task.classes)] == 1).any()


def test_of_more_tasks_than_images_evenly_spread_ones_are_shown(tiny_overrides: dict) -> None:
    plan = load_scenario("digits-b0c2", tiny_overrides | {"stream.increment": 1}).plan()
    places = evaluation_places(plan, 4)
    assert [bool(plan.test_truth[place, c] == 1) for place, c in zip(places, (0, 3, 6, 9), strict=True)] == [True] * 4


def test_training_images_show_the_new_classes_in_turn(tiny: Scenario) -> None:
    plan = tiny.plan()
    for index, task in enumerate(plan.tasks):
        places = training_places(plan, index, len(task.columns))
        for column, place in enumerate(places):
            assert task.values[place, column] == 1


def test_a_row_is_shown_once_and_what_is_not_there_is_not_asked_for_again() -> None:
    labels = np.array([[1, 1], [1, 0], [0, 0]], dtype=np.int8)
    assert sorted(row for _, row in showing(labels, [1, 0], 5, "test")) == [0, 1]
    assert showing(labels, [1], 5, "test") == [(1, 0)]
    assert showing(labels, [], 5, "test") == showing(labels, [0], 0, "test") == []


@pytest.mark.parametrize("side", [1, 32, 50, 128, 224])
def test_small_images_are_enlarged_pixel_by_pixel_and_large_ones_reduced(side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (3, side, side), dtype=np.uint8)
    shown = np.asarray(fitted(pixels)).transpose(2, 0, 1)
    factor = max(1, SIDE // side)
    assert shown.shape[1:] == (min(SIDE, factor * side),) * 2
    if side <= SIDE:
        assert np.array_equal(shown[:, ::factor, ::factor], pixels)


def test_a_sheet_has_one_size_whatever_is_said_and_no_sign_is_told_by_colour_alone() -> None:
    image = np.zeros((3, 32, 32), dtype=np.uint8)
    empty = sheet("title", {}, [Tile(image, [])] * 5)
    full = sheet("title", {}, [Tile(image, [("wrong", "a very long name of a class " * 5)] * (LINES + 3), "note")] * 5)
    assert empty.shape == full.shape
    grey = {
        mark: sheet("", {}, [Tile(image, [(mark, "x")])]).min(axis=2)[SIDE:] < 200
        for mark in ("right", "wrong", "missed", "untold", "to come")
    }
    assert len({lines.tobytes() for lines in grey.values()}) == 5


def test_lines_beyond_the_last_are_counted() -> None:
    image = np.zeros((3, 32, 32), dtype=np.uint8)

    def drawn(n: int) -> bytes:
        return sheet("", {}, [Tile(image, [("right", "x")] * n)]).tobytes()

    assert drawn(LINES) != drawn(LINES + 1) != drawn(LINES + 2)
