from __future__ import annotations

import numpy as np

from clsim.evaluation.pictures import MOST_NAMED, class_bars, matrix_image

HEAD_BLUE, TAIL_RED = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def test_undefined_entries_of_the_matrix_are_grey() -> None:
    image = matrix_image(np.array([[0.0, np.nan], [100.0, 50.0]]))
    assert image.dtype == np.uint8
    assert image[0, -1].tolist() == [235, 235, 235]
    assert len({tuple(image[y, x]) for y, x in [(0, 0), (0, -1), (-1, 0), (-1, -1)]}) == 4


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

    assert height(10) < height(80) < height(MOST_NAMED) == height(5 * MOST_NAMED)
