"""A run is another run as soon as anything it reads has changed, whatever name, size and time the file has."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import clsim
from clsim.data import content, image_cache
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_coco, write_manifest, write_voc
from clsim.data.source import Split
from clsim.errors import RunError
from clsim.launch.reuse import classify_folder
from clsim.running.prepared_run import prepare
from clsim.running.run_identity import identity_of
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario, load_scenario
from tests.fixtures.logged import logged

SCENARIO = """
name: mine
dataset: DATASET
stream: {increment: 5}
memory: {budget: {total: 16}}
training:
  model: {image_size: 28}
  epochs: 1
  batch_size: 16
  optimizer: {lr: 1e-3}
threads: 1
"""
DATASETS = {
    "voc": '{name: voc, root: data, class_names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}',
    "coco": "{name: coco, root: data}",
    "manifest": "{name: manifest, file: data/manifest.csv, label_columns: rest}",
}
WRITERS: dict[str, Callable[..., Path]] = {"voc": write_voc, "coco": write_coco, "manifest": write_manifest}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with mine.yaml and its data: voc, or the data set that the test names."""
    name = getattr(request, "param", "voc")
    folder = tmp_path / "home"
    folder.mkdir()
    WRITERS[name](Digits(DigitsConfig(name="digits", train=48, test=30)), folder / "data", 28)
    (folder / "mine.yaml").write_text(SCENARIO.replace("DATASET", DATASETS[name]))
    return folder


def rewrite(file: Path, content: bytes) -> None:
    """Other content of equal size under the old modification time."""
    stat = file.stat()
    assert len(content) == stat.st_size
    assert content != file.read_bytes()
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def loaded(home: Path, **overrides: Any) -> Scenario:
    return load_scenario(home / "mine.yaml", {key.replace("__", "."): value for key, value in overrides.items()})


def identity(scenario: Scenario, strategy: str = "finetune") -> dict[str, Any]:
    return identity_of(scenario, RunSpec(strategy, strategy, 0, "cpu"), 1)


def changed(home: Path, folder: Path, change: Callable[[], None], **overrides: Any) -> str:
    """Prepare a run, change its data, and return why the run is another one now."""
    prepare(folder, loaded(home, **overrides), RunSpec("finetune", "finetune", 0, "cpu"), 1)
    assert classify_folder(folder, identity(loaded(home, **overrides))) == "unfinished"
    change()
    with pytest.raises(RunError, match="another run is there") as caught:
        classify_folder(folder, identity(loaded(home, **overrides)))
    return str(caught.value)


def first_image(home: Path) -> Path:
    return min((home / "data").rglob("*.jpg"))


@pytest.mark.parametrize("home", DATASETS, indirect=True)
def test_other_pixels_under_equal_size_and_time_make_another_run(home: Path, tmp_path: Path) -> None:
    image = first_image(home)
    content = bytearray(image.read_bytes())
    content[-20] ^= 0x04
    text = changed(home, tmp_path / "run", lambda: rewrite(image, bytes(content)))
    assert re.search(r'\(data_fingerprint: was "\w{12}", now "\w{12}"\)', text)


LABELS = {
    "voc": ("data/VOC2007/Annotations/000001.xml", rb"<name>(\d)</name>"),
    "coco": ("data/annotations/instances_train2014.json", rb'"category_id": (\d)\b'),
    "manifest": ("data/manifest.csv", rb",train,([01]),"),
}


@pytest.mark.parametrize("home", DATASETS, indirect=True)
def test_labels_edited_under_equal_size_and_time_make_another_run(home: Path, tmp_path: Path) -> None:
    name = next(name for name in DATASETS if DATASETS[name] in (home / "mine.yaml").read_text())
    file, pattern = home / LABELS[name][0], LABELS[name][1]
    content = file.read_bytes()
    match = re.search(pattern, content)
    assert match
    at = match.start(1)
    shown = {int(digit) for digit in re.findall(rb"<name>(\d)</name>", content)} if name == "voc" else {int(match[1])}
    other = min(set(range(1 if name == "coco" else 0, 10)) - shown)
    edited = content[:at] + str(other).encode() + content[at + 1 :]
    text = changed(home, tmp_path / "run", lambda: rewrite(file, edited))
    assert re.search(r'labels_sha256: was "\w{12}", now "\w{12}"', text)


def test_other_weights_under_equal_size_and_time_make_another_run(home: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"0" * 100)
    section = {"file": str(weights), "trained_on": ["imagenet-1k"], "source": "own"}
    text = changed(home, tmp_path / "run", lambda: rewrite(weights, b"1" * 100), training__model__weights=section)
    assert "(training.model.weights.file: was " in text


