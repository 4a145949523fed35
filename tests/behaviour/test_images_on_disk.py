"""Runs over image files: bad images change nothing but a count, decoding them as they are needed changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_voc
from clsim.errors import ScenarioError
from clsim.launch.run_state import RunState
from clsim.scenario import load_scenario

SCENARIO = """
name: mine
dataset: {name: voc, root: VOCdevkit, class_names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}
stream: {increment: 5}
memory: {budget: {total: 16}}
training:
  model: {image_size: 28}
  epochs: 1
  batch_size: 16
  optimizer: {lr: 1e-3}
threads: 1
"""
SCENES = DigitsConfig(name="digits", train=48, test=30)
BAD = {"trainval": [1, 17, 48], "test": [49, 60]}
"""Numbers of the images that cannot be decoded; the splits are 1..48 and 49..78."""
ABOUT_THE_DATA = ("plan_sha256", "derived_from", "data_fingerprint", "skipped_images")
SKIP = {"dataset.on_bad_image": "skip"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.yaml and its data, to be read only."""
    home = tmp_path_factory.mktemp("whole")
    write_voc(Digits(SCENES), home / "VOCdevkit", 28)
    (home / "mine.yaml").write_text(SCENARIO)
    return home


@pytest.fixture(scope="module")
def damaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with bad images."""
    home = Path(shutil.copytree(whole, tmp_path_factory.mktemp("damaged") / "home"))
    for number in (number for numbers in BAD.values() for number in numbers):
        image = home / "VOCdevkit" / "VOC2007" / "JPEGImages" / f"{number:06d}.jpg"
        image.write_bytes(image.read_bytes()[: 40 * (number % 3)])
    return home


@pytest.fixture(scope="module")
def cleaned(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without the bad images."""
    home = Path(shutil.copytree(whole, tmp_path_factory.mktemp("cleaned") / "home"))
    for split, numbers in BAD.items():
        listed = home / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / f"{split}.txt"
        ids = [line for line in listed.read_text().split() if int(line) not in numbers]
        listed.write_text("\n".join(ids))
    return home


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def result_of(home: Path, out: Path, strategy: str, overrides: dict[str, Any]) -> dict[str, Any]:
    return clsim.run(home / "mine.yaml", strategy, overrides=overrides, out=out).result


@pytest.mark.parametrize(
    ("strategy", "overrides"),
    [
        ("er", {"evaluation.images": "all"}),
        ("er", {"memory.labels": "oracle"}),
        ("joint", {}),
        ("lwf", {"dataset.validation": 0.3, "evaluation.on": "validation"}),
        ("finetune", {"labels.visible": "full", "stream.order": "frequency"}),
    ],
)
def test_bad_images_count_as_if_they_were_not_there(
    damaged: Path, cleaned: Path, tmp_path: Path, strategy: str, overrides: dict[str, Any]
) -> None:
    given = result_of(damaged, tmp_path / "damaged", strategy, SKIP | overrides)
    expected = result_of(cleaned, tmp_path / "cleaned", strategy, overrides)
    assert given["skipped_images"] == {"train": 3, "test": 2}
    assert expected["skipped_images"] == {"train": 0, "test": 0}
    assert {k: v for k, v in given.items() if k not in ABOUT_THE_DATA} == {
        k: v for k, v in expected.items() if k not in ABOUT_THE_DATA
    }


def test_the_log_of_a_run_names_what_is_left_out(damaged: Path, tmp_path: Path) -> None:
    clsim.run(damaged / "mine.yaml", "finetune", overrides=SKIP, out=tmp_path)
    log = (tmp_path / "mine" / "finetune" / "seed0" / "run.log").read_text()
    for split, numbers in (("train", BAD["trainval"]), ("test", BAD["test"])):
        assert f"images of {split} left out: {len(numbers)}\n" in log
        for number in numbers:
            file = damaged / "VOCdevkit" / "VOC2007" / "JPEGImages" / f"{number:06d}.jpg"
            assert f"image of {split} left out, because it cannot be decoded: {file}\n" in log


def test_no_stream_holds_a_bad_image(damaged: Path) -> None:
    scenario = load_scenario(damaged / "mine.yaml", SKIP | {"evaluation.images": "all"})
    benchmark = scenario.benchmark()
    for stream in (benchmark.train_stream, benchmark.test_stream, benchmark.evaluation_stream):
        for experience in stream:
            x = experience.dataset.__getitems__(range(len(experience.dataset))).batch[0]
            assert (x.flatten(1).max(dim=1).values > -1).all(), "a black image"


