"""Tiny runs whose scores are recorded, to be read only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clsim
from tests.conftest import TINY
from tests.fixtures.vectors import recorded_scores, write_vectors

Scored = tuple[Path, list[np.ndarray]]

VECTORS = """
name: vectors
dataset: {name: features, file: x.npz}
stream: {increment: 2}
memory: {budget: {total: 12}}
training: {model: {name: identity, hidden: 8}, epochs: 1, batch_size: 16, optimizer: {lr: 1e-2}}
threads: 1
"""


@pytest.fixture(scope="session")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Scored]:
    """Runs a strategy: (strategy, overrides, scenario) -> its folder, and the logits after each task."""

    def run(strategy: str, overrides: dict[str, Any], scenario: Any = "digits-b0c2") -> Scored:
        with recorded_scores() as scores:
            out = tmp_path_factory.mktemp("runs")
            return clsim.run(scenario, strategy, overrides=overrides, out=out).folder, scores

    return run


@pytest.fixture(scope="session")
def of_every_task(scored_run: Callable[..., Scored]) -> Scored:
    """A run of rebll+more on images that has held some out for validation, and kept the model of each of its tasks."""
    more = {"checkpoint.keep": "all", "dataset.validation": 0.25, "training.epochs": 1}
    return scored_run("rebll+more", TINY | more)


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file with 80 feature vectors of six classes beside it."""
    return write_vectors(tmp_path_factory.mktemp("vectors"), VECTORS)


@pytest.fixture(scope="session")
def test_inputs() -> Callable[[Path], np.ndarray]:
    """Return the evaluation images of a run's folder as its model takes them, or their features."""

    def inputs(folder: Path) -> np.ndarray:
        scenario = clsim.load_scenario(folder / "config.yaml")
        plan, source = scenario.plan(), scenario.source
        if scenario.config.dataset.name == "features":
            return source.features(plan.test_split)[plan.test_samples]
        return source.images(plan.test_split, scenario.config.training.model.image_size)[plan.test_samples]

    return inputs
