"""One torch thread for every test, and a scenario small enough to train in a second."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in every process the tests start
os.environ["MPLBACKEND"] = "Agg"

from pathlib import Path

import pytest
import torch

import clsim
from clsim.scenario import Scenario, load_scenario

torch.set_num_threads(1)

TINY = {
    "dataset.train": 60,
    "dataset.test": 40,
    "stream.increment": 4,
    "training.epochs": 2,
    "training.batch_size": 16,
    "training.model.image_size": 28,
    "memory.budget.per_class": 2,
    "threads": 1,
}


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from, or left in, the cache of the person who runs the tests."""
    os.environ["CLSIM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_overrides() -> dict[str, object]:
    """Overrides that make digits-b0c2 a matter of a second: three tasks of 4, 4 and 2 classes."""
    return dict(TINY)


@pytest.fixture
def tiny(tiny_overrides: dict[str, object]) -> Scenario:
    return load_scenario("digits-b0c2", tiny_overrides)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished tiny run of lwf+er with seed 3, to be read only."""
    return clsim.run("digits-b0c2", "lwf+er", seed=3, overrides=TINY, out=tmp_path_factory.mktemp("run")).folder


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> clsim.Comparison:
    """A finished tiny comparison of joint and finetune with two seeds, to be read only."""
    out = tmp_path_factory.mktemp("comparison")
    return clsim.compare("digits-b0c2", ["joint", "finetune"], seeds=[0, 1], overrides=TINY, out=out, workers=2)