def test_without_the_option_a_bad_image_ends_the_run(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"000001\.jpg: cannot be decoded as an image"):
        clsim.run(damaged / "mine.yaml", "finetune", out=tmp_path)


# --- decoding as images are needed


@pytest.mark.parametrize(
    ("strategy", "overrides"),
    [
        ("lwf+er", {"evaluation.every": "epoch"}),
        ("er", {"training.model.freeze": "backbone", "training.model.cache_features": True}),
        ("er", SKIP | {"dataset.resize": "crop", "dataset.workers": 3}),
    ],
)
def test_a_run_is_the_same_without_the_cache(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, overrides: dict[str, Any]
) -> None:
    folders = {}
    for images in ("cache", "stream"):
        monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / images / "cache"))
        run = clsim.run(
            whole / "mine.yaml", strategy, overrides={**overrides, "dataset.images": images}, out=tmp_path / images
        )
        folders[images] = run.folder
        assert (tmp_path / images / "cache" / "images").exists() == (images == "cache")
    for file in ("result.json", "metrics.jsonl", "class_values.f64", "plan.json.gz"):
        assert (folders["stream"] / file).read_bytes() == (folders["cache"] / file).read_bytes()


def test_a_bad_image_met_on_the_way_ends_the_run_with_its_name(damaged: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"0000(01|17|48|49|60)\.jpg: cannot be decoded as an image"):
        clsim.run(damaged / "mine.yaml", "finetune", overrides={"dataset.images": "stream"}, out=tmp_path)
    folder = tmp_path / "mine" / "finetune" / "seed0"
    assert "cannot be decoded as an image" in (folder / "error.txt").read_text()
    assert not (folder / "result.json").exists()


def test_features_of_bad_images_are_not_those_of_mended_ones(
    damaged: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(damaged, tmp_path / "home"))
    frozen = SKIP | {"training.model.freeze": "backbone", "training.model.cache_features": True}
    image, good = (home / "VOCdevkit" / "VOC2007" / "JPEGImages" / f"{n:06d}.jpg" for n in (17, 18))
    image.write_bytes(b"\0" * good.stat().st_size)
    result_of(home, tmp_path / "before", "finetune", frozen)
    shutil.copy(good, image)  # equal in size
    mended = result_of(home, tmp_path / "after", "finetune", frozen)
    assert mended["skipped_images"] == {"train": 2, "test": 2}
    assert len(list((cache / "features").iterdir())) == 4, "two splits, before and after"
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "empty"))
    assert result_of(home, tmp_path / "afresh", "finetune", frozen) == mended


# --- what is done before training

SLOW = """
import time

import clsim
from avalanche.training.plugins import SupervisedPlugin


class Sleeps(SupervisedPlugin):
    def before_training_epoch(self, strategy, **kwargs):
        time.sleep(0.3)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Slow(clsim.Strategy):
    def plugins(self, context):
        time.sleep(3)
        return [Sleeps()]
"""


class Told:
    """A progress that remembers what was done, and the last state."""

    def __init__(self) -> None:
        self.work: list[str] = []

    def update(self, folder: Path, state: RunState) -> None:
        self.state = state
        if state.work is not None:
            self.work.append(str(state.work))

    def say(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("processes", [False, True])
def test_one_off_work_is_told_and_is_not_in_the_pace(
    processes: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "slow.py").write_text(SLOW)
    frozen = {"training.model.freeze": "backbone", "training.model.cache_features": True}
    told = Told()
    where: dict[str, Any] = {"overrides": frozen, "out": tmp_path / "runs", "progress": told}
    spec = f"{tmp_path / 'slow.py'}:Slow"
    if processes:
        assert clsim.compare(whole / "mine.yaml", spec, **where).failed == {}
        assert told.work  # what it had come to when it was looked at
    else:
        clsim.run(whole / "mine.yaml", spec, **where)
        assert [text for text in told.work if text.startswith("decoding")][-1] == "decoding 48 of 48 images"
        assert {"features 0 of 48 images", "features 48 of 48 images", "features 30 of 30 images"} <= set(told.work)
    assert told.state.work is None
    state = told.state
    assert state.pace is not None
    assert state.elapsed is not None
    assert state.done == state.total == 2
    assert 0.6 < state.pace * state.total < state.elapsed - 3
    assert not list((tmp_path / "runs").rglob("preparation.json"))
