"""Images decoded once: a memory map of uint8 pixels for each list of files, size and way of resizing.

How a file becomes pixels is decided here too, for the cache and for `StreamedImages`. The cache file is addressed by
the content of every image, so a changed image is decoded again. It grows chunk by chunk with a checksum each, so a
killed build goes on where it stopped; a second process waits for the first; the finished file appears whole, by
renaming. It ends with the checksums, which are compared whenever it is opened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from clsim.cores import usable_cores
from clsim.data.cache import cache_folder, make_private, refuse_foreign
from clsim.data.checked_files import checksum, map_checked, packed_checksums
from clsim.data.content import content_hashes
from clsim.data.pixel_depth import to_rgb
from clsim.errors import ScenarioError
from clsim.file_lock import open_locked
from clsim.files import write_atomically
from clsim.preparation import tell

if TYPE_CHECKING:
    from PIL import Image

Resize = Literal["squash", "crop"]
Pixels = NDArray[np.uint8]

FORMAT = 2  # a change of decode() that changes pixels bumps it
CHUNK = 128  # images between two entries of the progress file
DEFAULT_LIMIT_GB = 50.0
MOST_PIXELS, LONGEST_SIDE = 2**26, 65_535
"""DECIDED: 67 megapixels, more than photographs have; a small file can pretend to many more, which would take seconds
and gigabytes to decode. The longest side is JPEG's."""
FORMATS = (
    *("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM"),
    *("JPEG2000", "AVIF", "TGA", "ICO", "PCX"),
)
"""What a file is tried as, whatever its name. DECIDED: no format that Pillow hands to another program (EPS)."""
log = logging.getLogger("clsim")


class BadImage(ScenarioError):
    """A file whose bytes were read and are no image, or not a whole one."""


def read_image(path: Path, window: list[float] | None = None) -> Image.Image:
    """Decode one image file, RGB of 8 bits per channel; see `to_rgb` for deeper ones and `window`.

    DECIDED: stored pixels as they are, without EXIF rotation, as torchvision's loaders do.

    Raises:
        BadImage: not an image, truncated, or too large to be one; with the path.
        ScenarioError: the file cannot be read: it is not there, or the disk fails.
    """
    from PIL import Image  # here, because plans need labels only and must stay cheap

    try:
        with Image.open(path, formats=_formats()) as file:
            width, height = file.size
            if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
                text = f"{width} x {height} pixels; allowed: {MOST_PIXELS} in all and {LONGEST_SIDE} a side"
                raise BadImage([f"{path}: cannot be decoded as an image: {text}"])
            image = to_rgb(file, window)
    except (MemoryError, BadImage):
        raise
    except Exception as error:  # Pillow's decoders answer damaged bytes with almost any kind
        if isinstance(error, OSError) and error.errno is not None:  # says nothing about the image
            raise ScenarioError([f"{path}: cannot be read: {error.strerror}"]) from None
        raise BadImage([f"{path}: cannot be decoded as an image: {error}"]) from None
    if 0 in image.size:
        raise BadImage([f"{path}: cannot be decoded as an image: it has no pixels"])
    return image


