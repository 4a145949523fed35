"""Data sets of somebody else's class from the scenario to the result: plans, runs, comparisons, identity."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray
from PIL import Image

import clsim
from clsim.data.digits import Digits
from clsim.data.source import Split
from clsim.errors import ClsimError, ScenarioError
from clsim.running.run_identity import identity
from clsim.scenario import load_scenario
from tests.fixtures.logged import logged

ROOT = Path(__file__).parents[2]
SQUARES = ROOT / "docs" / "examples" / "my_data.py"
PAIRS = ROOT / "docs" / "examples" / "torchvision_data.py"
SCENARIO = """
name: own
dataset: {name: my_data.py:Squares, options: {train: 60, test: 30}}
stream: {increment: 3}
memory: {budget: {total: 12}}
training:
  model: {image_size: 16}
  epochs: 1
  batch_size: 16
  optimizer: {lr: 1e-3}
threads: 1
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """own.yaml, beside a copy of the example's class."""
    (tmp_path / "my_data.py").write_text(SQUARES.read_text())
    (tmp_path / "own.yaml").write_text(SCENARIO)
    return tmp_path / "own.yaml"


def idx(file: Path, array: NDArray[np.uint8]) -> None:
    """Write an array as MNIST's files are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    file.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small MNIST; to be read only."""
    root = tmp_path_factory.mktemp("mnist")
    random = np.random.default_rng(0)
    for name, n in (("train", 80), ("t10k", 40)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        idx(root / "MNIST" / "raw" / f"{name}-labels-idx1-ubyte", labels)
        idx(root / "MNIST" / "raw" / f"{name}-images-idx3-ubyte", random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
    return root


# --- a class from a file


def test_a_comparison_takes_the_class_to_all_its_runs(file: Path, tmp_path: Path) -> None:
    comparison = clsim.compare(file, ["finetune", "er"], out=tmp_path / "runs", workers=2)
    assert comparison.results.strategies == ["finetune", "er"]
    folder = tmp_path / "runs" / "own" / "er" / "seed0"
    result = json.loads((folder / "result.json").read_text())
    assert result["last_mAP"] is not None
    alone = clsim.run(file, "er", out=tmp_path / "alone")
    assert logged(alone.folder) == logged(folder)
    again = clsim.compare(file, ["finetune", "er"], out=tmp_path / "runs")
    assert len(again.reused) == 2
    config = (folder / "config.yaml").read_text()
    assert f"{file.parent}/my_data.py:Squares" in config


def test_paths_start_at_the_scenario_or_where_set_is_given(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SQUARES.read_text().replace(
        "        train: int", "        folder: Annotated[str, DATA_PATH] = 'x'\n        train: int"
    )
    imports = "from typing import Annotated\n\nfrom clsim.data.path_options import DATA_PATH\n"
    (file.parent / "my_data.py").write_text(text.replace("import numpy as np\n", f"{imports}import numpy as np\n"))
    file.write_text(SCENARIO.replace("train: 60", "train: 60, folder: photos"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")

    def options(*settings: str) -> Any:
        config = load_scenario(file, settings).config.dataset
        return config.name, getattr(config, "options", {})["folder"]

    assert options() == (f"{tmp_path}/my_data.py:Squares", f"{tmp_path}/photos")
    assert options("dataset.options.folder=here")[1] == f"{tmp_path}/desk/here"
    (tmp_path / "desk" / "my_data.py").write_text((tmp_path / "my_data.py").read_text())
    assert options("dataset.name=my_data.py:Squares")[0] == f"{tmp_path}/desk/my_data.py:Squares"
    found = identity(load_scenario(file), "er", {}, seed=0, device="cpu", threads=1)
    assert "dataset.options.folder" not in found


def test_code_and_content_are_the_identity_but_not_the_place_or_a_comment(file: Path, tmp_path: Path) -> None:
    def identity_of(change: Callable[[str], str], home: Path = tmp_path) -> dict[str, Any]:
        home.mkdir(exist_ok=True)
        (home / "my_data.py").write_text(change(SQUARES.read_text()))
        (home / "own.yaml").write_text(SCENARIO)
        return identity(load_scenario(home / "own.yaml"), "er", {}, seed=0, device="cpu", threads=1)

    before = identity_of(str)
    assert before["dataset.name"] == "Squares"
    assert identity_of(lambda text: text + "# a comment\n") == before
    assert identity_of(str, tmp_path / "moved") == before
    other = identity_of(lambda text: text.replace("2 : 16 * top", "3 : 16 * top"))
    assert {key for key in before if before[key] != other[key]} == {"code.dataset", "data_fingerprint"}
    unread = identity_of(lambda text: text + "\nunused = 1\n")
    assert {key for key in before if before[key] != unread[key]} == {"code.dataset"}


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"dataset.name": "my_dat.py:Squares"},
            "dataset.name: .*my_dat.py:Squares', expected path/to/file.py:Name, and no file",
        ),
        ({"dataset.options.tran": 3}, r"dataset\.options\.tran: unknown option, did you mean 'train'\?"),
        ({"dataset.options.train": 0}, r"dataset\.options\.train: given 0, Input should be greater than or equal to 1"),
        ({"dataset.test": {"share": 0.5}}, r"dataset\.test: given a share, but .*Squares has splits of its own"),
        (
            {"dataset.rot": "x"},
            r"dataset\.rot: unknown key.*allowed: name, options, test, resize, soft_labels",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(file: Path, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ScenarioError, match=text) as caught:
        load_scenario(file, keys).plan()
    assert str(caught.value).startswith("override dataset.")


def test_an_error_in_the_third_image_ends_a_run_before_it_leaves_a_trace(file: Path, tmp_path: Path) -> None:
    text = (file.parent / "my_data.py").read_text()
    (file.parent / "my_data.py").write_text(
        text.replace("        pixels = ", "        assert i != 3, 'torn'\n        pixels = ")
    )
    with pytest.raises(ClsimError, match=r"own\.yaml:3: dataset\.name: .*item 3 of train: .*torn \(.*:30\)"):
        clsim.run(file, "finetune", out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert load_scenario(file).plan().n_classes == 6, "labels are at hand"


def test_a_source_of_both_splits_takes_no_share(file: Path) -> None:
    (file.parent / "my_data.py").write_text(
        "class Squares:\n    def __init__(self, train, test): pass\n    labels = images = fingerprint = print\n"
    )
    for key, value in (("test", {"share": 0.2}), ("resize", "crop"), ("soft_labels", "unknown")):
        with pytest.raises(ScenarioError, match=rf"dataset\.{key}: .* gives arrays of both splits itself"):
            load_scenario(file, {f"dataset.{key}": value})


def test_the_checks_of_a_data_set_read_every_item(file: Path, tmp_path: Path) -> None:
    text = (file.parent / "my_data.py").read_text()
    for args, code in (([], 0), (["--no-decode"], 0)):
        assert run("data", "check", str(file), *args).returncode == code
    (file.parent / "my_data.py").write_text(
        text.replace("        pixels = ", "        assert i != 9, 'torn'\n        pixels = ")
    )
    assert run("data", "check", str(file), "--no-decode").returncode == 0
    done = run("data", "check", str(file))
    assert done.returncode == 2
    assert "item 9 of train: AssertionError: torn" in done.stderr


def torn(text: str, item: int) -> str:
    """The class with an item that fails."""
    return text.replace("        pixels = ", f"        assert i != {item}, 'torn'\n        pixels = ")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "clsim", *args], capture_output=True, text=True, timeout=120)


# --- torchvision


def test_torchvision_by_its_name(mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"dataset": {"name": "torchvision/MNIST", "options": {"root": str(mnist)}}, "training.epochs": 1}

    def refuse(*args: Any) -> Any:
        raise AssertionError("an image was read")

    with monkeypatch.context() as patched:
        patched.setattr(torchvision.datasets.MNIST, "__getitem__", refuse)
        plan = load_scenario("digits-b0c2", keys).plan()
    assert plan.class_names[0] == "0 - zero"
    assert (plan.n_train_rows, len(plan.test_samples)) == (80, 40)
    keys |= {"threads": 1, "memory.budget": {"total": 20}}
    result = clsim.run("digits-b0c2", "er", overrides=keys, out=tmp_path)
    assert "accuracy" in result.result, "single labels have an accuracy"


def test_a_root_is_a_path_and_arguments_are_checked(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mnist)
    keys = {"dataset": {"name": "torchvision/MNIST", "options": {"root": "."}}}
    assert getattr(load_scenario("digits-b0c2", keys).config.dataset, "options", None) == {"root": str(mnist)}
    with pytest.raises(ScenarioError, match=r"dataset\.options\.downlod: unknown option, did you mean 'download'\?"):
        load_scenario("digits-b0c2", {"dataset": {"name": "torchvision/MNIST", "options": {"root": ".", "downlod": 1}}})
    with pytest.raises(ScenarioError, match="cannot be made: RuntimeError: Dataset not found"):
        load_scenario("digits-b0c2", {"dataset": {"name": "torchvision/MNIST", "options": {"root": "no"}}}).plan()


def test_the_example_makes_pairs_of_it(mnist: Path, tmp_path: Path) -> None:
    dataset = {"name": f"{PAIRS}:Pairs", "options": {"root": str(mnist)}}
    keys = {"dataset": dataset, "stream.increment": 5, "training.epochs": 1, "threads": 1}
    plan = load_scenario("digits-b0c2", keys).plan()
    assert len(plan.test_samples) == 20
    assert (plan.test_truth.sum(axis=1) == 2).all()
    assert clsim.run("digits-b0c2", "finetune", overrides=keys, out=tmp_path).result["last_mAP"] is not None


# --- Hugging Face


@pytest.mark.parametrize("many", [False, True], ids=["one class", "several"])
def test_the_example_reads_a_table_of_hugging_face(tmp_path: Path, many: bool) -> None:
    hugging_face = pytest.importorskip("datasets", reason="needs clsim[huggingface]")
    named = hugging_face.ClassLabel(names=["a", "b", "c"])
    features = {"img": hugging_face.Image(), "label": hugging_face.Sequence(named) if many else named}

    def table(n: int) -> Any:
        pictures = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(n)]
        labels = [[i % 3, (i + 1) % 3] if many else i % 3 for i in range(n)]
        return hugging_face.Dataset.from_dict({"img": pictures, "label": labels}, hugging_face.Features(features))

    hugging_face.DatasetDict(train=table(30), test=table(12)).save_to_disk(str(tmp_path / "saved"))
    dataset = {
        "name": f"{ROOT}/docs/examples/hugging_face_data.py:Table",
        "options": {"root": str(tmp_path / "saved"), "image": "img"},
    }
    keys = {"dataset": dataset, "stream.increment": 1, "training.epochs": 1, "threads": 1}
    scenario = load_scenario("digits-b0c2", keys)
    assert (scenario.truth().sum(axis=1) == 1 + many).all()
    assert scenario.source.images("train", 8)[:, 0, 0, 0].tolist() == list(range(30))
    assert clsim.run("digits-b0c2", "finetune", overrides=keys, out=tmp_path).result["last_mAP"] is not None


# --- objects


class Scenes:
    """Digit scenes as a data set of torch's kind."""

    def __init__(self, split: Split, n: int = 60) -> None:
        self.source = Digits(load_scenario("digits-b0c2", {"dataset.train": n, "dataset.test": n}).source.config)  # type: ignore[attr-defined]
        self.split: Split = split
        self.classes = list(self.source.class_names)

    def __len__(self) -> int:
        return len(self.source.labels(self.split))

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        pixels = self.source.images(self.split, 28)[i].transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(pixels)), self.source.labels(self.split)[i]


def test_objects_give_the_run_of_the_same_data(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    keys = {**tiny_overrides, "dataset.train": 60, "dataset.test": 60}
    there = clsim.run(load_scenario("digits-b0c2", keys), "er", out=tmp_path / "there")
    scenario = load_scenario("digits-b0c2", keys).with_source(Scenes("train"), Scenes("test"))
    assert scenario.plan().sha256 == load_scenario("digits-b0c2", keys).plan().sha256
    here = clsim.run(scenario, "er", out=tmp_path / "here")
    assert logged(here.folder) == logged(there.folder)
    assert clsim.resume(here.folder).result == here.result
    images = load_scenario("digits-b0c2", keys).with_source(Scenes("train").source)
    assert images.plan().sha256 == scenario.plan().sha256


def test_other_processes_cannot_have_an_object_and_say_so(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides).with_source(Scenes("train"), Scenes("test"))
    with pytest.raises(ScenarioError, match=r"dataset\.name: given 'Scenes', a Python object, which the runs of a"):
        clsim.compare(scenario, ["er"], out=tmp_path)
    assert not list(tmp_path.iterdir())
    folder = clsim.run(scenario, "finetune", out=tmp_path).folder
    (folder / "result.json").unlink()
    done = run("resume", str(folder))
    assert done.returncode == 2
    assert "given 'Scenes', an object of another Python process; give it again with Scenario.with_source" in done.stderr


# --- light start


def test_a_class_without_torch_is_planned_without_torch(file: Path) -> None:
    text = (file.parent / "my_data.py").read_text()
    (file.parent / "my_data.py").write_text(
        text.replace("from torch.utils.data import Dataset\n", "Dataset = object\n")
    )
    code = (
        "import sys\nfrom clsim.scenario import load_scenario\n"
        f"load_scenario({str(file)!r}).plan()\n"
        "assert 'torch' not in sys.modules and 'PIL' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
