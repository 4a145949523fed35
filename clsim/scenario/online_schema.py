"""What a scenario file may say of an online stream, and what it may then say of training."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic_core import PydanticCustomError

from clsim.scenario.section import PositiveInt, Section
from clsim.scenario.training_schema import TrainingSection

COUNTING_LOSSES = ("db", "logit-adjusted", "class-balanced", "logit-adjusted-ce")
"""Losses that count how often a task shows each class before its first step."""


class OnlineSection(Section):
    """`stream.online: {batch: 10}`: the images of a task come once, in batches.

    DECIDED: `joint` is no method of the stream but what it is measured against. It trains on all images so far, each
    `joint_epochs` times, in batches of the same size, so that the learning rate means the same.
    """

    batch: PositiveInt = Field(description="number of new images per step; each image comes once per task")
    joint_epochs: PositiveInt = Field(
        1,
        description="passes over all images so far, for a strategy that trains a new network in each task, such "
        "as joint",
    )


def with_batch_size(data: Any) -> Any:
    """Return what a file holds, with `stream.online.batch` as its `training.batch_size` if it gives none."""
    stream, training = (data.get(key) if isinstance(data, dict) else None for key in ("stream", "training"))
    online = stream.get("online") if isinstance(stream, dict) else None
    batch = online.get("batch") if isinstance(online, dict) else getattr(online, "batch", None)
    if not isinstance(batch, int) or not isinstance(training, dict):
        return data
    return {**data, "training": {"batch_size": batch, **training}}


def check_training(online: OnlineSection, training: TrainingSection) -> None:
    """Refuse a training section that would meet an image of an online stream twice, or before it comes.

    Raises:
        PydanticCustomError: naming the first such key and what it may be.
    """
    batch = f"{online.batch}, as stream.online.batch says, or no such key"
    once = "with stream.online, which has each image once"
    refused = {
        ("epochs",): (training.epochs != 1, f"1 {once}"),
        ("batch_size",): (training.batch_size != online.batch, batch),
        ("sampler",): (training.sampler != "shuffled", f"shuffled {once}"),
        ("loss", "name"): (
            training.loss.name in COUNTING_LOSSES,
            "bce, focal, asl, cross-entropy or one of yours with stream.online; this one counts a task's labels first",
        ),
    }
    for below, (wrong, allowed) in refused.items():
        if wrong:
            context = {"below": ("training", *below), "text": f"allowed: {allowed}"}
            raise PydanticCustomError("online", "{text}", context)
