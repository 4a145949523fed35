"""A data set on disk as part of a scenario: paths, file and line of what is missing, the same plan as from memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import clsim
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_coco, write_manifest, write_voc
from clsim.data.source import ImageSource, Split
from clsim.data.voc import Voc
from clsim.errors import ScenarioError
from clsim.scenario import Scenario, load_scenario

SCENES = {"train": 60, "test": 40}
SCENARIO = """
name: mine
dataset:
  name: voc
  root: data/VOCdevkit
  class_names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
stream: {increment: 5}
training:
  model: {image_size: 32}
  epochs: 1
  optimizer: {lr: 1e-3}
threads: 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.yaml and its data, to be read only."""
    home = tmp_path_factory.mktemp("home")
    write_voc(Digits(DigitsConfig(name="digits", **SCENES)), home / "data" / "VOCdevkit", 32)
    (home / "mine.yaml").write_text(SCENARIO)
    return home


@pytest.fixture
def scenario(folder: Path) -> Scenario:
    return load_scenario(folder / "mine.yaml")


def test_the_name_makes_the_source(scenario: Scenario) -> None:
    assert isinstance(scenario.source, Voc)
    assert isinstance(load_scenario("digits-b0c2").source, Digits)


@pytest.mark.parametrize("labels", ["annotations", "class-files"])
def test_the_plan_is_that_of_the_same_labels_in_memory(folder: Path, labels: str) -> None:
    from_files = load_scenario(folder / "mine.yaml", {"dataset.labels": labels}).plan()
    keys = {"stream.increment": 5, **{f"dataset.{split}": count for split, count in SCENES.items()}}
    assert from_files.sha256 == load_scenario("digits-b0c2", keys).plan().sha256


def test_classes_and_validation_are_offered(folder: Path) -> None:
    overrides = {"dataset.classes": ["3", "1", "4"], "dataset.validation": 0.2, "stream.increment": 3}
    plan = load_scenario(folder / "mine.yaml", {**overrides, "evaluation.on": "validation"}).plan()
    assert plan.class_names == ("1", "3", "4")
    assert plan.test_split == "train"
    assert not set(plan.test_samples) & set(plan.tasks[0].samples)


def test_relative_paths_are_relative_to_the_scenario_or_to_where_set_is_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ids.txt").write_text("000001\n000002\n000003\n000004\n000005\n")
    plan = load_scenario(folder / "mine.yaml", ["dataset.ids=ids.txt", "stream.increment=10"]).plan()
    assert len(plan.tasks[0]) == 5
    (tmp_path / "devkit").symlink_to(folder / "data" / "VOCdevkit")
    config = load_scenario(folder / "mine.yaml", ["dataset.root=devkit"]).config
    assert getattr(config.dataset, "root", None) == str(tmp_path / "devkit")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_scenario(folder / "mine.yaml", ["dataset.root=~/devkit"]).config
    assert getattr(config.dataset, "root", None) == str(tmp_path / "devkit")


def test_a_resolved_configuration_finds_its_files_again(folder: Path, tmp_path: Path) -> None:
    result = clsim.run(folder / "mine.yaml", "finetune", out=tmp_path)
    assert (
        load_scenario(result.folder / "config.yaml").plan().sha256 == load_scenario(folder / "mine.yaml").plan().sha256
    )
    assert result.result["data_fingerprint"] == load_scenario(folder / "mine.yaml").source.fingerprint()
    assert all(value is not None for value in result.result["mAP"])


def test_what_is_missing_is_told_with_file_line_and_key(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path).plan()
    (problem,) = caught.value.problems
    root = tmp_path / "data" / "VOCdevkit"
    assert problem.startswith(f"{path}:5: dataset.root: {root}: no such folder; expected is {root}/VOC2007/")
    ids = ["dataset.ids=nope.txt", f"dataset.root={folder / 'data' / 'VOCdevkit'}"]
    with pytest.raises(ScenarioError, match=r"^--set dataset\.ids=nope\.txt: dataset\.ids: .*nope\.txt: no such file"):
        load_scenario(path, ids).plan()


def test_missing_images_stop_a_run_before_it_leaves_a_trace(folder: Path, tmp_path: Path) -> None:
    devkit = tmp_path / "VOCdevkit" / "VOC2007"
    devkit.mkdir(parents=True)
    for name in ("ImageSets", "Annotations"):
        (devkit / name).symlink_to(folder / "data" / "VOCdevkit" / "VOC2007" / name)
    overrides = {"dataset.root": str(devkit.parent)}
    assert load_scenario(folder / "mine.yaml", overrides).plan().n_classes == 10
    with pytest.raises(ScenarioError, match=r"^override dataset\.root: dataset\.root: .*000001\.jpg: no such file"):
        clsim.run(folder / "mine.yaml", "finetune", overrides=overrides, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


class PartlyAnnotated(Digits):
    """Digit scenes in which nobody looked for the absence of class 2."""

    def labels(self, split: Split) -> NDArray[np.int8]:
        labels = super().labels(split).copy()
        labels[labels[:, 2] == 0, 2] = -1
        return labels


def test_a_label_the_data_set_does_not_have_stays_unknown_in_every_stream() -> None:
    source = PartlyAnnotated(DigitsConfig(name="digits", **SCENES))
    benchmark = Scenario(load_scenario("digits-b0c2", {"stream.increment": 5}).config, source).benchmark()
    for stream in (benchmark.train_stream, benchmark.test_stream):
        dataset = stream[0].dataset
        targets = dataset.__getitems__(range(len(dataset))).batch[1]
        assert set(targets[:, 2].tolist()) == {-1.0, 1.0}
        assert set(targets[:, 3].tolist()) == {0.0, 1.0}


# --- the other data sets on disk


def as_written(scenario: str, dataset: str) -> str:
    """The scenario with another data set in one line."""
    before, _, after = scenario.partition("dataset:")
    return f"{before}dataset: {dataset}\nstream:{after.partition('stream:')[2]}"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifest.yaml and coco.yaml and their data, to be read only."""
    home = tmp_path_factory.mktemp("tables")
    config = DigitsConfig(name="digits", **SCENES)
    write_manifest(PartlyAnnotated(config), home / "own", 32)
    write_coco(Digits(config), home / "data" / "coco", 32)
    manifest = "{name: manifest, file: own/manifest.csv, label_columns: rest}"
    (home / "manifest.yaml").write_text(as_written(SCENARIO, manifest))
    (home / "coco.yaml").write_text(as_written(SCENARIO, "{name: coco, root: data/coco}"))
    return home


