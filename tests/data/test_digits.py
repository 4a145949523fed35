"""The digit scenes: what a published number relies on (the same labels everywhere) and what the images promise."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from clsim.data.digits import Digits, DigitsConfig, class_weights, draw_scenes, partners
from clsim.data.digits_render import choose_sources, render, source_images
from clsim.errors import ClsimError

# A new hash means another data set: bump GENERATOR_VERSION with it.
GOLDEN_LABELS = {
    10: "9537764fd413cb4579ee2efcfa6323b4663e05bb9b04eef326bb2724dc965aec",
    80: "f9749726621a5557cf56269b8a869c3dcebe47739862480225c8ad190736818f",
}
GOLDEN_IMAGES = "f93cede3246fc452deca7ca8ac418c5a34a238f810f8c837c4e30a15a4ff5731"  # default, test split, 32 px

# Layouts of either grid, with any number of labels.
LAYOUTS = [{}, {"labels_per_scene": (5, 5)}, {"categories": 40, "labels_per_scene": (1, 5)}]


def digits_config(**options: object) -> DigitsConfig:
    return DigitsConfig(name="digits", **options)


def sha256(array: NDArray) -> str:
    return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()


def canvases_without_digits(config: DigitsConfig, size: int) -> NDArray[np.uint8]:
    scenes = draw_scenes(config, "train")
    return render(
        digits=np.full_like(scenes.classes, -1),
        inks=None,
        boxes=scenes.boxes,
        picks=scenes.picks,
        size=size,
        seed=config.seed,
        split="train",
    )


# --- configuration


@pytest.mark.parametrize("value", [[0, 2], [3, 2], [1, 6]])
def test_labels_per_scene_out_of_range_says_what_is_allowed(value: list[int]) -> None:
    with pytest.raises(ValidationError, match="1 <= min <= max <= 5"):
        digits_config(labels_per_scene=value)


@pytest.mark.parametrize(
    "options", [{"train": 0}, {"test": 200_001}, {"categories": 30}, {"cooccurrence": 1.5}, {"colour": "red"}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        digits_config(**options)


def test_a_list_from_yaml_equals_the_tuple() -> None:
    assert digits_config(labels_per_scene=[2, 3]) == digits_config(labels_per_scene=(2, 3))
    assert hash(digits_config(labels_per_scene=[2, 3])) == hash(digits_config(labels_per_scene=(2, 3)))


def test_every_option_is_described() -> None:
    assert [name for name, field in DigitsConfig.model_fields.items() if not field.description] == []


def test_class_names() -> None:
    assert Digits(digits_config()).class_names == tuple("0123456789")
    by_categories = {c: Digits(digits_config(categories=c)).class_names for c in (20, 40, 80)}
    assert by_categories[20][:11] == (*(f"red-{digit}" for digit in range(10)), "green-0")
    for categories, names in by_categories.items():
        assert len(set(names)) == categories
        assert names == by_categories[80][:categories]


# --- labels


@pytest.mark.parametrize("categories", [10, 80])
def test_golden_labels(categories: int) -> None:
    labels = Digits(digits_config(categories=categories)).labels("train")
    assert labels.dtype == np.int8
    assert labels.shape == (1200, categories)
    assert sha256(labels) == GOLDEN_LABELS[categories]


def test_labels_need_no_heavy_import_and_no_hash_seed() -> None:
    program = """
import hashlib, json, sys
from clsim.data.digits import Digits, DigitsConfig
hashes = {}
for categories in (10, 80):
    data = Digits(DigitsConfig(name="digits", categories=categories))
    labels, names = data.labels("train"), data.class_names
    hashes[categories] = hashlib.sha256(repr(labels.shape).encode() + labels.tobytes()).hexdigest()
