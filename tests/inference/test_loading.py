"""load_model: what a run has trained scores its test images as the run did, whatever it is made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import clsim
from clsim.errors import ClsimError
from clsim.models.build import build_model
from clsim.running.run_folder import RunFolder
from clsim.scenario.training_schema import ModelSection
from tests.conftest import TINY
from tests.inference.conftest import Scored

ROOT = Path(__file__).parents[2]
RIDGE = f"{ROOT}/docs/examples/closed_form.py:Ridge"
TOKENS = f"{ROOT}/tests/fixtures/own_heads.py:Tokens"
CACHED = {"training.model.freeze": "backbone", "training.model.cache_features": True}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def test_the_model_of_every_task_scores_the_test_images_as_its_run(of_every_task: Scored, test_inputs: Any) -> None:
    folder, scores = of_every_task
    names = clsim.load_scenario(folder / "config.yaml").plan().class_names
    for task, expected in enumerate(scores):
        model = clsim.load_model(folder, task=task)
        assert model.classes == names[: expected.shape[1]]
        assert isinstance(model.module, nn.Module)
        np.testing.assert_allclose(model.logits(test_inputs(folder)), expected, rtol=0, atol=1e-5)
        found = model.predict(test_inputs(folder), batch_size=7)
        assert list(found.columns) == list(model.classes)
        np.testing.assert_allclose(found.to_numpy(), sigmoid(expected), rtol=0, atol=1e-5)
    last = clsim.load_model(folder)
    assert (last.provenance["task"], last.provenance["strategy"], model.provenance["seed"]) == (2, "rebll+more", 0)
    assert "after task 2, images of 28 px, 10 classes" in repr(last)


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("er", {**CACHED, "training.model.weights": "own"}),
        (RIDGE, CACHED),
        (TOKENS, {"training.model.freeze": "backbone"}),
        ("joint", {"training.precision": "bfloat16"}),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "",
)
def test_cached_frozen_closed_form_and_own_networks_score_as_their_run(
    scored_run: Callable[..., Scored], test_inputs: Any, tmp_path: Path, strategy: str, more: dict[str, Any]
) -> None:
    if more.get("training.model.weights") == "own":
        torch.save(build_model(ModelSection(), 99).backbone.state_dict(), tmp_path / "tiny.pt")
        own = {"file": str(tmp_path / "tiny.pt"), "trained_on": ["nothing"], "source": "own"}
        more = more | {"training.model.weights": own}
    folder, scores = scored_run(strategy, TINY | {"training.epochs": 1} | more)
    model = clsim.load_model(folder)
    np.testing.assert_allclose(model.logits(test_inputs(folder)), scores[-1], rtol=0, atol=1e-5)
    if "training.model.weights" in more:
        assert model.provenance["initial_weights"]["file"] == "tiny.pt"  # no path of this machine


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_files_of_the_test_images_score_as_in_the_run(
    scored_run: Callable[..., Scored], tmp_path: Path, resize: str
) -> None:
    random = np.random.default_rng(0)
    for split, name in product(("train", "test"), "abcd"):
        (tmp_path / split / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (30 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / name / f"{name}{number}.png")
    scenario = {
        "name": "files",
        "dataset": {"name": "folder", "root": str(tmp_path), "resize": resize},
        "stream": {"increment": 2},
        "training": {"model": {"image_size": 16}, "epochs": 1, "batch_size": 8, "optimizer": {"lr": 1e-3}},
        "threads": 1,
    }
    folder, scores = scored_run("finetune", {}, scenario)
    files = clsim.load_scenario(folder / "config.yaml").source.files("test")
    np.testing.assert_allclose(clsim.load_model(folder).logits(files), scores[-1], rtol=0, atol=1e-5)


def test_a_model_over_features_takes_features(
    scored_run: Callable[..., Scored], test_inputs: Any, vectors: Path
) -> None:
    folder, scores = scored_run("er", {}, vectors)
    model = clsim.load_model(folder)
    assert model.preprocess is None
    x = test_inputs(folder)
    np.testing.assert_allclose(model.logits(torch.from_numpy(x)), scores[-1], rtol=0, atol=1e-5)
    assert model.thresholds.chosen_on == "visible training labels"
    for given, text in ((x[:, :2], r"float32 \[30, 2\]"), ("a.jpg", "str"), (x.astype(int), r"int64 \[30, 5\]")):
        with pytest.raises(ClsimError, match=rf"^features: given {text}, expected float \[N, 5\]; this model was"):
            model.predict(given)


def test_a_softmax_loss_gives_probabilities_that_add_up(scored_run: Callable[..., Scored], vectors: Path) -> None:
    folder, _ = scored_run("finetune", {"training.loss.name": "cross-entropy"}, vectors)
    model = clsim.load_model(folder)
    assert model.activation == "softmax"
    np.testing.assert_allclose(model.predict(np.ones((2, 5), np.float32)).sum(axis=1), 1)


# --- what cannot be loaded


def test_no_run_and_no_task_are_one_line(of_every_task: Scored, finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ClsimError, match=rf"^{tmp_path}: no folder of a finished run, so there is no model to load$"):
        clsim.load_model(tmp_path)
    begun = shutil.copytree(finished_run, tmp_path / "begun")
    (begun / RunFolder.result).unlink()
    with pytest.raises(ClsimError, match=rf"^{begun}: a run that is not finished, so there is no model"):
        clsim.load_model(begun)
    with pytest.raises(ClsimError, match=r": task: given 3, allowed: 0 to 2$"):
        clsim.load_model(of_every_task[0], task=3)
    with pytest.raises(
        ClsimError, match=r": task: given 0, but the run has not kept that model; checkpoint\.keep: all"
    ):
        clsim.load_model(finished_run, task=0)
    with pytest.raises(ClsimError, match=r"^device: given 'tpu', allowed: auto, cpu, cuda, cuda:0, mps$"):
        clsim.load_model(finished_run, device="tpu")


def test_a_file_that_clsim_has_not_exported_is_one_line(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "a.onnx").write_bytes(b"no")
    with pytest.raises(ClsimError, match=r"a\.onnx: not a safetensors file, which is what can be loaded: "):
        clsim.load_model(tmp_path / "a.onnx")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ClsimError, match=r"x\.safetensors: holds weights but no description; clsim export --format"):
        clsim.load_model(tmp_path / "x.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "y.safetensors", metadata={"clsim": "{}"})
    with pytest.raises(ClsimError, match=r"y\.safetensors: no description of a model of clsim: KeyError: 'format'"):
        clsim.load_model(tmp_path / "y.safetensors")
