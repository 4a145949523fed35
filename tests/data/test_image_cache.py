"""The image cache: pixels, what makes a new entry, killed and concurrent builds, bad images, the limit."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clsim.data import image_cache
from clsim.data.image_cache import CHUNK, BadImage, cached_images, decode
from clsim.errors import ScenarioError


def picture(path: Path, width: int, height: int, mode: str = "RGB", seed: int = 0) -> Path:
    """A smooth random picture as a lossless file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [picture(tmp_path / f"{n:03d}.png", 12, 10, seed=n) for n in range(CHUNK + 20)]


def expected(files: list[Path], size: int) -> NDArray[np.uint8]:
    return np.stack([decode(file, size, "squash") for file in files])


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "images").iterdir())


# --- decoding


def halves(path: Path, width: int, height: int) -> Path:
    """Left third red, middle third green, right third blue (thirds of the longer side)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    along = np.arange(max(width, height)) * 3 // max(width, height)
    colours = np.eye(3, dtype=np.uint8)[along] * 255
    pixels[:] = colours[None] if width > height else colours[:, None]
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("width", "height"), [(90, 30), (30, 90)])
def test_crop_keeps_the_centre_and_squash_keeps_all(tmp_path: Path, width: int, height: int) -> None:
    file = halves(tmp_path / "a.png", width, height)
    cropped, squashed = decode(file, 30, "crop"), decode(file, 30, "squash")
    green = np.array([0, 255, 0])
    assert (cropped == green[:, None, None]).all()
    middle = squashed[:, 15, :] if width > height else squashed[:, :, 15]
    assert middle[:, [2, 15, 27]].T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_square_image_of_the_right_size_is_left_alone(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png", 24, 24)
    stored = np.asarray(Image.open(file)).transpose(2, 0, 1)
    for resize in ("squash", "crop"):
        np.testing.assert_array_equal(decode(file, 24, resize), stored)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = decode(picture(tmp_path / "a.png", 20, 16, mode), 8, "crop")
    assert image.shape == (3, 8, 8)
    assert image.dtype == np.uint8
    if mode == "L":
        assert (image[0] == image[1]).all()


RAMP = np.linspace(0, 4095, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("name", "stored", "window"),
    [
        ("a.png", (RAMP * 65535 / 4095).astype(np.uint16), None),
        ("a.tif", (RAMP * 65535 / 4095).astype(np.uint16), None),
        ("a.jp2", (RAMP * 65535 / 4095).astype(np.uint16), None),
        ("a.pgm", (RAMP * 65535 / 4095).astype(np.uint16), None),
        ("a.png", RAMP.astype(np.uint16), [0, 4095]),
        ("a.tif", RAMP.astype(np.int32), [0, 4095]),
        ("a.tif", (RAMP / 4095).astype(np.float32), [0, 1.0]),
    ],
)
def test_grey_values_of_more_than_8_bits_are_scaled(tmp_path: Path, name: str, stored: Any, window: Any) -> None:
    if name == "a.pgm":  # which Pillow 10.1 cannot write
        (tmp_path / name).write_bytes(b"P5 8 8 65535\n" + stored.astype(">u2").tobytes())
    else:
        Image.fromarray(stored).save(tmp_path / name)
    image = decode(tmp_path / name, 8, "squash", window)
    np.testing.assert_allclose(image, np.broadcast_to(RAMP * 255 / 4095, (3, 8, 8)), atol=1.01)
    assert (cached_images([tmp_path / name], 8, window=window)[0] == image).all()


def test_a_window_cuts_off_what_lies_outside(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.png")
    narrow = decode(tmp_path / "a.png", 8, "squash", [1000, 2000])
    expected = np.rint((np.clip(RAMP.astype(int), 1000, 2000) - 1000) * 255 / 1000)
    np.testing.assert_array_equal(narrow, np.broadcast_to(expected, (3, 8, 8)))
    assert (
        decode(picture(tmp_path / "b.png", 8, 8), 8, "squash", [0, 9]) == decode(tmp_path / "b.png", 8, "squash")
    ).all()


@pytest.mark.parametrize(
    ("stored", "told"),
    [(RAMP.astype(np.int32), "32 bits or signed"), (RAMP.astype(np.float32), "floating point")],
)
def test_pixels_without_a_defined_range_are_refused(tmp_path: Path, stored: Any, told: str) -> None:
    Image.fromarray(stored).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match=rf"a.tif: .*{told}.* no defined range; dataset.window: \[low, high\] gives one"):
        decode(tmp_path / "a.tif", 8, "squash")


def test_a_file_of_another_name_is_not_handed_to_another_program(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match="cannot identify image file"):
        decode(tmp_path / "a.jpg", 8, "squash")


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "chunk", "no pixels"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "bad.jpg"
    picture(file, 64, 64)
    jpeg = file.read_bytes()
    content = {
        "truncated": jpeg[: len(jpeg) // 2],
        "text": b"GIF? no",
        "empty": b"",
        "chunk": png_with_a_broken_chunk(tmp_path),
        "no pixels": b"GIF89a\0\0\0\0\0\0\0,\0\0\0\0\0\0\0\0\0\2\1\0\0;",
    }
    file.write_bytes(content[kind])
    with pytest.raises(BadImage, match=rf"^{file}: cannot be decoded as an image: "):
        decode(file, 16, "squash")


def png_with_a_broken_chunk(folder: Path) -> bytes:
    content = bytearray(picture(folder / "whole.png", 64, 64).read_bytes())
    content[content.index(b"IDAT") + 30] ^= 255
    return bytes(content)


@pytest.mark.parametrize("error", [struct.error("unpack"), IndexError("index"), EOFError(), AssertionError("bits")])
def test_whatever_pillow_raises_on_damaged_bytes_makes_a_bad_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    file = picture(tmp_path / "a.png", 8, 8)
    monkeypatch.setattr(Image.Image, "convert", failing_with(error))
    with pytest.raises(BadImage, match=rf"^{file}: cannot be decoded"):
        decode(file, 8, "squash")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_failing_disk_says_nothing_about_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    file = picture(tmp_path / "a.png", 8, 8)
    monkeypatch.setattr(Image.Image, "convert", failing_with(error))
    with pytest.raises((ScenarioError, MemoryError)) as caught:
        decode(file, 8, "squash")
    assert not isinstance(caught.value, BadImage)
    assert isinstance(error, MemoryError) or str(caught.value) == f"{file}: cannot be read: Input/output error"


def failing_with(error: Exception) -> Any:
    def fail(*arguments: Any) -> Any:
        raise error

    return fail


def test_a_file_that_is_not_there_is_no_bad_image(tmp_path: Path) -> None:
    for file in (tmp_path / "gone.jpg", tmp_path):
        with pytest.raises(ScenarioError, match=rf"^{file}: cannot be read: ") as caught:
            decode(file, 8, "squash")
        assert not isinstance(caught.value, BadImage)


# --- the cache


def test_images_come_from_a_read_only_map(files: list[Path], own_cache: Path) -> None:
    images = cached_images(files, 8)
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    np.testing.assert_array_equal(images, expected(files, 8))
    assert [path.suffix for path in entries(own_cache)] == [".npy"]


def test_a_second_call_decodes_nothing(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(cached_images(files, 8))
    monkeypatch.setattr(image_cache, "decode", lambda *arguments: pytest.fail("decoded again"))
    np.testing.assert_array_equal(cached_images(files, 8), first)


def test_size_resizing_order_and_content_make_another_entry(files: list[Path], own_cache: Path) -> None:
    few = files[:3]
    calls: list[tuple[list[Path], int, Any]] = [(few, 8, "squash"), (few, 9, "squash"), (few, 8, "crop")]
    for number, (given, size, resize) in enumerate([*calls, (few[::-1], 8, "squash")], start=1):
        cached_images(given, size, resize)
        assert len(entries(own_cache)) == number
    picture(few[1], 12, 10, seed=99)
    np.testing.assert_array_equal(cached_images(few, 8), expected(few, 8))
    assert len(entries(own_cache)) == 5


def test_a_truncated_entry_is_built_again(files: list[Path], own_cache: Path) -> None:
    before = np.array(cached_images(files, 8))
    (path,) = entries(own_cache)
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(cached_images(files, 8), before)
    path.write_bytes(b"")
    np.testing.assert_array_equal(cached_images(files, 8), before)
    assert len(entries(own_cache)) == 1


@pytest.mark.parametrize("at", [90, 500, -900, -1])
def test_a_changed_byte_is_noticed(
    files: list[Path], own_cache: Path, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    before = np.array(cached_images(files, 8))
    (path,) = entries(own_cache)
    whole = bytearray(path.read_bytes())
    whole[at] ^= 0x04
    path.write_bytes(whole)
    np.testing.assert_array_equal(cached_images(files, 8), before)
    assert f"{path}: damaged, thrown away" in caplog.text
    assert len(entries(own_cache)) == 1


def test_a_picture_edited_under_equal_size_and_time_is_decoded_again(tmp_path: Path) -> None:
    file = tmp_path / "picture.bmp"
    Image.new("RGB", (8, 8), (1, 2, 3)).save(file)
    assert cached_images([file], 8)[0, :, 0, 0].tolist() == [1, 2, 3]
    stat = file.stat()
    Image.new("RGB", (8, 8), (4, 5, 6)).save(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    assert cached_images([file], 8)[0, :, 0, 0].tolist() == [4, 5, 6]


def test_equal_files_elsewhere_share_an_entry(files: list[Path], own_cache: Path, tmp_path: Path) -> None:
    copies = [Path(shutil.copy(file, tmp_path / f"copy{file.name}")) for file in files[:3]]
    for few in (files[:3], copies):
        np.testing.assert_array_equal(cached_images(few, 8), expected(few, 8))
    assert len(entries(own_cache)) == 1


class Interrupted(Exception):
    pass


def interrupted(files: list[Path], after: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Build until `after` images are decoded; then build on. Names of the files decoded by the second build."""
    decoded: list[str] = []

    def stopping(path: Path, *options: Any) -> Any:
        if len(decoded) == after:
            raise Interrupted
        decoded.append(path.name)
        return decode(path, *options)

    monkeypatch.setattr(image_cache, "decode", stopping)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    with pytest.raises(Interrupted):
        cached_images(files, 8)
    decoded.clear()
    after = -1
    cached_images(files, 8)
    return decoded