print(json.dumps([hashes, [name for name in ("sklearn", "torch", "scipy") if name in sys.modules]]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    hashes, heavy = json.loads(done.stdout)
    assert hashes == {str(categories): golden for categories, golden in GOLDEN_LABELS.items()}
    assert heavy == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_number_of_labels_and_no_class_twice(layout: dict[str, object]) -> None:
    config = digits_config(**layout)
    classes = draw_scenes(config, "train").classes
    fewest, most = config.labels_per_scene
    shown = (classes >= 0).sum(axis=1)
    assert set(shown) == set(range(fewest, most + 1))
    # A class drawn twice would count once in the labels.
    np.testing.assert_array_equal(Digits(config).labels("train").sum(axis=1), shown)


def test_splits_and_seeds_differ() -> None:
    config = digits_config(train=800)
    train = Digits(config).labels("train")
    assert (train != Digits(config).labels("test")).any()
    assert (train != Digits(digits_config(train=800, seed=1)).labels("train")).any()


def test_unequal_frequencies() -> None:
    positives = Digits(digits_config()).labels("train").sum(axis=0)
    assert 60 <= positives.min() <= 100
    assert 450 <= positives.max() <= 550
    order = np.argsort(-class_weights(digits_config()))
    np.testing.assert_array_equal(np.sort(order), np.arange(10))
    assert (np.abs(np.diff(order)) > 1).all(), "classes of neighbouring frequency are neighbours in the alphabet"


def test_the_rarest_classes_fall_into_different_tasks() -> None:
    rarest = np.argsort(class_weights(digits_config()))[:3]
    assert len(set(rarest // 2)) == 3


def test_uniform_frequencies() -> None:
    positives = Digits(digits_config(train=8000, frequency="uniform")).labels("train").sum(axis=0)
    assert positives.max() < 1.1 * positives.min()


def test_train_and_test_have_the_same_distribution() -> None:
    data = Digits(digits_config(train=8000, test=8000))
    difference = data.labels("train").mean(axis=0) - data.labels("test").mean(axis=0)
    assert np.abs(difference).max() < 0.03  # four standard errors of a difference of two such means


@pytest.mark.parametrize(("cooccurrence", "low", "high"), [(0.5, 1.6, 2.1), (0.0, 0.95, 1.05)])
def test_partners_cooccur(cooccurrence: float, low: float, high: float) -> None:
    """Lift of partner pairs over that of other pairs, which takes out that a class stands in a scene only once."""
    config = digits_config(train=8000, cooccurrence=cooccurrence)
    labels = Digits(config).labels("train").astype(np.float64)
    lift = (labels.T @ labels / len(labels)) / np.outer(labels.mean(axis=0), labels.mean(axis=0))
    pairs = partners(config)
    assert (pairs == pairs.T).all()
    assert not pairs.diagonal().any()
    assert low < lift[pairs].mean() / lift[~pairs & ~np.eye(10, dtype=bool)].mean() < high
    if cooccurrence:
        assert lift[pairs].min() > 1


# --- layout and sources


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_stay_inside_and_apart(layout: dict[str, object]) -> None:
    scenes = draw_scenes(digits_config(**layout), "train")
    left, top, side = np.moveaxis(scenes.boxes, -1, 0)
    tolerance = 1e-12
    assert (side > 0.25).all()
    assert min(left.min(), top.min()) >= -tolerance
    assert max((left + side).max(), (top + side).max()) <= 1 + tolerance
    most = scenes.classes.shape[1]
    for a in range(most):
        for b in range(a + 1, most):
            apart = [at[:, i] + side[:, i] <= at[:, j] + tolerance for at in (left, top) for i, j in ((a, b), (b, a))]
            assert np.any(apart, axis=0).all()


def test_train_and_test_use_disjoint_sources_of_the_right_digit() -> None:
    config = digits_config(train=4000, test=4000)
    target = source_images()[1]
    used = {}
    for split in ("train", "test"):
        scenes = draw_scenes(config, split)
        sources = choose_sources(scenes.classes, scenes.picks, config.seed, split)
        shown = scenes.classes >= 0
        np.testing.assert_array_equal(target[sources[shown]], scenes.classes[shown])
        used[split] = set(sources[shown])
    assert used["train"].isdisjoint(used["test"])
    assert 0.55 < len(used["train"]) / 1797 < 0.65
    assert 0.35 < len(used["test"]) / 1797 < 0.45


# --- images


def test_a_longer_split_starts_with_the_shorter_one() -> None:
    short, long = (Digits(digits_config(train=n, categories=20)) for n in (270, 530))  # across blocks of 256
    np.testing.assert_array_equal(long.labels("train")[:270], short.labels("train"))
    np.testing.assert_array_equal(long.images("train", 28)[:270], short.images("train", 28))


def test_golden_images() -> None:
    assert sha256(Digits(digits_config()).images("test", 32)) == GOLDEN_IMAGES


@pytest.mark.parametrize("size", [28, 33, 64])
def test_images_and_labels_are_aligned_and_read_only(size: int) -> None:
    data = Digits(digits_config(train=40))
    images = data.images("train", size)
    assert images.dtype == np.uint8
    assert images.shape == (40, 3, size, size)
    assert not images.flags.writeable
    assert not data.labels("train").flags.writeable
    assert images is Digits(digits_config(train=40)).images("train", size)  # rendered once per process
    assert images.std(axis=(1, 2, 3)).min() > 10


@pytest.mark.parametrize("size", [27, 65])
def test_image_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ClsimError, match=rf"{size} .*28\.\.64"):
        Digits(digits_config()).images("train", size)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ink_is_visible_and_only_inside_the_boxes_of_shown_digits(layout: dict[str, object]) -> None:
    config, size = digits_config(train=300, **layout), 32
    scenes = draw_scenes(config, "train")
    images, empty = Digits(config).images("train", size), canvases_without_digits(config, size)
    change = np.abs(images.astype(int) - empty).max(axis=1)
    centres = (np.arange(size) + 0.5) / size
    left, top, side = np.moveaxis(scenes.boxes[..., None], 2, 0)
    columns, rows = ((at <= centres) & (centres <= at + side) for at in (left, top))
    inside = rows[..., :, None] & columns[..., None, :] & (scenes.classes >= 0)[..., None, None]  # [N, K, S, S]
    assert (change[~inside.any(axis=1)] == 0).all()
    strongest = np.where(inside, change[:, None], 0).max(axis=(2, 3))
    assert strongest[scenes.classes >= 0].min() > 50


def test_ink_has_the_colour_of_the_class_name() -> None:
    config = digits_config(train=300, categories=40, labels_per_scene=(1, 1))
    data = Digits(config)
    images = data.images("train", 32).astype(int)
    change = np.abs(images - canvases_without_digits(config, 32)).sum(axis=1).reshape(300, -1)
    # The mean over the twenty most inked pixels averages the noise out.
    inked = np.argsort(change, axis=1)[:, -20:, None]
    rgb = np.take_along_axis(images.reshape(300, 3, -1).swapaxes(1, 2), inked, axis=1).mean(axis=1)
    expected = {"red": [1, 0, 0], "green": [0, 1, 0], "blue": [0, 0, 1], "yellow": [1, 1, 0]}
    names = [data.class_names[column].split("-")[0] for column in data.labels("train").argmax(axis=1)]
    full = rgb > (rgb.min(axis=1, keepdims=True) + rgb.max(axis=1, keepdims=True)) / 2
    np.testing.assert_array_equal(full, np.array([expected[name] for name in names], dtype=bool))


def test_fingerprint_follows_the_options() -> None:
    fingerprint = Digits(digits_config()).fingerprint()
    assert fingerprint == Digits(digits_config()).fingerprint()
    assert fingerprint != Digits(digits_config(seed=1)).fingerprint()
    assert len(fingerprint) == 64
