"""What data sets on disk share: images that cannot be decoded, left out or an error, and where pixels come from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clsim.data import image_files
from clsim.data.coco import Coco, CocoConfig
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_coco, write_manifest
from clsim.data.image_cache import decode
from clsim.data.image_files import ImageFiles, skipped_images
from clsim.data.image_stream import StreamedImages
from clsim.data.manifest import Manifest
from clsim.data.manifest_config import ManifestConfig
from clsim.data.voc import Voc
from clsim.errors import ScenarioError, Unplannable

Make = Callable[..., Voc]


def image(devkit: Path, number: int) -> Path:
    return devkit / "VOC2007" / "JPEGImages" / f"{number:06d}.jpg"


@pytest.fixture
def damaged(devkit: Path) -> Path:
    """Images 3 and 5 of 24 for training and 26, the second for testing, are truncated, empty and a text."""
    image(devkit, 3).write_bytes(image(devkit, 3).read_bytes()[:300])
    image(devkit, 5).write_bytes(b"")
    image(devkit, 26).write_text("no image")
    return devkit


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each reading of a split went through."""
    made: list[int] = []
    read = image_files.bad_rows

    def counted(files: Any, workers: int, window: Any = None) -> Any:
        made.append(len(files))
        return read(files, workers)

    monkeypatch.setattr(image_files, "bad_rows", counted)
    return made


def test_all_labels_of_a_bad_image_are_unknown_and_no_others(damaged: Path, written: Path, voc: Make) -> None:
    source, whole = voc(damaged, on_bad_image="skip"), voc(written)
    for split, rows in (("train", [2, 4]), ("test", [1])):
        expected = whole.labels(split).copy()
        expected[rows] = -1
        np.testing.assert_array_equal(source.labels(split), expected)
        np.testing.assert_array_equal(source.annotations(split), whole.labels(split))
        assert source.bad_images(split).tolist() == rows
        assert not source.labels(split).flags.writeable
    assert skipped_images(source) == {"train": [image(damaged, 3), image(damaged, 5)], "test": [image(damaged, 26)]}


@pytest.mark.parametrize("images", ["cache", "stream"])
def test_zeros_stand_for_what_is_left_out(damaged: Path, voc: Make, images: str) -> None:
    pixels = voc(damaged, on_bad_image="skip", images=images).images("train", 16)
    given = pixels[np.arange(24)]
    assert np.flatnonzero(~given.reshape(24, -1).any(axis=1)).tolist() == [2, 4]
    np.testing.assert_array_equal(given[5], decode(image(damaged, 6), 16, "squash"))
    assert isinstance(pixels, StreamedImages) == (images == "stream")


@pytest.mark.parametrize("images", ["cache", "stream"])
def test_by_default_a_bad_image_is_an_error_and_labels_need_no_images(damaged: Path, voc: Make, images: str) -> None:
    source = voc(damaged, images=images)
    assert (source.labels("train") >= 0).all()
    assert skipped_images(source) == {"train": [], "test": []}
    with pytest.raises(ScenarioError, match=rf"^{image(damaged, 3)}: cannot be decoded"):
        source.images("train", 16)[np.arange(24)]


def test_images_are_read_once_for_as_long_as_they_stay(damaged: Path, voc: Make, readings: list[int]) -> None:
    for _ in range(2):
        source = voc(damaged, on_bad_image="skip")
        source.labels("train")
        source.labels("test")
        source.fingerprint()
    assert readings == [24, 12]
    whole = image(damaged, 4).read_bytes()
    image(damaged, 3).write_bytes(whole)
    assert voc(damaged, on_bad_image="skip").bad_images("train").tolist() == [4]
    state = image(damaged, 3).stat()
    image(damaged, 3).write_bytes(b"\0" * len(whole))
    os.utime(image(damaged, 3), ns=(state.st_atime_ns, state.st_mtime_ns + 1))  # equal in size
    assert voc(damaged, on_bad_image="skip").bad_images("train").tolist() == [2, 4]
    assert readings == [24, 12, 24, 24]


def test_other_lists_of_files_do_not_take_each_others_place(
    damaged: Path, voc: Make, tmp_path: Path, readings: list[int]
) -> None:
    (tmp_path / "ids.txt").write_text("000001\n000005\n")
    for _ in range(2):
        assert voc(damaged, on_bad_image="skip").bad_images("train").tolist() == [2, 4]
        assert voc(damaged, on_bad_image="skip", ids=str(tmp_path / "ids.txt")).bad_images("train").tolist() == [1]
    assert readings == [24, 2]


def test_without_the_option_nothing_is_read(damaged: Path, voc: Make, readings: list[int]) -> None:
    source = voc(damaged)
    source.labels("train")
    source.fingerprint()
    assert readings == []


