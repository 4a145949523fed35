from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.summary.writer.record_writer import RecordWriter

from clsim.evaluation.event_file import VERSION, crc32c, event_record
from clsim.evaluation.png import png


@pytest.mark.parametrize("size", [0, 9, 255, 256, 257, 5000])
def test_checksums_are_crc_32c(size: int) -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as slow

    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    assert crc32c(data) == slow(data)
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def test_records_are_those_of_tensorboard() -> None:
    record = event_record(1.5, file_version=VERSION)
    written = io.BytesIO()
    RecordWriter(written).write(record[12:-4])
    assert written.getvalue() == record


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (300, 211, 3)])
def test_pngs_hold_the_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as picture:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), pixels)
