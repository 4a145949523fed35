from __future__ import annotations

import pytest

from clsim.cores import usable_cores
from clsim.errors import RunError
from clsim.running.hardware import resolve_device, resolve_threads


def test_threads_are_shared_among_workers() -> None:
    cores = usable_cores()
    assert resolve_threads("auto") == cores
    assert resolve_threads("auto", workers=10 * cores) == 1
    assert resolve_threads(3, workers=2) == 3


def test_a_device_is_resolved_or_refused_with_what_is_allowed() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(RunError, match="device: given 'gpu', allowed: auto, cpu, cuda, cuda:0, mps"):
        resolve_device("gpu")
