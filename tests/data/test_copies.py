"""Images that are there twice, by their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from clsim.data.check import check_source, copies_of
from clsim.data.copies import Copies
from clsim.data.voc import Voc


def test_copies_in_training_and_test_and_with_other_labels_are_found(devkit: Path, voc: Callable[..., Voc]) -> None:
    folder = devkit / "VOC2007" / "JPEGImages"
    source = voc(devkit, difficult="ignore")
    labels, files = source.labels("train"), list(map(str, source.files("train")))
    assert copies_of(check_source(source)) == Copies()
    other = next(
        row for row in range(2, 24) if ((labels[0] != labels[row]) & (labels[[0, row]].min(axis=0) >= 0)).any()
    )
    with Image.open(files[0]) as image:  # other bytes, the same pixels
        image.save(files[other], format="png")
        image.save(folder / "000025.jpg", format="bmp")
    copies = copies_of(check_source(voc(devkit, difficult="ignore")))
    assert copies.count == 2
    assert copies.in_both == ((files[0], str(folder / "000025.jpg")),)
    assert (files[0], files[other]) in copies.contradicting
    assert copies.summary()["in_training_and_test"] == [[files[0], str(folder / "000025.jpg")]]
    assert copies_of(check_source(source, decode=False)) == Copies()


def test_a_label_that_is_not_known_contradicts_nothing() -> None:
    from clsim.data.copies import Pictures, find_copies

    pictures = Pictures(["a", "b"], [b"1", b"1"], np.array([[1, -1], [1, 0]], dtype=np.int8))
    assert find_copies({"train": pictures}) == Copies(1)


def test_a_file_in_the_lists_of_both_splits_is_no_copy() -> None:
    from clsim.data.copies import Pictures, find_copies

    labels = np.array([[1], [1]], dtype=np.int8)
    both = {"train": Pictures(["a", "b"], [b"1", b"2"], labels), "test": Pictures(["b", "c"], [b"2", b"2"], labels)}
    assert find_copies(both) == Copies(1, (("b", "c"),))
