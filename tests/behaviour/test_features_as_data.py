"""Features in place of images, from the file to the result: no image, no backbone, every method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clsim
from clsim.data.check import check_source, first_problem
from clsim.data.digits import Digits
from clsim.errors import ClsimError, ScenarioError
from clsim.evaluation.history import History
from clsim.evaluation.loggers import MetricsFile
from clsim.models.build import build_model
from clsim.running.assembly import build_template
from clsim.running.features import compute_features
from clsim.scenario import Scenario, load_scenario
from clsim.training.composition import Composition
from tests.fixtures.logged import logged
from tests.fixtures.vectors import write_vectors

SCENARIO = """
name: vectors
dataset: {name: features, file: x.npz}
stream: {increment: 2}
memory: {budget: {total: 12}}
training:
  model: {name: identity}
  epochs: 2
  batch_size: 16
  optimizer: {lr: 1e-2}
threads: 1
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file with 80 vectors of six classes beside it; to be read only."""
    return write_vectors(tmp_path_factory.mktemp("vectors"), SCENARIO)


@pytest.mark.parametrize("spec", ["finetune", "rebll", "er", "ewc+lwf", "joint"])
def test_methods_train_a_growing_head(file: Path, tmp_path: Path, spec: str) -> None:
    result = clsim.run(file, spec, out=tmp_path)
    assert result.result["last_mAP"] > 30
    assert "sample" not in (result.folder / "run.log").read_text()


def test_a_hidden_layer_and_a_validation_share(file: Path, tmp_path: Path) -> None:
    keys = {"training.model.hidden": 8, "dataset.validation": 0.2, "evaluation.on": "validation"}
    result = clsim.run(file, "er", overrides={**keys, "memory.budget.total": 12}, out=tmp_path)
    assert result.result["last_mAP"] is not None


def test_a_memory_counts_bytes_of_features(file: Path, tmp_path: Path) -> None:
    scenario = load_scenario(file)
    plan = scenario.plan()
    logs: Any = [MetricsFile(tmp_path / "m")]
    template = build_template(
        scenario, Composition("er"), plan, seed=0, device="cpu", history=History(plan), loggers=logs
    )
    assert template.benchmark.train_rows.image_bytes == 4 * 5
    assert [name for name, _ in template.model.named_parameters()] == ["head.weight", "head.bias"]


def test_the_features_of_a_frozen_backbone_give_its_run(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    """Written by whoever likes, they give the numbers of `cache_features`."""
    frozen = {**tiny_overrides, "training.model.freeze": "backbone", "training.model.cache_features": True}
    there = clsim.run("digits-b0c2", "lwf+er", overrides=frozen, out=tmp_path / "there")
    scenario = load_scenario("digits-b0c2", frozen)
    source, training = scenario.source, scenario.config.training
    assert isinstance(source, Digits)
    backbone = build_model(training.model, 0).backbone
    arrays = {f"{split}_x": compute_features(backbone, source, split, training, "cpu") for split in ("train", "test")}
    labels = {f"{split}_y": source.labels(split) for split in ("train", "test")}
    np.savez(tmp_path / "digits.npz", class_names=np.array(source.class_names), **arrays, **labels)
    config = scenario.config.model_dump(mode="json")
    config |= {"dataset": {"name": "features", "file": "digits.npz"}}
    config["training"]["model"] = {"name": "identity"}
    (tmp_path / "own.yaml").write_text(json.dumps(config))
    here = clsim.run(tmp_path / "own.yaml", "lwf+er", out=tmp_path / "here")
    assert logged(here.folder) == logged(there.folder)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"training.model.name": "resnet18"}, "training.model.name: given 'resnet18', but the data are features"),
        ({"training.model.freeze": "backbone"}, "training.model.freeze: given 'backbone', allowed: none"),
        ({"training.augmentation": {"flip": 0.5}}, "because training.model.name identity takes features"),
    ],
)
def test_what_has_no_meaning_is_refused(file: Path, tmp_path: Path, overrides: dict[str, Any], text: str) -> None:
    with pytest.raises(ClsimError) as caught:
        clsim.run(file, "finetune", overrides=overrides, out=tmp_path)
    assert text in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_images_need_a_backbone(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"training\.model\.name: given 'identity', which takes features"):
        clsim.run(
            "digits-b0c2", "finetune", overrides={**tiny_overrides, "training.model.name": "identity"}, out=tmp_path
        )


def test_the_data_are_checked_without_images(file: Path) -> None:
    scenario: Scenario = load_scenario(file)
    checks = check_source(scenario.source)
    assert [check.images for check in checks] == [50, 30]
    assert first_problem(scenario.source, checks) is None
