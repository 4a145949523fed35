from __future__ import annotations

import numpy as np
import pytest

from clsim.evaluation.calibration import reliability
from clsim.evaluation.pictures import (
    EXTREMES,
    MOST_NAMED,
    MOST_NUMBERED,
    class_bars,
    is_pictured,
    label_block_image,
    matrix_image,
    reliability_image,
)

HEAD_BLUE, TAIL_RED = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((image == colour).all(axis=2).mean())


def test_the_matrix_has_a_colour_for_each_value_and_grey_for_what_is_undefined() -> None:
    image = matrix_image(np.array([[0.0, np.nan], [100.0, 50.0]]))
    assert image.dtype == np.uint8
    lowest, middle, highest, undefined = (68, 1, 84), (32, 144, 140), (253, 231, 36), (235, 235, 235)
    shares = [share(image, colour) for colour in (lowest, middle, highest, undefined)]
    assert all(0.08 < one < 0.25 for one in shares)
    empty = matrix_image(np.full((2, 2), np.nan))
    assert share(empty, undefined) > 3 * shares[3]


def test_entries_of_few_tasks_have_numbers() -> None:
    ground = []
    for tasks in (MOST_NUMBERED, MOST_NUMBERED + 1):
        image = matrix_image(np.zeros((tasks, tasks)))
        middle = image[len(image) // 4 : len(image) // 2, len(image) // 4 : len(image) // 2]
        ground.append(share(middle, (68, 1, 84)))
    assert ground[0] < 0.99
    assert ground[1] == 1


def test_pictures_of_many_tasks_do_not_grow_without_end() -> None:
    few, many, more = (matrix_image(np.zeros((tasks, tasks))).shape for tasks in (5, 20, 100))
    assert few < many == more


def length(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of the colour in the row that has most of them, below the legend."""
    return int((image[40:] == colour).all(axis=2).sum(axis=1).max())


def bars(ap: list[float], best: list[float] | None = None) -> np.ndarray:
    group = np.array([0, 2], dtype=np.int8)
    return class_bars(["cat", "$dog$"], np.array(ap), np.array(best or ap), group)


def test_bars_are_as_long_as_the_ap_in_the_colour_of_the_group() -> None:
    image = bars([80.0, 40.0])
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert 1.95 < length(image, HEAD_BLUE) / length(image, TAIL_RED) < 2.05


def test_an_unseen_class_has_its_place_but_no_bar() -> None:
    image = bars([80.0, np.nan])
    assert length(image, TAIL_RED) == 0
    assert image.shape == bars([80.0, 40.0]).shape


def test_what_was_lost_is_marked() -> None:
    ink = [int((bars([40.0, 20.0], best)[40:, 300:] < 80).all(axis=2).sum()) for best in ([40.0, 20.0], [90.0, 20.0])]
    assert ink[1] > ink[0]


def test_pictures_of_many_classes_do_not_grow_without_end() -> None:
    def height(classes: int) -> int:
        names, values = [str(c) for c in range(classes)], np.full(classes, 50.0)
        return len(class_bars(names, values, values, np.zeros(classes, dtype=np.int8)))

    assert height(10) < height(MOST_NAMED) < height(MOST_NAMED + 1) == height(25 * MOST_NAMED) < 1000


def test_a_reliability_diagram_shows_gaps_and_stands_with_any_numbers_of_entries() -> None:
    logits = np.linspace(-4, 4, 200)[:, None]
    wrong = reliability_image(reliability(logits, np.zeros_like(logits)))
    right = reliability_image(
        reliability(logits, np.random.default_rng(0).random((200, 1)) < 1 / (1 + np.exp(-logits)))
    )
    empty = reliability_image(reliability(np.zeros((0, 1)), np.zeros((0, 1))))
    assert wrong.shape == right.shape == empty.shape
    assert share(wrong, TAIL_RED) > 3 * share(right, TAIL_RED)
    assert share(empty, HEAD_BLUE) == share(empty, TAIL_RED) == 0


def test_of_many_classes_only_the_worst_and_the_best_have_bars() -> None:
    ap, group = np.full(10 * EXTREMES, 50.0), np.ones(10 * EXTREMES, dtype=np.int8)
    ap[7 : 7 + EXTREMES], group[7 : 7 + EXTREMES] = 20.0, 2
    ap[70 : 70 + EXTREMES], group[70 : 70 + EXTREMES] = 90.0, 0
    image = class_bars([str(c) for c in range(len(ap))], ap, ap, group)
    bars = image[image.shape[0] // 2 :]  # the quantiles are above
    medium = (0x56, 0xB4, 0xE9)
    assert share(image, medium) > 0
    assert share(bars, medium) == 0
    assert 4.2 < share(bars, HEAD_BLUE) / share(image[300:600], TAIL_RED) * len(bars) / 300 < 4.8


@pytest.mark.parametrize("seen", [0, 1, 30])
def test_a_picture_of_many_classes_stands_with_few_seen(seen: int) -> None:
    ap = np.where(np.arange(100) < seen, 50.0, np.nan)
    assert len(class_bars([str(c) for c in range(100)], ap, ap, np.zeros(100, dtype=np.int8))) < 1000


def test_blocks_of_many_tasks_are_drawn_where_they_are() -> None:
    blocks = np.zeros((100, 100, 4), dtype=np.int64)
    blocks[:50, :50, 0] = blocks[50:, 50:, 3] = 1
    image = label_block_image(blocks, [f"task {t}" for t in range(100)])
    quarter, three = len(image) // 4, 3 * len(image) // 4
    colours = [image[row, column].tolist() for row in (quarter, three) for column in (quarter, three)]
    assert colours == [[0x33] * 3, [255] * 3, [255] * 3, [0xE6] * 3]


@pytest.mark.parametrize(
    ("when", "tasks"),
    [("every", list(range(1, 12))), ("sparse", [1, 2, 4, 8, 11]), ("last", [11]), ("none", [])],
)
def test_pictures_are_drawn_after_the_tasks_that_are_asked_for(when: str, tasks: list[int]) -> None:
    assert [done for done in range(1, 12) if is_pictured(when, done, 11)] == tasks


def test_the_title_of_a_small_square_is_whole() -> None:
    picture = label_block_image(np.ones((2, 2, 4), dtype=np.int64), ["task 0", "task 1"])
    title = picture[4:20]
    assert (title[:, -3:] == 255).all()
    assert (title < 128).any(axis=(0, 2)).nonzero()[0].max() > 300
