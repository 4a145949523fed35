"""A frozen backbone's features, computed once: the numbers of a run over images, one pass over them, a shared cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.logging import BaseLogger
from torch import Tensor, nn

from clsim.data.digits import Digits
from clsim.evaluation.history import History
from clsim.evaluation.metrics import average_precision
from clsim.models.build import build_model
from clsim.running.assembly import build_template, training_plan
from clsim.running.features import BATCH, cached_features, compute_features
from clsim.scenario import Scenario, load_scenario
from clsim.strict_json import finite_or_null
from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay
from clsim.training.precision import run_network
from clsim.training.template import MultiLabelTemplate

IMAGENET = Path(__file__).parents[2].parent / "shared" / "weights" / "mobilenet_v2_imagenet.pt"
FROZEN = {
    "training.model.freeze": "backbone",
    "training.model.mean": [0.4, 0.5, 0.6],
    "dataset.test": 41,  # neither split divides into equal batches
    "evaluation.every": "epoch",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached features, empty."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def frozen(tiny_overrides: dict[str, object]) -> Any:
    def load(**overrides: Any) -> Scenario:
        keys = {key.replace("__", "."): value for key, value in overrides.items()}
        return load_scenario("digits-b0c2", {**tiny_overrides, **FROZEN, **keys})

    return load


class Silent(BaseLogger):
    """Logs nothing; without a logger Avalanche warns."""


def template_of(scenario: Scenario, spec: str) -> tuple[MultiLabelTemplate, History]:
    composition = Composition(spec)
    plan = training_plan(scenario, composition)
    history = History(plan)
    loggers: list[BaseLogger] = [Silent()]
    made = build_template(scenario, composition, plan, seed=3, device="cpu", history=history, loggers=loggers)
    return made, history


def trained(scenario: Scenario, spec: str) -> tuple[MultiLabelTemplate, Any]:
    """The template after its stream, and every metric, undefined ones as None."""
    template, history = template_of(scenario, spec)
    template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    return template, finite_or_null(history.summary())


def features_of(scenario: Scenario, split: Any = "train", seed: int = 0) -> Any:
    training = scenario.config.training
    backbone = build_model(training.model, seed).backbone
    return cached_features(backbone, scenario.source, split, training, "cpu")


class Watched(nn.Module):
    """A backbone that gives each image's first pixel and its own state at the time."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((len(x), self.training, torch.is_grad_enabled()))
        return x[:, :, 0, 0]


# --- the same numbers


@pytest.mark.parametrize("spec", ["er", "lwf+er", "rebll", "ewc", "joint"])
def test_a_run_over_features_gives_the_metrics_of_the_run_over_images(frozen: Any, spec: str) -> None:
    whole, expected = trained(frozen(), spec)
    head, given = trained(frozen(training__model__cache_features=True), spec)
    assert given == expected
    weights = head.model.state_dict()
    assert list(weights) == ["head.weight", "head.bias"]
    assert all(torch.equal(value, whole.model.state_dict()[key]) for key, value in weights.items())


@pytest.mark.parametrize("spec", ["er", "rebll"])
def test_so_it_does_with_a_hidden_layer(frozen: Any, spec: str) -> None:
    whole, expected = trained(frozen(training__model__hidden=8), spec)
    head, given = trained(frozen(training__model__hidden=8, training__model__cache_features=True), spec)
    assert given == expected
    weights = head.model.state_dict()
    assert list(weights) == ["hidden.0.weight", "hidden.0.bias", "head.weight", "head.bias"]
    assert all(torch.equal(value, whole.model.state_dict()[key]) for key, value in weights.items())


def test_so_it_does_in_bfloat16_and_channels_last(frozen: Any) -> None:
    fast = {"training__precision": "bfloat16", "training__model__channels_last": True}
    _, expected = trained(frozen(**fast), "lwf+er")
    _, given = trained(frozen(**fast, training__model__cache_features=True), "lwf+er")
    assert given == expected


def test_features_of_mobilenet_change_little_with_the_batch_and_its_average_precision_less(frozen: Any) -> None:
    """Its kernels do depend on the batch: equality to the last bit, as of a ResNet, is not to be had."""
    if not IMAGENET.is_file():
        pytest.skip(f"needs the ImageNet weights {IMAGENET}, which are not here")
    weights = {"file": str(IMAGENET), "trained_on": ["imagenet-1k"], "source": "torchvision"}
    model = {"training__model__name": "mobilenet_v2", "training__model__image_size": 64}
    scenario = frozen(**model, training__model__weights=weights)
    features = features_of(scenario, "test")
    training, store = scenario.config.training, scenario.benchmark().evaluation_stream[0].dataset.store
    backbone = build_model(training.model, 0).backbone.eval()
    rows = scenario.plan().test_rows()
    with torch.no_grad():
        parts = [run_network(backbone, store.images(rows[i : i + 7]), training).numpy() for i in range(0, len(rows), 7)]
    other = np.concatenate(parts)
    assert np.abs(other - features).max() < 1e-5 * np.abs(features).max()
    truth = scenario.plan().test_truth
    head = np.random.default_rng(0).normal(size=(features.shape[1], truth.shape[1]))
    scored, again = (average_precision(x @ head, truth) for x in (features, other))
    np.testing.assert_allclose(again, scored, atol=0.01, equal_nan=True)