@pytest.mark.parametrize("name", ["manifest", "coco"])
def test_a_run_from_files_ends_with_numbers_and_a_fingerprint(tables: Path, tmp_path: Path, name: str) -> None:
    scenario = load_scenario(tables / f"{name}.yaml")
    result = clsim.run(tables / f"{name}.yaml", "er", overrides={"memory.budget": {"total": 20}}, out=tmp_path)
    assert all(value is not None for value in result.result["mAP"])
    assert result.result["data_fingerprint"] == scenario.source.fingerprint()
    unknown = any((task.values == -1).any() for task in scenario.plan().tasks)
    assert unknown == (name == "manifest")
    assert load_scenario(result.folder / "config.yaml").plan().sha256 == scenario.plan().sha256


@pytest.mark.parametrize(
    ("name", "option", "given"), [("manifest", "file", "own/manifest.csv"), ("coco", "root", "data/coco")]
)
def test_other_paths_are_resolved_alike(
    tables: Path, monkeypatch: pytest.MonkeyPatch, name: str, option: str, given: str
) -> None:
    monkeypatch.chdir(tables / "data")
    expected = str(tables / given)
    configs = [
        load_scenario(tables / f"{name}.yaml").config,
        load_scenario(tables / f"{name}.yaml", [f"dataset.{option}=../{given}"]).config,
    ]
    assert [str(Path(getattr(config.dataset, option)).resolve()) for config in configs] == [expected] * 2


