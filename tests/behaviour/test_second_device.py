"""One run per family of strategies on a second device that is written in Python, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.sim_device import OWN_PROCESS, missing

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_runs_on_another_device_than_the_cpu() -> None:
    """What these tests promise stands in tests/gpu_sim; `make gpu-sim` runs all of them."""
    command = [sys.executable, "-m", "pytest", "tests/gpu_sim", "-q", "-p", "no:cacheprovider", "--tb=short"]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {OWN_PROCESS: "1"}, capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