# --- one pass over the images


def test_each_image_goes_through_the_backbone_once_in_eval_mode_normalised_as_in_training(frozen: Any) -> None:
    scenario = frozen(dataset__train=2 * BATCH + 1)
    backbone = Watched().train()
    features = compute_features(backbone, scenario.source, "train", scenario.config.training, "cpu")
    assert backbone.seen == [(43, False, False)] * 3
    x = torch.tensor(scenario.source.images("train", 28)[:, :, 0, 0]).float()
    wanted = (x / 255 - torch.tensor([0.4, 0.5, 0.6])) / 0.5
    torch.testing.assert_close(torch.from_numpy(features), wanted)


def test_a_second_run_reads_no_image(frozen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = frozen(training__model__cache_features=True)
    _, first = trained(scenario, "er")

    def refuse(*args: Any) -> Any:
        raise AssertionError("an image was read")

    monkeypatch.setattr(Digits, "images", refuse)
    _, second = trained(frozen(training__model__cache_features=True), "er")
    assert second == first


def test_only_the_splits_of_the_plan_are_scored(frozen: Any, cache: Path) -> None:
    keys = {"dataset__validation": 0.3, "evaluation__on": "validation", "training__model__cache_features": True}
    template_of(frozen(**keys), "finetune")
    assert [path.name.split("-")[:3] for path in cache.iterdir()] == [["tiny", "resnet", "train"]]


def test_batches_and_memory_hold_features_and_memory_counts_their_bytes(frozen: Any) -> None:
    template, _ = trained(frozen(training__model__cache_features=True), "er")
    x, y, _ = next(iter(template.loader))
    assert (x.dtype, x.shape[1:], y.shape) == (torch.float32, (64,), (len(x), 10))
    assert template.benchmark.train_rows.image_bytes == 4 * 64
    (replay,) = (plugin for plugin in template.plugins if isinstance(plugin, Replay))
    assert replay.nbytes == replay.memory.nbytes(4 * 64)


# --- the cache


def test_equal_things_share_a_file_and_different_ones_do_not(frozen: Any, cache: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"dataset__seed": 1},
        {"training__model__image_size": 32},
        {"training__model__mean": [0.4, 0.5, 0.5]},
        {"training__model__std": [0.5, 0.5, 0.4]},
        {"training__precision": "bfloat16"},
        {"training__model__channels_last": True},
    ]
    for change in changes:
        features_of(frozen(**change))
    assert len(list(cache.iterdir())) == len(changes)
    features_of(frozen(), seed=1)  # other random weights
    features_of(frozen(), "test")
    assert len(list(cache.iterdir())) == len(changes) + 2
    features_of(frozen(training__epochs=7, stream__increment=2, memory__budget="none"))
    assert len(list(cache.iterdir())) == len(changes) + 2


def test_other_threads_have_features_of_their_own(frozen: Any, cache: Path) -> None:
    features_of(frozen())
    torch.set_num_threads(2)
    try:
        features_of(frozen())
    finally:
        torch.set_num_threads(1)
    assert len(list(cache.iterdir())) == 2


def test_features_from_the_cache_are_those_that_were_put_there(frozen: Any) -> None:
    computed, read = features_of(frozen()), features_of(frozen())
    assert (computed.shape, computed.dtype) == ((60, 64), np.float32)
    assert isinstance(read, np.memmap)
    assert np.array_equal(computed, read)


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "other shape", "other type"])
def test_a_broken_file_is_made_again(frozen: Any, cache: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    expected = features_of(frozen())
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    if damage in ("empty", "cut"):
        file.write_bytes(whole[: 0 if damage == "empty" else -100])
    elif damage == "flip":
        file.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    else:
        np.save(file, expected[1:] if damage == "other shape" else expected.astype(np.float64))
    assert np.array_equal(features_of(frozen()), expected)
    assert file.read_bytes() == whole
    assert f"{file}: damaged, thrown away" in caplog.text


def test_a_cache_that_cannot_be_written_is_a_warning(
    frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = features_of(frozen())
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, logger="clsim"):
        assert np.array_equal(features_of(frozen()), expected)
    assert f"not cached, CLSIM_CACHE {tmp_path / 'file'}" in caplog.text


def test_the_cache_is_in_the_home_folder_unless_told_otherwise(
    frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLSIM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    features_of(frozen())
    assert len(list((tmp_path / ".cache" / "clsim" / "features").glob("*.npy"))) == 1