@cache
def _formats() -> list[str]:
    """Return those of FORMATS that this version of Pillow knows."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def decode(path: Path, size: int, resize: Resize, window: list[float] | None = None) -> Pixels:
    """Decode one image file as uint8 [3, size, size], RGB; see `to_rgb` and `to_square`.

    Raises:
        BadImage, ScenarioError: as `read_image`.
    """
    return to_square(read_image(path, window), size, resize)


def to_square(image: Image.Image, size: int, resize: Resize) -> Pixels:
    """Resize an RGB image to uint8 [3, size, size].

    squash scales the whole image, crop the square at its centre. Bilinear, antialiased.
    """
    from PIL import Image

    width, height = image.size
    side = min(width, height)
    centre = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    box = centre if resize == "crop" else (0, 0, width, height)
    scaled = image.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.ascontiguousarray(np.asarray(scaled, dtype=np.uint8).transpose(2, 0, 1))


def decode_row(
    files: Sequence[Path | str],
    row: int,
    size: int,
    resize: Resize,
    blank: Collection[int],
    window: list[float] | None = None,
) -> Pixels:
    """The image of a row, uint8 [3, size, size]: zeros for a row of `blank`, whose file is not looked at.

    Raises:
        ScenarioError: the image is missing or cannot be decoded; with its path.
    """
    if row in blank:
        return np.zeros((3, size, size), dtype=np.uint8)
    try:
        return decode(Path(files[row]), size, resize, window)
    except BadImage as error:
        raise ScenarioError([f"{error}; dataset.on_bad_image: skip leaves such images out"]) from None


def cached_images(
    files: Sequence[Path | str],
    size: int,
    resize: Resize = "squash",
    blank: Collection[int] = frozenset(),
    workers: int | None = None,
    window: list[float] | None = None,
) -> Pixels:
    """All images, uint8 [N, 3, size, size], RGB; a read-only memory map of a file in the cache folder.

    DECIDED: one bad image that is not in `blank` is an error, not left out: a plan depends on labels alone, and must
    not change with what can be decoded.

    Args:
        files: of the N images.
        size: side in pixels.
        resize: how images become squares.
        blank: rows of images that are known to be bad; zeros take their place.
        workers: threads that decode; None: one a core.
        window: as in `to_rgb`.

    Raises:
        ScenarioError: a file is missing or cannot be decoded, or changes meanwhile; the cache folder cannot be written,
            or the images do not fit under $CLSIM_CACHE_GB (default 50) or on the disk.
    """
    contents = image_contents(files)
    made_by = ("images", FORMAT, size, resize, version("pillow"), sorted(blank), window)
    key = hashlib.sha256(repr(made_by).encode() + contents).hexdigest()
    shape = (len(files), 3, size, size)
    path = cache_folder() / "images" / f"{key}.npy"
    pixels = _open(path, shape)
    if pixels is not None:
        return pixels
    try:
        make_private(path.parent)
        with _building(path) as part:
            pixels = _open(path, shape)  # another process has built it while this one waited
            if pixels is None:
                path.unlink(missing_ok=True)  # a damaged one
                _build(part, path, shape, lambda row: decode_row(files, row, size, resize, blank, window), workers)
                _finish(path, image_contents(files) == contents)
                pixels = _open(path, shape)
    except OSError as error:
        raise ScenarioError(
            [f"{error.filename or path}: the image cache cannot be written: {error.strerror or error}"]
        ) from None
    assert pixels is not None
    return pixels


def image_contents(files: Sequence[Path | str]) -> bytes:
    """Return the SHA-256 of each file, one after the other, 32 bytes each.

    Raises:
        ScenarioError: a file is missing or cannot be read; with its path.
    """
    try:
        return content_hashes(files).tobytes()
    except OSError as error:
        raise ScenarioError([f"{error.filename}: cannot be read: {error.strerror or error}"]) from None


def _open(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    """Return the finished file after a look at all of it; None if there is none or a damaged one."""
    return map_checked(path, shape, np.uint8, CHUNK)


@contextmanager
def _building(path: Path) -> Iterator[IO[bytes]]:
    """Open the unfinished file, locked against a second process; one that another user may have written is removed."""
    part = path.with_suffix(".part")
    try:
        refuse_foreign(part)
    except FileNotFoundError:
        pass
    except OSError:
        part.unlink()
    with open_locked(part, _report_waiting) as file:
        os.fchmod(file.fileno(), 0o600)
        yield file
        if path.is_file() and os.fstat(file.fileno()).st_size == 0:
            part.unlink(missing_ok=True)


def _report_waiting() -> None:
    log.info("waiting for another process that decodes the same images")
    tell("waiting for another process that decodes")


def _build(
    part: IO[bytes], path: Path, shape: tuple[int, ...], decoded: Callable[[int], Pixels], workers: int | None
) -> None:
    """Fill the unfinished file with the image of each row and the checksums."""
    n, size = shape[0], shape[-1]
    bytes_a_chunk = CHUNK * 3 * size * size
    progress = path.with_suffix(".progress")
    part.seek(0)
    np.lib.format.write_array_header_1_0(part, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start = part.tell()
    _check_room(path.parent, start + int(np.prod(shape)) - os.fstat(part.fileno()).st_size)
    checksums = _intact(part, progress, bytes_a_chunk)
    part.seek(start + len(checksums) * bytes_a_chunk)
    log.info("decoding %d images to %d px, once, in %s", n, size, path)
    room = np.empty((CHUNK, *shape[1:]), dtype=np.uint8)
    with ThreadPoolExecutor(workers or usable_cores()) as pool:  # Pillow decodes outside the interpreter lock
        for first in range(len(checksums) * CHUNK, n, CHUNK):
            tell("decoding", first, n)
            chunk = room[: n - first]
            for place, image in enumerate(pool.map(decoded, range(first, first + len(chunk)))):
                chunk[place] = image
            part.write(chunk.data)
            part.flush()
            checksums.append(checksum(chunk))
            write_atomically(progress, json.dumps(checksums))
        tell("decoding", n, n)
    part.write(packed_checksums(checksums))
    part.truncate()
    part.flush()
    os.fsync(part.fileno())


def _finish(path: Path, unchanged: bool) -> None:
    """Make the unfinished file the finished one; remove it if it may hold pixels of other images."""
    part = path.with_suffix(".part")
    if unchanged:
        os.replace(part, path)
    else:
        part.unlink()
    path.with_suffix(".progress").unlink(missing_ok=True)
    if not unchanged:
        raise ScenarioError(["image files changed while they were decoded; start again when nothing writes to them"])


def _intact(part: IO[bytes], progress: Path, bytes_a_chunk: int) -> list[int]:
    """Checksums of the leading chunks that an earlier build has left whole; `part` stands behind the header."""
    try:
        recorded = json.loads(progress.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    intact: list[int] = []
    for expected in recorded if isinstance(recorded, list) else []:
        chunk = part.read(bytes_a_chunk)
        if len(chunk) < bytes_a_chunk or checksum(chunk) != expected:
            break
        intact.append(expected)
    return intact


def _check_room(folder: Path, wanted: int) -> None:
    """Raise ScenarioError if the images do not fit under the limit or on the disk."""
    limit = _limit()
    used = sum(_size(file) for file in folder.iterdir() if file.suffix in (".npy", ".part"))
    instead = "set dataset.images: stream, which decodes as it goes and keeps nothing"
    advice = f"remove files in {folder}, take a smaller training.model.image_size, raise CLSIM_CACHE_GB, or {instead}"
    if used + wanted > limit * 1e9:
        text = f"image cache: {wanted / 1e9:.2f} GB more would make {(used + wanted) / 1e9:.2f} GB"
        raise ScenarioError([f"{text}, above the limit of {limit:g} GB; {advice}"])
    free = shutil.disk_usage(folder).free
    if wanted > free:
        text = f"image cache: {wanted / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free in {folder}"
        raise ScenarioError([f"{text}; set CLSIM_CACHE to a folder on a larger disk, or {instead}"])


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # renamed by another process
        return 0


def _limit() -> float:
    given = os.environ.get("CLSIM_CACHE_GB", "")
    try:
        limit = float(given) if given else DEFAULT_LIMIT_GB
    except ValueError:
        limit = -1.0
    if not limit > 0:
        raise ScenarioError([f"CLSIM_CACHE_GB: given {given!r}, allowed: a number of gigabytes above 0"])
    return limit
