"""One torch thread for every test, and a scenario small enough to train in a second."""

from __future__ import annotations

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in every process the tests start
os.environ["MPLBACKEND"] = "Agg"

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import clsim
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_coco, write_manifest, write_voc
from clsim.data.voc import VOC_CLASSES
from clsim.scenario import Scenario, load_scenario

torch.set_num_threads(1)
settings.register_profile("clsim", derandomize=True)  # a test that passes here passes everywhere
settings.load_profile("clsim")
pytest_plugins = [
    "tests.fixtures.templates",
    "tests.fixtures.recorded_runs",
    "tests.fixtures.full_disk",
    "tests.fixtures.browser",
    "tests.fixtures.clusters",
    "tests.fixtures.command",
    "tests.fixtures.manifests",
    "tests.fixtures.published_partitions",
    "tests.fixtures.observers",
    "tests.fixtures.small_runs",
]

TINY = {
    "dataset.train": 60,
    "dataset.test": 40,
    "stream.increment": 4,
    "training.epochs": 2,
    "training.batch_size": 16,
    "training.model.image_size": 28,
    "memory.budget.per_class": 2,
    "evaluation.keep_scores": "all",
    "threads": 1,
}


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from, or left in, the cache of the person who runs the tests."""
    os.environ["CLSIM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def as_in_a_terminal() -> Iterator[None]:
    """Signals act, here and in child processes, also where the runner ignores them: nohup, a job in the background."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_overrides() -> dict[str, object]:
    """Overrides that make digits-b0c2 a matter of a second: three tasks of 4, 4 and 2 classes."""
    return dict(TINY)


@pytest.fixture
def tiny(tiny_overrides: dict[str, object]) -> Scenario:
    return load_scenario("digits-b0c2", tiny_overrides)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished tiny run of lwf+er with seed 3, to be read only."""
    return clsim.run("digits-b0c2", "lwf+er", seed=3, overrides=TINY, out=tmp_path_factory.mktemp("run")).folder


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> clsim.Comparison:
    """A finished tiny comparison of joint and finetune with two seeds, to be read only."""
    out = tmp_path_factory.mktemp("comparison")
    return clsim.compare("digits-b0c2", ["joint", "finetune"], seeds=[0, 1], overrides=TINY, out=out, workers=2)


class VocScenes(Digits):
    """Digits in two inks that pretend to be the twenty classes of PASCAL VOC."""

    class_names = VOC_CLASSES


@pytest.fixture(scope="session")
def voc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with VOCdevkit, small stand-ins for VOC2007 and VOC2012, and ids.txt for the latter; to be read only."""
    home = tmp_path_factory.mktemp("voc")
    options: dict[str, Any] = {"categories": 20, "frequency": "uniform", "test": 60}
    for year, train in ((2007, 100), (2012, 90)):
        config = DigitsConfig(name="digits", train=train, seed=year, **options)
        write_voc(VocScenes(config), home / "VOCdevkit", 32, year)
    (home / "ids.txt").write_text("".join(f"{number:06d}\n" for number in range(1, 81)))
    return home


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 2014 and 2017, small stand-ins for COCO of eighty classes, and ids.txt; to be read only."""
    home = tmp_path_factory.mktemp("coco")
    for year in (2014, 2017):
        options: dict[str, Any] = {"categories": 80, "frequency": "uniform", "labels_per_scene": (4, 5)}
        write_coco(
            Digits(DigitsConfig(name="digits", train=120, test=80, seed=year, **options)), home / str(year), 32, year
        )
    (home / "ids.txt").write_text("".join(f"{number}\n" for number in range(1, 111)))
    return home


@pytest.fixture(scope="session")
def class_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of images of one class each, in a column `class`; to be read only."""
    home = tmp_path_factory.mktemp("classes") / "own"
    write_manifest(Digits(DigitsConfig(name="digits", train=120, test=60, labels_per_scene=(1, 1))), home, 32)
    header, *lines = (home / "manifest.csv").read_text().splitlines()
    names = header.split(",")[2:]
    rows = [line.split(",") for line in lines]
    text = "".join(f"{path},{split},{names[cells.index('1')]}\n" for path, split, *cells in rows)
    (home / "classes.csv").write_text(f"path,split,class\n{text}")
    return home / "classes.csv"


@pytest.fixture(scope="session")
def shipped_in_small(
    voc_folder: Path, coco_folder: Path, class_table: Path, partition_in_small: Callable[[str], dict[str, Any]]
) -> Callable[[str], dict[str, Any]]:
    """Name of a shipped scenario -> overrides with which it plans and runs in a second or two, from generated data."""

    def overrides(name: str) -> dict[str, Any]:
        config = load_scenario(name).config
        dataset = config.dataset
        if dataset.name == "digits":
            return {"dataset.train": 120, "dataset.test": 60}
        network = {"training.model": {"name": "tiny-resnet", "image_size": 32}, "training.precision": "float32"}
        if config.stream.tasks is not None:
            return {**network, **partition_in_small(name)}
        if dataset.name == "manifest":
            return {"dataset.file": str(class_table), "stream.base": 0, "stream.increment": 2, **network}
        if dataset.name == "voc":
            root, ids = voc_folder / "VOCdevkit", voc_folder / "ids.txt"
        else:
            assert dataset.name == "coco"
            root, ids = coco_folder / dataset.train.removeprefix("train"), coco_folder / "ids.txt"
        return {
            "dataset.root": str(root),
            **network,
            **({} if dataset.ids is None else {"dataset.ids": str(ids)}),
        }

    return overrides