def test_another_list_of_images_under_equal_size_and_time_makes_another_run(home: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(f"{number:06d}" for number in range(1, 25)))
    other = "\n".join(f"{number:06d}" for number in range(2, 26))
    text = changed(home, tmp_path / "run", lambda: rewrite(ids, other.encode()), dataset__ids=str(ids))
    assert "data_fingerprint" in text


@pytest.mark.parametrize("home", DATASETS, indirect=True)
def test_a_copy_elsewhere_with_other_times_is_the_same_run(home: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(home, tmp_path / "copied", copy_function=shutil.copy))
    for file in copied.rglob("*.*"):
        os.utime(file, ns=(0, 0))
    assert identity(loaded(copied)) == identity(loaded(home))


def test_what_changes_no_label_is_no_other_run(home: Path) -> None:
    before = identity(loaded(home))
    file = home / "data" / "VOC2007" / "Annotations" / "000001.xml"
    file.write_text(file.read_text().replace("Unspecified", "Frontal"))
    assert identity(loaded(home)) == before


class Relabelled(Digits):
    """Digit scenes in which one image has lost a class to another."""

    column, giver, taker = 0, 0, 0

    def labels(self, split: Split) -> NDArray[np.int8]:
        labels = super().labels(split).copy()
        if split == "train":
            labels[[self.giver, self.taker], self.column] = 0, 1
        return labels


def test_labels_that_no_plan_shows_count_too(tmp_path: Path) -> None:
    """`joint` and an oracle memory read them, and the metrics of a memory are measured against them."""
    config = load_scenario("digits-b0c2", {"stream.assignment": {"disjoint": "first"}, "dataset.train": 200}).config
    assert isinstance(config.dataset, DigitsConfig)
    options = DigitsConfig(**{name: getattr(config.dataset, name) for name in DigitsConfig.model_fields})
    source = Relabelled(options)
    labels = Digits(options).labels("train")
    early = labels[:, :2].any(axis=1)  # stays in the first task whatever else it shows
    source.column = 9
    source.giver = int(np.flatnonzero(early & (labels[:, 9] == 1))[0])
    source.taker = int(np.flatnonzero(early & (labels[:, 9] == 0))[0])
    before, after = Scenario(config, Digits(options)), Scenario(config, source)
    assert before.plan().sha256 == after.plan().sha256
    assert before.labels_sha256 != after.labels_sha256
    assert identity(before) != identity(after)


# --- damaged caches


def run(home: Path, out: Path, **overrides: Any) -> Path:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return Path(clsim.run(home / "mine.yaml", "finetune", overrides=keys, out=out).folder)


FROZEN = {"training__model__freeze": "backbone", "training__model__cache_features": True}


@pytest.mark.parametrize(("kind", "overrides"), [("images", {}), ("features", FROZEN), ("labels", {}), ("hashes", {})])
def test_a_damaged_cache_is_thrown_away_and_the_run_is_the_same(
    home: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, overrides: dict[str, Any]
) -> None:
    fresh = run(home, tmp_path / "fresh", **overrides)
    entries = {path: path.read_bytes() for path in (cache / kind).iterdir()}
    for path, whole in entries.items():
        middle = len(whole) // 2
        damaged = bytes(byte ^ 0xFF for byte in whole[middle : middle + 40])
        path.write_bytes(whole[:middle] + damaged + whole[middle + 40 :])
    content._known.clear()  # as if another process began
    again = run(home, tmp_path / "again", **overrides)
    assert logged(again) == logged(fresh)
    for path, whole in entries.items():
        assert f"{path}: damaged, thrown away and made again" in caplog.text
        assert path.read_bytes() == whole


def test_images_that_change_while_they_are_decoded_are_an_error(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = loaded(home).source
    decode, image = image_cache.decode, first_image(home)

    def change_first(path: Path, *options: Any) -> Any:
        if path.name.endswith("40.jpg"):
            image.write_bytes(path.read_bytes())
        return decode(path, *options)

    monkeypatch.setattr(image_cache, "decode", change_first)
    with pytest.raises(clsim.ClsimError, match="image files changed while they were decoded; start again"):
        source.images("train", 28)
    assert [path for path in (cache / "images").iterdir() if path.stat().st_size] == []
    monkeypatch.undo()
    monkeypatch.setenv("CLSIM_CACHE", str(cache))
    pixels = loaded(home).source.images("train", 28)
    np.testing.assert_array_equal(pixels[0], pixels[39])
