"""TensorBoard event files: their records, and a file that can be continued."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from clsim.evaluation.png import png
from clsim.files import GrowingFile

VERSION = "brain.Event:2"
"""What the first record of an event file says of its format."""
_BLOCK = 256
"""Bytes whose checksum is looked up together."""
_START, _FOUR = bytes.fromhex("54641f64"), np.arange(4)
"""Bytes that take a checksum from 0, where zeros leave it, to 0xFFFFFFFF, where CRC-32C begins."""


def event_record(wall_time: float, **content: Any) -> bytes:
    """Return a record of an event file: its length, its content, and the masked checksum of either.

    Args:
        wall_time: seconds since 1970.
        content: further fields of TensorBoard's `Event`: file_version, summary, step.
    """
    body = Event(wall_time=wall_time, **content).SerializeToString()
    length = struct.pack("<Q", len(body))
    return length + _masked(crc32c(length)) + body + _masked(crc32c(body))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes, with NumPy: TensorBoard's own takes byte by byte in Python, 40 times as long."""
    table, size = _crc_table(), len(_START) + len(data)
    blocks = np.frombuffer(bytes(-size % _BLOCK) + _START + data, np.uint8).reshape(-1, _BLOCK)
    first, *parts = np.bitwise_xor.reduce(table[np.arange(_BLOCK), blocks], axis=1)
    for part in parts:  # the four bytes of a checksum count as the first four of the block that follows
        first = part ^ np.bitwise_xor.reduce(table[_FOUR, first[None].view(np.uint8)])
    return int(first) ^ 0xFFFFFFFF


@cache
def _crc_table() -> NDArray[np.uint32]:
    """Return what a byte adds to a checksum, uint32 [_BLOCK, 256], by its place in a block."""
    entries: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        entries = ((entries >> 1) ^ np.where(entries & 1, 0x82F63B78, 0)).astype(np.uint32)
    table = [entries]
    while len(table) < _BLOCK:
        table.append(entries[table[-1] & 255] ^ (table[-1] >> 8))
    return np.stack(table[::-1])


def _masked(crc: int) -> bytes:
    """Return a checksum in the form in which records hold it."""
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def scalars(values: Iterable[tuple[str, float]]) -> Summary:
    """Return one summary of many scalars, pairs (tag, value)."""
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])


class EventFile:
    """The one event file of a run.

    DECIDED: not torch's SummaryWriter. That one begins a file at each start, named after the clock, so that the curves
    of a resumed run would lie in several files, in the wrong order if the clock was set back; and it writes in a thread
    of its own, so that a full disk shows late or never. Here an event is written when `add` returns. A file that was
    cut back and continued gets records of the same lengths again, so a TensorBoard that is open meanwhile finds its
    place.

    Args:
        path: of the file; TensorBoard reads what has `tfevents` in its name.
    """

    def __init__(self, path: Path) -> None:
        self.file = GrowingFile(path)

    def begin(self) -> bool:
        """Write the head that each event file has, unless it is there; whether it was not."""
        if self.file.read():
            return False
        self._write(file_version=VERSION)
        return True

    def add(self, summary: Any, step: int | None = None) -> None:
        """Write a summary, a protocol buffer of `torch.utils.tensorboard.summary`, at a step."""
        self._write(summary=summary, step=step)

    def picture(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Write a picture, uint8 [H, W, 3], as a PNG."""
        height, width, colours = pixels.shape
        image = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=png(pixels))
        self.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def _write(self, **content: Any) -> None:
        self.file.append(event_record(time.time(), **content))
