"""What a model may be given: every form of the same pictures gives the same scores; anything else is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import clsim
from clsim.errors import ClsimError
from clsim.inference.model import Model

Pictures = tuple[Path, np.ndarray]


@pytest.fixture(scope="module")
def model(finished_run: Path) -> Model:
    return clsim.load_model(finished_run)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """A folder with five PNG files of other size than the model's, and the same as uint8 [5, H, W, 3]."""
    home = tmp_path_factory.mktemp("pictures")
    arrays = np.random.default_rng(0).integers(0, 256, (5, 40, 31, 3), dtype=np.uint8)
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(home / f"{number}.png")
    (home / "notes.txt").write_text("no image")
    return home, arrays


def test_every_form_of_the_same_pictures_scores_alike(model: Model, pictures: Pictures) -> None:
    home, arrays = pictures
    files = sorted(home.glob("*.png"))
    expected = model.predict(home)
    assert expected.index.tolist() == [str(file) for file in files]
    assert expected.index.name == "image"
    assert model.preprocess is not None
    first = torch.from_numpy(arrays.transpose(0, 3, 1, 2).copy())
    given: list[Any] = [
        *(files, [str(file) for file in files], [Image.open(file) for file in files], arrays, list(arrays)),
        *(first, list(first), model.preprocess(*files), list(model.preprocess(*arrays))),
        DataLoader(TensorDataset(model.preprocess(*files), torch.zeros(5)), batch_size=2),
        DataLoader(first, batch_size=5),
        DataLoader([str(file) for file in files], batch_size=2),
    ]
    for form in given:
        found = model.predict(form, batch_size=2)
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-6)
    one = model.predict(files[3])
    pd.testing.assert_frame_equal(one, expected.iloc[[3]], atol=1e-6)
    np.testing.assert_allclose(model.predict(arrays[3]), one, atol=1e-6)
    assert model.predict([]).shape == (0, 10)


def test_pictures_are_squashed_or_cropped_as_the_run_did(model: Model, pictures: Pictures) -> None:
    assert model.preprocess is not None
    array = pictures[1][0]
    squashed = np.asarray(Image.fromarray(array).resize((28, 28), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(model.preprocess.pixels(array), squashed)
    assert model.preprocess.content() == {"size": 28, "resize": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}
    expected = (torch.tensor(squashed) / 255 - 0.5) / 0.5
    torch.testing.assert_close(model.preprocess(array), expected[None])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.zeros((2, 3, 28, 28), int), r"images: given int64 \[2, 3, 28, 28\], expected paths, PIL images, uint8"),
        (np.zeros((2, 3, 20, 20)), r"images: given float64 \[2, 3, 20, 20\], .* float32 \[N, 3, 28, 28\]"),
        (np.zeros((2, 5, 5, 4), np.uint8), r"image: given uint8 \[5, 5, 4\], expected a path, a PIL image"),
        (7, "images: given int, expected paths"),
        ([np.zeros((3, 28, 28)), np.zeros((3, 20, 20))], r"images: given float64 \[1, 3, 20, 20\], expected paths"),
        ([1, 2], r"image: given int64 \[\], expected a path"),
        ("nowhere.png", r"nowhere\.png: no such file or folder"),
        (DataLoader(["a"], collate_fn=dict.fromkeys), "images: given batches of dict, expected paths"),
    ],
    ids=lambda value: "",
)
def test_anything_else_is_one_line(model: Model, given: Any, text: str) -> None:
    with pytest.raises(ClsimError, match=f"^{text}") as error:
        model.predict(given)
    assert "\n" not in str(error.value)


def test_bad_files_folders_and_batch_sizes_are_one_line(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ClsimError, match=rf"^{tmp_path}: no image in it; read are \.jpg, "):
        model.predict(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ClsimError, match=rf"^{tmp_path}/bad\.png: cannot be decoded as an image"):
        model.predict(tmp_path)
    with pytest.raises(ClsimError, match=r"^batch_size: given 0, allowed: whole numbers from 1$"):
        model.predict(tmp_path, batch_size=0)
