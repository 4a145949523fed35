"""Features with labels in a file of NumPy arrays: the two forms, what values mean, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.data.features import Features, FeaturesConfig
from clsim.errors import ScenarioError, Unplannable

X = np.arange(12, dtype=np.float64).reshape(4, 3)
HALVES: dict[str, Any] = {
    "train_x": X,
    "train_y": np.array([[1, 0], [0, 1], [1, 1], [0, 1]]),
    "test_x": X[:2].astype(np.float16),
    "test_y": np.array([[1.0, np.nan], [0, 1]]),
    "class_names": np.array(["dog", "cat"]),
}
WHOLE: dict[str, Any] = {"x": X, "y": np.array([0, 1, 2, 1]), "split": np.array(["train", "test", "train", "test"])}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def features(tmp_path: Path) -> Any:
    def made(arrays: dict[str, Any], **options: Any) -> Features:
        np.savez(tmp_path / "x.npz", **arrays)
        return Features(FeaturesConfig(name="features", file=str(tmp_path / "x.npz"), **options))

    return made


def problem(data: Features, key: str = "file") -> str:
    with pytest.raises(Unplannable) as caught:
        data.labels("train"), data.features("train")
    assert caught.value.path == ("dataset", key)
    return caught.value.text.rpartition("x.npz: ")[2]


def test_arrays_of_each_split(features: Any) -> None:
    data = features(HALVES)
    assert data.class_names == ("dog", "cat")
    np.testing.assert_array_equal(data.labels("train"), HALVES["train_y"].astype(np.int8), strict=True)
    assert data.labels("test").tolist() == [[1, -1], [0, 1]]
    np.testing.assert_array_equal(data.features("train"), X.astype(np.float32), strict=True)
    np.testing.assert_array_equal(data.features("test"), X[:2].astype(np.float32), strict=True)


def test_one_array_and_the_split_of_each_row_and_one_class_of_each(features: Any) -> None:
    tested = WHOLE | {"split": np.array(["test"] * 4)}
    assert problem(features(tested)) == "no class is present in any of the 0 rows of train"
    data = features(WHOLE)
    assert data.class_names == ("0", "1", "2")
    assert data.labels("train").tolist() == [[1, 0, 0], [0, 0, 1]]
    assert (data.image_names("train"), data.image_names("test")) == (["0", "2"], ["1", "3"])
    np.testing.assert_array_equal(data.features("test"), X[[1, 3]].astype(np.float32), strict=True)


def test_classes_without_names_are_in_order(features: Any) -> None:
    names = features({"x": X, "y": np.array([0, 11, 3, 5]), "split": WHOLE["split"]}).class_names
    assert names[:3] == ("00", "01", "02")
    assert list(names) == sorted(names)


def test_a_share_for_testing(features: Any) -> None:
    n = 40
    whole = {"x": np.arange(n, dtype=np.float32)[:, None], "y": np.arange(n) % 2}
    data = features(whole, test={"share": 0.25})
    assert [len(data.labels(split)) for split in ("train", "test")] == [30, 10]
    for split in ("train", "test"):
        assert (data.features(split)[:, 0] % 2 == data.labels(split)[:, 1]).all()
    assert not set(data.features("train")[:, 0]) & set(data.features("test")[:, 0])
    assert data.fingerprint() != features(whole, test={"share": 0.25, "seed": 1}).fingerprint()


def test_values_mean_what_is_declared(features: Any) -> None:
    y = np.array([[1, -1], [0.7, 1], [1, 0.5], [0, 1]])
    arrays = HALVES | {"train_y": y, "test_y": np.array([[-1, 1], [0.4, 1]])}
    assert problem(features(arrays)) == (
        "train_y[2, 1]: given 0.5, allowed: 1 present, 0 absent, NaN unknown; "
        "soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"
    )
    assert problem(features(arrays, soft_labels="unknown")).endswith("dataset.minus_one says what -1 means")
    data = features(arrays, minus_one={"uncertain": {"soft": 0.6}}, soft_labels={"threshold": 0.65})
    assert data.labels("train").tolist() == [[1, 0], [1, 1], [1, 0], [0, 1]]
    assert data.labels("test").tolist() == [[-1, 1], [0, 1]]
    expected = np.array([[0, 0.6], [0.7, 0], [0, 0.5], [0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(data.soft_labels("train"), expected, strict=True)
    assert data.soft_labels("test") is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train_x": X[:3]}, "train_x: 3 rows, but labels of 4"),
        ({"train_x": X.astype(int)}, "train_x: given int64 [4, 3], allowed: floating point numbers [N, d]"),
        ({"train_x": X[0]}, "train_x: given float64 [3], allowed"),
        ({"train_x": np.where(X == 4, np.inf, X)}, "train_x: row 1 is not finite (1 rows in all)"),
        ({"test_x": X[:2, :2]}, "train_x has 3 columns, test_x 2"),
        (
            {"train_y": np.array([["a", "b"]])},
            "train_y: given <U1 [1, 2], allowed: numbers [N, C], or whole numbers [N]",
        ),
        ({"train_y": np.full((4, 2), 2)}, "train_y[3, 1]: given 2, allowed: 1 present, 0 absent, NaN unknown"),
        ({"train_y": np.full((4, 3), 1)}, "train_y: 3 columns, expected 2, one for each class"),
        ({"train_y": np.array([0, 1, 2, 0])}, "train_y[2]: given 2, allowed: 0 to 1"),
        ({"train_y": np.array([[{}]])}, "train_y: cannot be read: Python objects, which are not loaded"),
        ({"class_names": np.array(["a", "a"])}, "class_names: given <U1 [2], allowed: different texts [C]"),
        ({"train_y": np.zeros((4, 2))}, "no class is present in any of the 4 rows of train"),
        ({"x": X, "y": X}, "holds both forms; needed: train_x, train_y, test_x and test_y, or x and y"),
    ],
)
def test_arrays_that_cannot_be(features: Any, change: dict[str, Any], text: str) -> None:
    assert problem(features(HALVES | change)).startswith(text)


def test_files_that_cannot_be(features: Any, tmp_path: Path) -> None:
    needed = "needed: train_x, train_y, test_x and test_y, or x and y"
    misspelt = {"train_x": X, "trainy": X}
    assert problem(features(misspelt)) == f"arrays there: train_x, trainy, did you mean 'train_y'?; {needed}"
    alone = {"x": X, "y": X}
    assert problem(features(alone)) == "has no array 'split'; give --set 'dataset.test={share: 0.2}'"
    assert problem(features(WHOLE, test={"share": 0.5}), "test") == "has an array 'split' already"
    assert problem(features(HALVES, test={"share": 0.5}), "test") == "has test_x and test_y already"
    assert problem(features(WHOLE | {"split": np.array(["train", "val"] * 2)})).startswith("split[1]: given 'val'")
    data = features(HALVES)
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no zip")
    assert problem(data).startswith("not a file of NumPy arrays (.npz)")
    np.save(tmp_path / "x.npz.npy", X)
    (tmp_path / "x.npz.npy").rename(tmp_path / "x.npz")
    assert problem(Features(data.config)) == "a single array, expected several (np.savez)"
    (tmp_path / "x.npz").unlink()
    (tmp_path / "y.npz").write_bytes(b"")
    assert problem(Features(data.config)) == "no such file, did you mean 'y.npz'?"
    assert problem(Features(FeaturesConfig(name="features"))).startswith("not set")


def test_the_fingerprint_is_that_of_the_content(features: Any, tmp_path: Path) -> None:
    before = features(HALVES).fingerprint()
    assert features(HALVES).fingerprint() == before
    assert features(HALVES | {"train_x": X + 1}).fingerprint() != before


def test_there_are_no_images(features: Any) -> None:
    with pytest.raises(ScenarioError, match="no images"):
        features(HALVES).images("train", 32)


def test_every_option_is_described() -> None:
    assert all(field.description for field in FeaturesConfig.model_fields.values())