def test_a_missing_image_stays_an_error(damaged: Path, voc: Make) -> None:
    image(damaged, 7).unlink()
    source = voc(damaged, on_bad_image="skip")
    assert len(source.annotations("train")) == 24
    for ask in (source.labels, source.bad_images):
        with pytest.raises(Unplannable, match=r"000007\.jpg: no such file \(1 of 24 images of train are missing\)"):
            ask("train")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_image_that_may_not_be_read_stays_an_error(damaged: Path, voc: Make) -> None:
    image(damaged, 7).chmod(0)
    with pytest.raises(ScenarioError, match=r"000007\.jpg: cannot be read: Permission denied"):
        voc(damaged, on_bad_image="skip").labels("train")


def test_a_split_of_bad_images_only_is_an_error(devkit: Path, voc: Make) -> None:
    for number in range(25, 37):
        image(devkit, number).write_bytes(b"")
    source = voc(devkit, on_bad_image="skip")
    assert len(source.labels("train")) == 24
    first = image(devkit, 25)
    with pytest.raises(ScenarioError, match=rf"^none of the 12 images of test can be decoded, the first is {first}"):
        source.labels("test")


def test_the_fingerprint_says_what_is_left_out_and_nothing_of_how_pixels_are_read(
    written: Path, damaged: Path, voc: Make
) -> None:
    plain = voc(written).fingerprint()
    assert voc(written, on_bad_image="skip", images="stream", workers=3).fingerprint() == plain
    assert voc(damaged, on_bad_image="skip").fingerprint() != voc(damaged).fingerprint()


def test_the_number_of_threads_changes_no_pixel(written: Path, voc: Make) -> None:
    one, many = (voc(written, images="stream", workers=workers).images("test", 20) for workers in (1, 5))
    np.testing.assert_array_equal(one[np.arange(12)], many[np.arange(12)])


def coco(root: Path, **options: Any) -> ImageFiles:
    write_coco(Digits(DigitsConfig(name="digits", train=6, test=4)), root, 28)
    return Coco(CocoConfig(name="coco", root=str(root), **options))


def manifest(root: Path, **options: Any) -> ImageFiles:
    file = write_manifest(Digits(DigitsConfig(name="digits", train=6, test=4)), root, 28)
    return Manifest(ManifestConfig(name="manifest", file=str(file), label_columns="rest", **options))


@pytest.mark.parametrize("make", [coco, manifest])
def test_other_data_sets_on_disk_can_do_the_same(make: Callable[..., ImageFiles], tmp_path: Path) -> None:
    source = make(tmp_path / "data", on_bad_image="skip", images="stream")
    file = source.files("train")[2]
    whole = np.asarray(source.images("train", 28)[np.arange(6)])
    file.write_bytes(file.read_bytes()[:-200])
    again = type(source)(source.config)  # type: ignore[attr-defined]
    assert np.flatnonzero((again.labels("train") == -1).all(axis=1)).tolist() == [2]
    assert (again.labels("test") >= 0).all()
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(again.images("train", 28)[np.array(kept)], whole[kept])


def test_how_images_are_read_is_no_matter_of_the_labels_cached_for_a_manifest(tmp_path: Path, own_cache: Path) -> None:
    source = manifest(tmp_path / "data")
    source.labels("train")
    (entry,) = (own_cache / "labels").iterdir()
    stamp = entry.stat().st_mtime_ns
    again = type(source)(source.config.model_copy(update={"images": "stream", "resize": "crop"}))  # type: ignore
    again.labels("train")
    assert [(path, path.stat().st_mtime_ns) for path in (own_cache / "labels").iterdir()] == [(entry, stamp)]


@pytest.mark.parametrize("options", [{"on_bad_image": "ignore"}, {"images": "disk"}, {"workers": 0}, {"workers": "4"}])
def test_options_are_checked(written: Path, voc: Make, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        voc(written, **options)


def test_images_made_in_memory_are_never_left_out(scenes: Digits) -> None:
    assert skipped_images(scenes) == {"train": [], "test": []}


def test_a_reading_is_told(written: Path, voc: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="clsim"):
        voc(written, on_bad_image="skip").labels("test")
    assert "reading 12 images, once, to see which cannot be decoded" in caplog.text


def test_no_black_image_is_written_for_one_that_is_left_out(damaged: Path, voc: Make, tmp_path: Path) -> None:
    with pytest.raises(
        ScenarioError, match=r"^3 images cannot be decoded, the first is .*000003\.jpg; a data set that"
    ):
        write_manifest(voc(damaged, on_bad_image="skip"), tmp_path / "copy", 28)
    assert not (tmp_path / "copy").exists()


def test_a_streamed_data_set_is_written_like_any_other(written: Path, voc: Make, tmp_path: Path) -> None:
    tables = [
        write_manifest(voc(written, images=images), tmp_path / f"from-{images}", 28) for images in ("cache", "stream")
    ]
    first, second = (sorted(table.parent.rglob("*.jpg")) for table in tables)
    assert len(first) == 36
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
