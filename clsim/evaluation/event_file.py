"""A TensorBoard event file that can be continued."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from clsim.files import GrowingFile

EVENT_FILE = "events.out.tfevents.clsim"
"""TensorBoard reads what has `tfevents` in its name."""


class EventFile:
    """The one event file of a run.

    DECIDED: not torch's SummaryWriter. That one begins a file at each start, named after the clock, so that the curves
    of a resumed run would lie in several files, in the wrong order if the clock was set back; and it writes in a thread
    of its own, so that a full disk shows late or never. Here an event is written when `add` returns. A file that was
    cut back and continued gets records of the same lengths again, so a TensorBoard that is open meanwhile finds its
    place.

    Args:
        folder: where the file is.
    """

    def __init__(self, folder: Path) -> None:
        self.file = GrowingFile(folder / EVENT_FILE)

    def begin(self) -> bool:
        """Write the head that each event file has, unless it is there; whether it was not."""
        if self.file.read():
            return False
        self._write(Event(file_version="brain.Event:2"))
        return True

    def add(self, summary: Any, step: int | None = None) -> None:
        """Write a summary, a protocol buffer of `torch.utils.tensorboard.summary`, at a step."""
        self._write(Event(summary=summary, step=step))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self.file.append(record.getvalue())