def test_an_interrupted_build_goes_on_where_it_stopped(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = interrupted(files, CHUNK + 5, monkeypatch)
    assert again == [file.name for file in files[CHUNK:]]
    np.testing.assert_array_equal(cached_images(files, 8), expected(files, 8))
    assert [path.suffix for path in entries(own_cache)] == [".npy"]


@pytest.mark.parametrize("damage", ["chunk", "progress", "length"])
def test_a_damaged_unfinished_build_is_not_trusted(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    def failing(path: Path, *options: Any) -> Any:
        if path == files[CHUNK]:
            raise Interrupted
        return decode(path, *options)

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "decode", failing)
        with pytest.raises(Interrupted):
            cached_images(files, 8)
    part, progress = entries(own_cache)
    assert (part.suffix, progress.suffix) == (".part", ".progress")
    if damage == "chunk":
        content = bytearray(part.read_bytes())
        content[500] ^= 1
        part.write_bytes(content)
    elif damage == "length":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        progress.write_text("[1, 2, ")
    np.testing.assert_array_equal(cached_images(files, 8), expected(files, 8))


BUILD = """
import sys, time
from pathlib import Path
from clsim.data import image_cache
slow, folder = float(sys.argv[1]), Path(sys.argv[2])
decode = image_cache.decode
def counted(path, *options):
    print(path.name, flush=True)
    time.sleep(slow)
    return decode(path, *options)
image_cache.decode = counted
files = sorted(folder.glob("*.png"))
print("sum", int(image_cache.cached_images(files, 8).sum()), flush=True)
"""


def builder(slow: float, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD, str(slow), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_share_the_work_of_one(files: list[Path], own_cache: Path) -> None:
    both = [builder(0.002, files[0].parent) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    sums = {line for output in outputs for line in output if line.startswith("sum")}
    assert sums == {f"sum {int(expected(files, 8).sum())}"}
    assert sorted(len(output) - 1 for output in outputs) == [0, len(files)]
    assert [path.suffix for path in entries(own_cache)] == [".npy"]


def test_a_killed_process_leaves_no_lock_and_no_lie(files: list[Path], own_cache: Path) -> None:
    first = builder(0.01, files[0].parent)
    deadline = time.monotonic() + 30
    while not list(own_cache.glob("images/*.progress")) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=10)
    second = builder(0, files[0].parent)
    lines = second.communicate(timeout=30)[0].splitlines()
    assert lines[-1] == f"sum {int(expected(files, 8).sum())}"
    assert len(lines) - 1 == len(files) - CHUNK


# --- what can go wrong


def test_a_bad_image_is_an_error_that_names_it(files: list[Path]) -> None:
    files[7].write_bytes(files[7].read_bytes()[:40])
    with pytest.raises(ScenarioError, match=rf"^{files[7]}: cannot be decoded.*; dataset\.on_bad_image: skip leaves"):
        cached_images(files, 8)
    picture(files[7], 12, 10, seed=7)
    assert cached_images(files, 8).shape == (len(files), 3, 8, 8)


def test_zeros_take_the_place_of_images_that_are_known_to_be_bad(files: list[Path], own_cache: Path) -> None:
    files[7].write_bytes(b"no image")
    images = np.array(cached_images(files, 8, blank={7, 130}))
    assert not images[[7, 130]].any()
    others = [row for row in range(len(files)) if row not in (7, 130)]
    np.testing.assert_array_equal(images[others], expected([files[row] for row in others], 8))
    picture(files[7], 12, 10, seed=7)
    assert cached_images(files, 8)[130].any(), "an entry of its own"
    assert len(entries(own_cache)) == 2


def test_a_missing_image_is_an_error_that_names_it(files: list[Path]) -> None:
    files[7].unlink()
    with pytest.raises(ScenarioError, match=rf"^{files[7]}: cannot be read: No such file"):
        cached_images(files, 8)


def test_the_limit_is_told_before_anything_is_decoded(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_images(files[:100], 8)  # 19,200 bytes and a header
    monkeypatch.setattr(image_cache, "decode", lambda *arguments: pytest.fail("decoded"))
    monkeypatch.setenv("CLSIM_CACHE_GB", "3e-5")
    with pytest.raises(ScenarioError, match=r"above the limit of 3e-05 GB; remove files in .*raise CLSIM_CACHE_GB, or"):
        cached_images(files, 8)
    assert cached_images(files[:100], 8).shape[0] == 100, "what is there already may be used"
    monkeypatch.undo()
    monkeypatch.setenv("CLSIM_CACHE", str(own_cache))
    monkeypatch.setenv("CLSIM_CACHE_GB", "6e-5")
    assert len(cached_images(files, 8)) == len(files)


@pytest.mark.parametrize("given", ["lots", "0", "-1", "nan"])
def test_a_limit_that_is_no_number_is_refused(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("CLSIM_CACHE_GB", given)
    with pytest.raises(ScenarioError, match=rf"^CLSIM_CACHE_GB: given '{given}', allowed: a number of gigabytes"):
        cached_images(files, 8)


def test_a_full_disk_is_told(files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ScenarioError, match=r"0\.00 GB are free .*set CLSIM_CACHE to a folder on a larger disk"):
        cached_images(files, 8)


def test_a_cache_that_cannot_be_written_is_told(files: list[Path], own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    with pytest.raises(ScenarioError, match=rf"^{own_cache}.*the image cache cannot be written: "):
        cached_images(files, 8)


@pytest.mark.filterwarnings("ignore:Image size")  # Pillow's own, at a higher limit
@pytest.mark.parametrize(("width", "height"), [(13_000, 13_000), (1, 65_536), (2**31 - 1, 2**31 - 1)])
def test_a_small_file_that_pretends_to_be_huge_is_not_decoded(tmp_path: Path, width: int, height: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    file = tmp_path / "bomb.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    with pytest.raises(BadImage, match=rf"bomb\.png: cannot be decoded as an image: .*({width} x {height}|limit)"):
        decode(file, 8, "squash")