@pytest.mark.parametrize("option", ["train_file", "test_file"])
def test_tables_of_the_splits_are_resolved_too(tmp_path: Path, option: str) -> None:
    text = as_written(SCENARIO, "{name: manifest, train_file: a.csv, test_file: b.csv, label_columns: rest}")
    (tmp_path / "mine.yaml").write_text(text)
    file = "a.csv" if option == "train_file" else "b.csv"
    assert getattr(load_scenario(tmp_path / "mine.yaml").config.dataset, option) == str(tmp_path / file)


def test_a_wrong_cell_is_told_with_the_line_of_the_table_and_of_the_scenario(tmp_path: Path) -> None:
    text = as_written(SCENARIO, "{name: manifest, file: m.csv, label_columns: rest}")
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "m.csv").write_text("path,split,cat\na.jpg,train,1\nb.jpg,trian,1\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(tmp_path / "mine.yaml").plan()
    assert caught.value.problems == [
        f"{tmp_path}/mine.yaml:3: dataset.file: {tmp_path}/m.csv:3: column 'split': given 'trian', "
        "allowed: train, test, did you mean 'train'?"
    ]


@pytest.mark.parametrize(
    ("name", "key"),
    [("imagenet-lt", "dataset.file"), ("voc-mlt", "dataset.root"), ("coco-mlt", "dataset.root")],
)
def test_a_path_that_no_disk_can_hold_is_not_there(name: str, key: str) -> None:
    with pytest.raises(ScenarioError, match="no such f"):
        load_scenario(name, {key: "1" + 300 * "0"}).plan()


# --- layouts of other people: own folder names, single files, no test split


def sorted_rows(source: ImageSource, split: Split) -> list[tuple[int, ...]]:
    return sorted(map(tuple, source.labels(split).tolist()))


def test_voc_in_a_folder_of_any_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "MyData").symlink_to(folder / "data" / "VOCdevkit" / "VOC2007")
    keys = {"dataset.root": str(tmp_path), "dataset.train": ["MyData trainval"], "dataset.test": ["MyData test"]}
    mine = load_scenario(folder / "mine.yaml", keys)
    assert mine.plan().sha256 == load_scenario(folder / "mine.yaml").plan().sha256
    assert (
        mine.source.images("train", 32)[:].tolist()
        == load_scenario(folder / "mine.yaml").source.images("train", 32)[:].tolist()
    )
    with pytest.raises(ScenarioError, match=r"MyDat/ImageSets/Main|MyDat: no such folder"):
        load_scenario(folder / "mine.yaml", {**keys, "dataset.train": ["MyDat trainval"]}).plan()
    with pytest.raises(ScenarioError, match="allowed: a year from 2007 to 2012, or the name of another folder"):
        load_scenario(folder / "mine.yaml", {**keys, "dataset.train": ["2013 trainval"]})


@pytest.mark.parametrize("name", ["voc", "coco", "manifest"])
def test_a_data_set_without_a_test_split_gives_a_share(folder: Path, tables: Path, name: str) -> None:
    home, whole = (folder / "mine.yaml", "voc") if name == "voc" else (tables / f"{name}.yaml", name)
    keys: dict[str, object] = {"dataset.test": {"share": 0.25}}
    if whole == "manifest":
        keys |= {"dataset.split_column": "split", "dataset.other_splits": ["test"]}
    shared, all_of_it = load_scenario(home, keys), load_scenario(home)
    parts = [row for split in ("train", "test") for row in sorted_rows(shared.source, split)]
    assert sorted(parts) == sorted_rows(all_of_it.source, "train")
    assert len(shared.source.labels("test")) in range(10, 21)
    assert not set(shared.source.files("train")) & set(shared.source.files("test"))
    assert len(shared.source.files("test")) == len(shared.source.labels("test"))
    assert (
        shared.plan().sha256 != load_scenario(home, {**keys, "dataset.test": {"share": 0.25, "seed": 1}}).plan().sha256
    )
    if name == "voc":
        two = {**keys, "dataset.train": ["2007 trainval", "2007 test"]}
        assert len(load_scenario(home, two).source.labels("train")) > len(all_of_it.source.labels("train"))


