"""`clsim init`: the scenario it writes is one that `clsim plan` takes, and nothing is written otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from clsim.errors import ClsimError, ScenarioError
from clsim.scenario import load_scenario
from clsim.scenario.new_scenario import draft, write


def photos(home: Path, *names: str, side: int = 40, count: int = 5) -> Path:
    for index, name in enumerate(names):
        (home / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (side + 9, side), (index, number, 0)).save(home / name / f"{number}.png")
    return home


def written(folder: Path, target: Path):
    write(draft(folder, target), target)
    return load_scenario(target)


def test_it_plans_and_can_be_moved_with_its_data(tmp_path: Path) -> None:
    folder = photos(tmp_path / "my photos: all", "cat", "no", "x y", "1", "true")
    scenario = written(folder, tmp_path / "mine.yaml")
    assert scenario.source.class_names == ("1", "cat", "no", "true", "x y")
    assert len(scenario.plan().tasks) == 5
    assert scenario.config.labels.visible == "full"  # one class per image
    assert scenario.config.training.model.image_size == 32
    text = (tmp_path / "mine.yaml").read_text()
    assert '\n  root: "my photos: all"\n' in text
    assert "# one folder per class; 5 classes, 20 training and 5 test images; rarest class: 1 (4)" in text
    assert all("#" in line or ":" in line for line in text.splitlines())
    (tmp_path / "moved").mkdir()
    for path in (tmp_path / "mine.yaml", folder):
        path.rename(tmp_path / "moved" / path.name)
    assert load_scenario(tmp_path / "moved" / "mine.yaml").plan().sha256 == scenario.plan().sha256


def test_data_elsewhere_have_an_absolute_path_and_large_images_a_larger_network(tmp_path: Path) -> None:
    folder = photos(tmp_path / "data", "a", "b", side=200)
    (tmp_path / "here").mkdir()
    config = written(folder, tmp_path / "here" / "s.yaml").config
    assert config.dataset.root == str(folder)
    assert (config.training.model.name, config.training.model.image_size) == ("resnet18", 224)


def test_names_cannot_break_the_file(tmp_path: Path) -> None:
    folder = photos(tmp_path / "a\nb: [", "x", "y #: - z", "'\"\\")
    assert written(folder, tmp_path / "-- ~.yaml").source.class_names == ("'\"\\", "x", "y #: - z")
    assert written(folder, tmp_path / "-- ~.yaml").name == "mine"


def test_what_makes_no_stream_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    folder = photos(tmp_path / "data", "train/a", "train/b", "test/a", "test/c")
    with pytest.raises(ScenarioError, match=r"/test/c: a class without training images"):
        draft(folder, tmp_path / "s.yaml")
    good = draft(photos(tmp_path / "good", "a", "b"), tmp_path / "s.yaml")
    for file in (tmp_path / "good" / "a").iterdir():
        file.unlink()
    with pytest.raises(ScenarioError, match=rf"^{tmp_path}/s\.yaml:\d+: "):
        write(good, tmp_path / "s.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "good"]


def test_one_class_is_no_stream(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n1.jpg,cat\n2.jpg,cat\n")
    with pytest.raises(ClsimError, match=r": 1 class in a table of images; a stream needs two or more$"):
        draft(tmp_path, tmp_path / "s.yaml")


def test_one_known_class_an_image_says_nothing_of_those_that_nobody_looked_for(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a", count=12)
    rows = "".join(f"a/{number}.png,{'1,' if number % 2 else ',1'}\n" for number in range(12))
    (folder / "labels.csv").write_text(f"path,cat,dog\n{rows}")
    scenario = written(folder, tmp_path / "mine.yaml")
    assert scenario.source.labels("train").min() == -1
    assert scenario.config.labels.visible == "task"
