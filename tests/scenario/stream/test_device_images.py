"""Images on the way to a device; here the device is the CPU, which takes the same road without a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.scenario.stream import device_images
from clsim.scenario.stream.device_images import AllOnDevice, ThroughBuffers, placed

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize("kind", [AllOnDevice, ThroughBuffers])
@pytest.mark.parametrize("images", [IMAGES, IMAGES.reshape(50, -1).astype(np.float32)], ids=["images", "features"])
def test_batches_are_those_of_the_array_whatever_was_announced(kind: Any, images: np.ndarray) -> None:
    there, draw = kind(images, CPU), np.random.default_rng(1)
    for step in range(12):
        samples = draw.integers(0, 50, 1 + step)
        if step % 3:
            there.prefetch(samples)
        other = draw.integers(0, 50, 7)  # of a memory, not announced
        for rows in (other, samples) if step % 2 else (samples, other):
            assert np.array_equal(there.take(rows).numpy(), images[rows])


def test_a_batch_that_is_kept_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another device a batch is a copy; here it is made one."""
    monkeypatch.setattr(device_images, "sent", lambda x, device: x.clone())
    there = ThroughBuffers(IMAGES, CPU)
    kept = []
    for start in range(0, 40, 8):
        kept.append(there.take(np.arange(start, start + 8)))
        there.prefetch(np.arange(start + 8, start + 16))
    assert np.array_equal(torch.cat(kept).numpy(), IMAGES[:40])


@pytest.mark.parametrize(
    ("place", "free", "expected"),
    [
        ("auto", 4 * IMAGES.nbytes, "AllOnDevice"),
        ("auto", 4 * IMAGES.nbytes - 1, "ThroughBuffers"),
        ("device", 0, "AllOnDevice"),
        ("host", 10**12, "ThroughBuffers"),
    ],
)
def test_all_images_are_on_the_device_if_they_fit(
    place: Any, free: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_images, "_free_bytes", lambda device: free)
    for name in ("AllOnDevice", "ThroughBuffers"):
        monkeypatch.setattr(device_images, name, lambda images, device, name=name: name)
    assert placed(IMAGES, torch.device("cuda"), place) == expected
    assert placed(IMAGES, CPU, place) is None
