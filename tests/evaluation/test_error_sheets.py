from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from clsim.evaluation.error_sheets import error_sheet, worst_errors
from clsim.scenario import Scenario


def test_the_worst_errors_are_high_negatives_and_low_positives() -> None:
    scores = np.array([3.0, -2.0, 1.0, 9.0, 1.0, 5.0], dtype=np.float32)
    truth = np.array([0, 1, 0, -1, 0, 1], dtype=np.int8)
    found = worst_errors(scores, truth, 2)
    assert found.false_positives.tolist() == [0, 2]  # the unknown entry is neither; of equal scores the first
    assert found.missed.tolist() == [1, 5]
    assert worst_errors(scores, truth, 9).false_positives.tolist() == [0, 2, 4]


def test_a_sheet_has_a_row_of_each_kind_and_shows_the_images_it_names(tiny: Scenario) -> None:
    plan, asked = tiny.plan(), []
    scores = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)

    def pixels(samples: np.ndarray) -> np.ndarray:
        asked.append(samples.tolist())
        return np.zeros((len(samples), 3, 28, 28), dtype=np.uint8)

    sheet = error_sheet(plan, scores, 1, 3, pixels, [str(n) for n in range(40)])
    errors = worst_errors(scores[:, 1], plan.test_truth[:, 1], 3)
    assert asked == [plan.test_samples[errors.false_positives].tolist(), plan.test_samples[errors.missed].tolist()]
    image = Image.open(BytesIO(sheet))
    black = np.asarray(image).max(axis=2) == 0
    assert [bool(black[rows].any()) for rows in (slice(0, 310), slice(310, None))] == [True, True]


def test_a_class_without_a_positive_still_has_its_false_positives(tiny: Scenario) -> None:
    plan = tiny.plan()
    scores = np.zeros((40, 4), dtype=np.float32)
    truth = plan.test_truth.copy()
    truth[:, 0] = 0
    other = replace(plan, test_truth=truth)
    sheet = error_sheet(other, scores, 0, 2, lambda s: np.zeros((len(s), 3, 28, 28), dtype=np.uint8), ["x"] * 40)
    assert Image.open(BytesIO(sheet)).width > 300
