"""Settings of the engine for Ray, and what it asks of a cluster. Its runs: tests/behaviour/test_engines.py."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from clsim.errors import RunError
from clsim.launch.engines.ray import RayEngine
from clsim.launch.slots import Division, Hardware, Node, divide

HERE: dict[str, Any] = {"workers": None, "gpus": None, "per_gpu": None}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Resources of the living machines of a cluster that is not there."""
    machines: list[dict[str, float]] = []

    @contextmanager
    def connected(engine: RayEngine) -> Iterator[Any]:
        nodes = [{"Alive": True, "Resources": machine} for machine in machines]
        yield SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}}])

    monkeypatch.setattr(RayEngine, "_connected", connected)
    return machines


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "head"}, "address: given 'head', allowed: auto, or host:port as in 10.0.0.1:6379"),
        ({"address": "ray://head:1"}, "address: given 'ray://head:1', allowed: auto, or host:port"),
        ({"gpus_per_run": 1.5}, "gpus_per_run: given 1.5, expected a share such as 0.5, or whole GPUs such as 2"),
        ({"gpus_per_run": 0}, "gpus_per_run: given 0, expected"),
        ({"retries": -1}, "retries: given -1, must be 0 or more"),
        ({"retries": "3"}, "retries: given '3', expected a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        RayEngine(**settings)


def test_the_machines_of_the_cluster_are_divided_and_not_this_one(cluster: list[dict[str, float]]) -> None:
    cluster += [{"CPU": 8.0}, {"CPU": 3.0, "object_store_memory": 5.0}, {"memory": 1.0}]
    found = RayEngine().slots("auto", "auto", **HERE)
    assert found == Hardware("cpu", nodes=(Node(8), Node(3)))
    assert divide(found, "auto", 60, []) == Division(1, 11)
    assert divide(found, "auto", 3, []) == Division(3, 3)
    assert divide(found, 4, 60, []) == Division(4, 2)
    assert divide(RayEngine().slots("cpu", "auto", **HERE | {"workers": 2}), "auto", 60, []) == Division(4, 2)
    with pytest.raises(RunError, match="threads: given 9, but no machine of the Ray cluster has more than 8 cores"):
        RayEngine().slots("cpu", 9, **HERE)


def test_shares_of_gpus_are_places_and_auto_means_them(cluster: list[dict[str, float]]) -> None:
    cluster += [{"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}]
    found = RayEngine(gpus_per_run=0.5).slots("auto", "auto", **HERE)
    assert found == Hardware("cuda", nodes=(Node(16, 4), Node(4, 2)))
    assert divide(found, "auto", 60, []) == Division(2, 6)
    assert divide(RayEngine(gpus_per_run=2).slots("cuda", "auto", **HERE), "auto", 60, []) == Division(16, 1)
    assert RayEngine().slots("cpu", "auto", **HERE).device == "cpu"
    with pytest.raises(RunError, match="no machine of the cluster at auto has 4 GPUs and a core for a run"):
        RayEngine(gpus_per_run=4).slots("cuda", "auto", **HERE)
    assert RayEngine(gpus_per_run=4).slots("auto", "auto", **HERE).device == "cpu"


def test_what_chooses_among_the_gpus_of_this_machine_is_refused() -> None:
    with pytest.raises(RunError, match="gpus: given all, but Ray gives each run its GPU; say how much of it: gpus_per"):
        RayEngine().slots("cuda", "auto", **HERE | {"gpus": "all"})
    with pytest.raises(RunError, match="device: given 'cuda:1', but the runs are on a Ray cluster; allowed: auto, cpu"):
        RayEngine().slots("cuda:1", "auto", **HERE)


def test_a_cluster_that_is_not_there_and_ray_that_is_not_installed_are_one_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"^engine ray: Ray is not installed: pip install 'clsim\[ray\]'$"):
        RayEngine().slots("cpu", 1, **HERE)
    monkeypatch.undo()
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RunError, match=r"^engine ray: no cluster at 127.0.0.1:9: Connection refused; start one with"):
        RayEngine("127.0.0.1:9").slots("cpu", 1, **HERE)
    assert signal.getsignal(signal.SIGTERM) is handler
