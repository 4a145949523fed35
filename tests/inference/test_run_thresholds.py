"""Thresholds of a run come from its validation images, or what its learner saw, and never from test images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clsim
from clsim.data.digits import Digits
from clsim.errors import ClsimError
from clsim.inference.thresholds import choose
from clsim.running.run_folder import RunFolder
from clsim.scenario import StreamPlan
from tests.inference.conftest import Scored


@pytest.fixture
def no_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a test image is an error."""
    images = Digits.images

    def refusing(self: Digits, split: Any, size: int) -> Any:
        assert split == "train"
        return images(self, split, size)

    monkeypatch.setattr(Digits, "images", refusing)


@pytest.mark.usefixtures("no_test_images")
@pytest.mark.parametrize("task", [1, None])
def test_with_a_validation_share_they_are_chosen_on_it(of_every_task: Scored, task: int | None) -> None:
    folder, _ = of_every_task
    model = clsim.load_model(folder, task=task)
    scenario = clsim.load_scenario(folder / "config.yaml", {"evaluation.on": "validation"})
    plan = scenario.plan()
    assert not set(plan.test_samples) & set(plan.row_samples)
    probabilities = model.predict(scenario.source.images("train", 28)[plan.test_samples]).to_numpy()
    expected = choose(probabilities, plan.test_truth[:, : len(model.classes)], model.classes, "validation images")
    assert model.thresholds.content() == expected.content()
    assert model.thresholds.images == len(plan.test_samples) > 10


@pytest.mark.usefixtures("no_test_images")
def test_without_one_they_are_chosen_on_what_the_learner_saw(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    model = clsim.load_model(folder)
    plan = StreamPlan.from_bytes((folder / RunFolder.plan).read_bytes())
    seen: dict[int, np.ndarray] = {}
    for task in plan.tasks:
        for sample, values in zip(task.samples.tolist(), task.values, strict=True):
            seen.setdefault(sample, np.full(plan.n_classes, -1, np.int8))[task.columns] = values
    images = clsim.load_scenario(folder / "config.yaml").source.images("train", 28)[sorted(seen)]
    labels = np.stack([seen[sample] for sample in sorted(seen)])
    expected = choose(model.predict(images).to_numpy(), labels, model.classes, "visible training labels")
    assert model.thresholds.content() == expected.content()

    kept = RunFolder.thresholds_of(folder / RunFolder.trained_model)
    kept.write_text(kept.read_text().replace('"images": ', '"images": 1'))
    assert clsim.load_model(folder).thresholds.images == int(f"1{len(labels)}")  # it is read, not chosen again
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"model_sha256": "of another model"}))
    assert clsim.load_model(folder).thresholds.images == len(labels)


@pytest.mark.parametrize(("what", "value"), [("seed: 0", "seed: 1"), ("test: 40", "test: 41")])
def test_data_that_have_changed_are_refused(finished_run: Path, tmp_path: Path, what: str, value: str) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    text = (folder / RunFolder.config).read_text()
    (folder / RunFolder.config).write_text(text.replace(what, value, 1))
    model = clsim.load_model(folder)
    assert len(model.predict(np.zeros((2, 3, 40, 30), np.uint8))) == 2  # which needs no data set
    with pytest.raises(
        ClsimError, match=rf"^{folder}: thresholds: the data set has changed since the run was trained$"
    ):
        _ = model.thresholds
    assert not RunFolder.thresholds_of(folder / RunFolder.trained_model).exists()
