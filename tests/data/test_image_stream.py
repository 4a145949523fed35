"""Images decoded as they are asked for: the pixels of the cache, by any index, announced or not, in any process."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim.data import image_cache
from clsim.data.image_cache import Pixels, Resize, cached_images, decode
from clsim.data.image_stream import StreamedImages
from clsim.errors import ScenarioError

N = 12


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Random pictures of several sizes, in JPEG."""
    paths = [tmp_path / f"{n:02d}.jpg" for n in range(N)]
    for n, path in enumerate(paths):
        noise = np.random.default_rng(n).integers(0, 256, (20 + n, 31 - n, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return paths


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files as they are decoded."""
    names: list[str] = []

    def watched(path: Path, *options: Any) -> Pixels:
        names.append(path.name)
        return decode(path, *options)

    monkeypatch.setattr(image_cache, "decode", watched)
    return names


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_pixels_are_those_of_the_cache_to_the_last_bit(files: list[Path], resize: Resize) -> None:
    files[3].write_bytes(b"bad")
    cache, stream = (kind(files, 16, resize, {3}, 2) for kind in (cached_images, StreamedImages))
    assert (stream.shape, stream.dtype, stream.itemsize, len(stream)) == (cache.shape, cache.dtype, 1, N)
    for rows in (
        np.arange(N),
        np.array([5, 0, 5, 11]),
        np.array([3]),
        np.empty(0, dtype=np.int64),
        np.array([[1], [2]]),
    ):
        given = stream[rows]
        assert given.dtype == np.uint8
        np.testing.assert_array_equal(given, cache[rows])
    np.testing.assert_array_equal(stream[4], cache[4])


def test_nothing_is_decoded_before_it_is_asked_for_and_nothing_is_kept(files: list[Path], decoded: list[str]) -> None:
    stream = StreamedImages(files, 16)
    assert decoded == []
    stream[np.array([2, 2, 7])]
    assert sorted(decoded) == ["02.jpg", "07.jpg"]
    stream[np.array([2])]
    assert len(decoded) == 3


def test_what_was_announced_is_decoded_once_and_gives_the_same(files: list[Path], decoded: list[str]) -> None:
    stream, rows = StreamedImages(files, 16, workers=2), np.array([8, 1, 4])
    stream.prefetch(rows)
    np.testing.assert_array_equal(stream[rows], np.stack([decode(files[row], 16, "squash") for row in rows]))
    assert sorted(decoded) == ["01.jpg", "04.jpg", "08.jpg"]


def test_an_announcement_that_is_not_followed_changes_nothing(files: list[Path]) -> None:
    stream = StreamedImages(files, 16, workers=1)
    for coming, wanted in [([0, 1, 2], [2, 3]), ([4, 5], [0, 5]), ([], [1])]:
        stream.prefetch(np.array(coming, dtype=np.int64))
        np.testing.assert_array_equal(stream[np.array(wanted)], cached_images(files, 16)[wanted])


@pytest.mark.parametrize("announced", [False, True])
def test_a_bad_image_is_an_error_that_names_it_when_it_is_met(files: list[Path], announced: bool) -> None:
    stream = StreamedImages(files, 16)
    files[6].write_bytes(files[6].read_bytes()[:200])
    files[7].unlink()
    if announced:
        stream.prefetch(np.array([5, 6, 7]))
    assert stream[np.array([5])].any()
    with pytest.raises(ScenarioError, match=rf"^{files[6]}: cannot be decoded"):
        stream[np.array([5, 6])]
    with pytest.raises(ScenarioError, match=rf"^{files[7]}: cannot be read: No such file"):
        stream[np.array([7])]


@pytest.mark.parametrize("rows", [[N], [-1], [0, N]])
def test_a_row_that_is_not_there_is_refused(files: list[Path], rows: list[int]) -> None:
    with pytest.raises(IndexError, match=rf"rows are 0\.\.{N - 1}, given"):
        StreamedImages(files, 16)[np.array(rows)]


def test_a_forked_process_decodes_with_threads_of_its_own(files: list[Path]) -> None:
    stream = StreamedImages(files, 16, workers=1)
    stream.prefetch(np.arange(N))
    expected = stream[np.arange(6)].sum()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=lambda: theirs.send(int(stream[np.arange(6)].sum())))
    process.start()
    try:
        assert ours.poll(30), "the forked process waits for threads it does not have"
        assert ours.recv() == expected
    finally:
        process.kill()
        process.join()


def test_a_copy_decodes_too(files: list[Path]) -> None:
    stream = StreamedImages(files, 16)
    stream.prefetch(np.array([0]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stream))[0], stream[0])
