"""Every image a network meets is (RGB in 0..1 - mean) / std of the scenario."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.scenario import load_scenario
from clsim.scenario.stream.rows import RowStore

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LOOK = {"training.model.mean": MEAN, "training.model.std": STD}


def store_of(pixels: np.ndarray, **look: Any) -> RowStore:
    n = len(pixels)
    return RowStore(pixels, np.arange(n), np.zeros((n, 1), np.int8), first_row=0, **look)


def expected(pixels: np.ndarray, mean: list[float], std: list[float]) -> torch.Tensor:
    """The definition, in float64."""
    rgb = torch.from_numpy(pixels).double() / 255
    return (rgb - torch.tensor(mean).double().view(3, 1, 1)) / torch.tensor(std).double().view(3, 1, 1)


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ([0.5] * 3, [0.5] * 3), ([0.0] * 3, [1.0] * 3)])
def test_each_channel_is_shifted_and_scaled_by_its_own_numbers(mean: list[float], std: list[float]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
    images = store_of(pixels, mean=mean, std=std).images(np.arange(4))
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.double(), expected(pixels, mean, std), rtol=0, atol=1e-6)


def test_by_default_black_is_minus_one_and_white_is_one() -> None:
    pixels = np.stack([np.zeros((3, 1, 1), np.uint8), np.full((3, 1, 1), 255, np.uint8)])
    assert store_of(pixels).images(np.arange(2))[:, 0, 0, 0].tolist() == pytest.approx([-1, 1], abs=1e-6)


def test_the_stored_images_are_left_as_they_were() -> None:
    pixels = np.full((1, 3, 2, 2), 7, np.uint8)
    store_of(pixels, mean=MEAN, std=STD).images(np.arange(1))
    assert (pixels == 7).all()


@pytest.mark.parametrize("stream", ["train_stream", "test_stream", "evaluation_stream"])
def test_every_stream_is_normalised_as_the_scenario_says(stream: str, tiny_overrides: dict[str, Any]) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | LOOK)
    benchmark, plan = scenario.benchmark(), scenario.plan()
    dataset = getattr(benchmark, stream)[0].dataset
    x, index = dataset.__getitems__(range(5)).batch[0], dataset.rows()[:5]
    if stream == "train_stream":
        samples = np.concatenate([task.samples for task in plan.tasks])[index]
        pixels = scenario.source.images("train", 28)[samples]
    else:
        pixels = scenario.source.images("test", 28)[plan.test_samples[index - plan.n_train_rows]]
    torch.testing.assert_close(x.double(), expected(np.asarray(pixels), MEAN, STD), rtol=0, atol=1e-6)
    assert torch.equal(dataset[2][0], x[2])
