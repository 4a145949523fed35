"""TensorBoard event files: their records, and a file that can be continued."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from clsim.files import GrowingFile

VERSION = "brain.Event:2"
"""What the first record of an event file says of its format."""


def event_record(wall_time: float, **content: Any) -> bytes:
    """A record of an event file.

    Args:
        wall_time: seconds since 1970.
        content: further fields of TensorBoard's `Event`: file_version, summary, step.
    """
    record = io.BytesIO()
    RecordWriter(record).write(Event(wall_time=wall_time, **content).SerializeToString())
    return record.getvalue()


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
        """Write a picture, uint8 [H, W, 3], as a PNG.

        DECIDED: with the fastest compression, which takes a third of the time of the usual one; sheets of photographs
        grow by a tenth.
        """
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG", compress_level=1)
        height, width, colours = pixels.shape
        image = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=png.getvalue())
        self.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def _write(self, **content: Any) -> None:
        self.file.append(event_record(time.time(), **content))