@pytest.mark.parametrize("given", [{"share": 1.5}, {"shar": 0.2}, {"share": "a fifth"}, 3])
@pytest.mark.parametrize("name", ["voc", "coco", "manifest"])
def test_an_impossible_share_is_refused(folder: Path, tables: Path, name: str, given: object) -> None:
    home = folder / "mine.yaml" if name == "voc" else tables / f"{name}.yaml"
    with pytest.raises(ScenarioError, match=r"dataset\.test") as caught:
        load_scenario(home, {"dataset.test": given})
    assert "Share" not in str(caught.value)


def test_coco_from_single_annotation_files(tables: Path, tmp_path: Path) -> None:
    coco = tables / "data" / "coco"
    for split in ("train", "val"):
        text = (coco / "annotations" / f"instances_{split}2014.json").read_text()
        (tmp_path / f"{split}.json").write_text(text.replace("COCO_", f"{split}2014/COCO_"))
    (tmp_path / "images").symlink_to(coco)
    text = "{name: coco, train_file: train.json, test_file: val.json, image_folder: images}"
    (tmp_path / "mine.yaml").write_text(as_written(SCENARIO, text))
    mine, there = load_scenario(tmp_path / "mine.yaml"), load_scenario(tables / "coco.yaml")
    assert mine.plan().sha256 == there.plan().sha256
    mine.check_images()
    (tmp_path / "mine.yaml").write_text(as_written(SCENARIO, text.replace("test_file: val.json", "test: {share: 0.3}")))
    shared = load_scenario(tmp_path / "mine.yaml")
    shared.check_images()
    assert len(shared.source.labels("train")) + len(shared.source.labels("test")) == len(there.source.labels("train"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("train_file: a.json", "dataset.train_file: given 'a.json', needs either test_file or a share for test"),
        ("train_file: a.json, test_file: b.json, root: x", "dataset.root: given 'x', not together with train_file"),
        ("test_file: b.json", "dataset.test_file: given 'b.json', only with train_file"),
        ("train_file: a.json, test_file: b.json", "dataset.train_file: {home}/a.json: no such file"),
        ("train_file: bad.json, test_file: b.json", "train_file: 3 problems:\n{home}/bad.json: no list 'images'"),
    ],
)
def test_single_annotation_files_that_cannot_be(tmp_path: Path, options: str, problem: str) -> None:
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "mine.yaml").write_text(as_written(SCENARIO, f"{{name: coco, {options}}}"))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(tmp_path / "mine.yaml").plan()
    wanted = problem.format(home=tmp_path)
    assert wanted.replace("'x'", f"'{tmp_path}/x'").replace("'b.json'", f"'{tmp_path}/b.json'").replace(
        "'a.json'", f"'{tmp_path}/a.json'"
    ) in str(caught.value)


def test_a_run_from_class_folders(tmp_path: Path) -> None:
    digits = Digits(DigitsConfig(name="digits", train=40, test=1, labels_per_scene=(1, 1)))
    images, labels = digits.images("train", 32), digits.labels("train")
    for row, column in zip(*np.nonzero(labels), strict=True):
        file = tmp_path / "photos" / f"digit {column}" / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(images[row].transpose(1, 2, 0))).save(file)
    (tmp_path / "mine.yaml").write_text(as_written(SCENARIO, "{name: folder, root: photos, test: {share: 0.3}}"))
    result = clsim.run(tmp_path / "mine.yaml", "finetune", out=tmp_path / "runs")
    assert result.result["mAP"][-1] is not None
    again = load_scenario(result.folder / "config.yaml")
    assert again.plan().sha256 == load_scenario(tmp_path / "mine.yaml").plan().sha256
