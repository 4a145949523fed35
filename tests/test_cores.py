"""Cores on systems with and without CPU affinity."""

from __future__ import annotations

import os

import pytest

from clsim.cores import usable_cores


def test_only_cores_this_process_may_run_on_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("cores", "usable"), [(7, 7), (None, 1)])
def test_without_affinity_all_cores_count(cores: int | None, usable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert usable_cores() == usable
