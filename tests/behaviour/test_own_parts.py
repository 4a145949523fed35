"""A run with parts from a user's files: trained, resumed, read back; what is wrong with one is one line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import clsim
from clsim.errors import ClsimError, RunError
from clsim.running.execution import execute
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import RunFolder
from clsim.running.run_spec import RunSpec
from clsim.running.trained_model import read_trained_model
from clsim.scenario import load_scenario
from tests.fixtures.logged import logged

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, width, 5, 4, bias=False), torch.nn.BatchNorm2d(width), torch.nn.Dropout()
        )

    def forward(self, x):
        return self.layers(x).mean(dim=(2, 3))


class Failing(Net):
    steps = 0

    def forward(self, x):
        if self.training:
            self.steps += 1
        if self.steps == 3:
            raise ValueError("the third\\nbatch")
        return super().forward(x)
"""


PARTS = """
import random

import numpy as np
import torch


def loss(logits, targets, *, scale=1.0):
    known = targets >= 0
    entries = (logits.sigmoid() - targets.where(known, torch.zeros(()))) ** 2
    return scale * (entries * known).sum() / len(logits)


def sampler(member, seed, task, epoch):
    return np.random.default_rng([seed, task, epoch]).integers(0, len(member), len(member))


def selection(labels, seed, task, count, features, *, least=0):
    return np.argsort(-np.linalg.norm(features, axis=1), kind="stable")


def noise(x, *, most=9):
    return (x // 2 + torch.randint(0, most, x.shape, dtype=torch.uint8) + random.randrange(3)).to(torch.uint8)
"""
DOCS = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def run(out: Path, overrides: dict[str, Any], strategy: str = "finetune", **own: Any) -> Path:
    return clsim.run("digits-b0c2", strategy, overrides=overrides | own, out=out, device="cpu").folder


@pytest.mark.parametrize("strategy", ["rebll+more", "lwf+er"])
def test_methods_train_on_a_users_backbone(
    strategy: str, net: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    own = {"training.model.name": f"{net}:Net", "training.model.options.width": 12}
    folder = run(tmp_path / "runs", tiny_overrides, strategy, **own)
    model = read_trained_model(folder)
    assert model.network.head.weight.shape == (10, 12)
    last = json.loads((folder / "result.json").read_text())["last_mAP"]
    assert 0 < last < 100


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext", "net.py:Net"])
def test_features_of_any_backbone_may_be_computed_once(
    name: str, net: Path, tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.parent)
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    own = {"training.model": {"name": name, "image_size": 32, "freeze": "backbone", "cache_features": True}}
    folder = run(tmp_path / "runs", tiny_overrides, **own)
    kept = sorted(path.name for path in (tmp_path / "cache" / "features").iterdir())
    short = {"net.py:Net": "Net"}.get(name, name.removeprefix("timm/"))
    assert [file[: file.rindex("-")] for file in kept] == [f"{short}-test", f"{short}-train"]
    assert read_trained_model(folder).network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    if name.startswith("net"):
        net.write_text(NET.replace("self.layers(x).mean", "self.layers(x).pow(2).mean"))
        run(tmp_path / "again", tiny_overrides, **own)
        assert len(list((tmp_path / "cache" / "features").iterdir())) == 4


def test_a_trained_model_is_not_read_with_other_code(net: Path, tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    folder = run(tmp_path / "runs", tiny_overrides, **{"training.model.name": f"{net}:Net"})
    net.write_text(f"# mine\n{NET}")
    read_trained_model(folder)
    net.write_text(NET.replace("dim=(2, 3)", "dim=(3, 2)"))
    with pytest.raises(RunError, match=r"model\.pt: the code of its backbone .*net\.py:Net has changed since"):
        read_trained_model(folder)
    net.unlink()
    with pytest.raises(RunError, match=r"model\.pt: cannot be built again: .*no file '.*net\.py' is there"):
        read_trained_model(folder)


def test_an_error_in_a_users_file_is_one_line_with_its_place(
    net: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    expected = rf"^{net}:\d+: ValueError: the third, at task 0, epoch 0, step 2$"
    with pytest.raises(ClsimError, match=expected):
        run(tmp_path / "runs", tiny_overrides, **{"training.model.name": f"{net}:Failing"})
    folder = tmp_path / "runs" / "digits-b0c2" / "finetune" / "seed0"
    assert "ValueError: the third" in (folder / "error.txt").read_text()
    assert "Traceback" in (folder / "run.log").read_text()


@pytest.mark.slow
def test_a_comparison_elsewhere_finds_the_file_beside_the_scenario(
    net: Path, tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = load_scenario("digits-b0c2", tiny_overrides).config.model_dump(mode="json")
    content["training"]["model"] = {"name": "net.py:Net", "image_size": 28}
    (net.parent / "own.yaml").write_text(json.dumps(content))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    comparison = clsim.compare(net.parent / "own.yaml", ["finetune", "er"], out="runs", workers=2)
    assert comparison.failed == {}
    again = clsim.compare(net.parent / "own.yaml", ["finetune", "er"], out="runs", workers=2)
    assert again.failed == {}
    net.write_text(NET.replace("Dropout()", "Dropout(0.1)"))
    with pytest.raises(RunError, match=r"code\.backbone: was"):
        clsim.compare(net.parent / "own.yaml", ["finetune", "er"], out="runs", workers=2)


@pytest.fixture
def all_parts(net: Path, tiny_overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides that name a part of each kind."""
    file = net.with_name("own_parts.py")
    file.write_text(PARTS)
    return tiny_overrides | {
        "training.model.name": f"{net}:Net",
        "training.loss": {"name": f"{file}:loss", "options": {"scale": 2.0}},
        "training.sampler": f"{file}:sampler",
        "training.augmentation": {"name": f"{file}:noise", "flip": 0.5},
        "training.optimizer": {"name": "RMSprop", "lr": 0.01, "options": {"alpha": 0.9}},
        "training.schedule": "CosineAnnealingLR",
        "checkpoint.minutes": None,
    }


@pytest.mark.usefixtures("as_in_a_terminal")
def test_a_run_of_own_parts_goes_on_to_the_same_end(all_parts: dict[str, Any], net: Path, tmp_path: Path) -> None:
    options = {"er.selection": f"{net.with_name('own_parts.py')}:selection"}
    spec = RunSpec("er", "er", 3, options=options)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        prepare(folder, load_scenario("digits-b0c2", all_parts), spec, 1)
    execute(whole)
    lines: list[Any] = []

    def stop(line: dict[str, Any]) -> None:
        lines.append(line)
        if len(lines) == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        execute(cut, stop)
    execute(cut)
    assert logged(cut) == logged(whole)
    identity = json.loads(RunFolder(whole).identity.read_text())
    kinds = ("backbone", "loss", "sampler", "augmentation", "strategy.er.selection", "strategy.er", "clsim")
    assert {key for key in identity if key.startswith("code.")} == {f"code.{kind}" for kind in kinds}
    assert str(tmp_path) not in json.dumps(identity)


def test_a_selection_is_found_from_the_working_directory_and_written_absolutely(
    all_parts: dict[str, Any], net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.parent)
    own = {"strategy.er.selection": "own_parts.py:selection", "strategy.er.selection_options": {"least": 1}}
    folder = run(tmp_path / "runs", all_parts, "er", **own)
    written = json.loads((folder / "run.json").read_text())["options"]
    assert written["er.selection"] == f"{net.with_name('own_parts.py')}:selection"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "strategy.er.selection",
            "herdin",
            r"er\.selection: given 'herdin', unknown selection .*, did you mean 'herding'\?",
        ),
        (
            "strategy.er.selection",
            "no.py:x",
            r"er\.selection: given '.*no\.py:x', expected path/to/file\.py:Name, and no",
        ),
        (
            "training.sampler",
            "no.py:x",
            r"training\.sampler: given '.*no\.py:x', expected path/to/file\.py:Name, and no",
        ),
        ("training.loss.name", "no.py:x", r"training\.loss\.name: given '.*no\.py:x', expected path/to/file\.py:Name"),
        ("training.optimizer.name", "RMSProp", r"unknown optimizer 'RMSProp', did you mean 'RMSprop'\?"),
        ("training.schedule", "CosineLR", r"unknown schedule 'CosineLR', did you mean 'CosineAnnealingLR'\?"),
        ("training.augmentation.name", "flip", r"unknown augmentation 'flip'; available: v2/NAME, or file\.py:Name"),
    ],
)
def test_a_part_that_is_not_there_is_one_line_before_anything_is_written(
    key: str, value: str, expected: str, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ClsimError, match=expected) as caught:
        run(tmp_path / "runs", tiny_overrides, "er", **{key: value})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_wrong_selection_options_are_one_line(all_parts: dict[str, Any], net: Path, tmp_path: Path) -> None:
    own = {
        "strategy.er.selection": f"{net.with_name('own_parts.py')}:selection",
        "strategy.er.selection_options": {"leat": 1},
    }
    with pytest.raises(
        ClsimError, match=r"selection_options\.leat: unknown option, did you mean 'least'\?; allowed: least$"
    ):
        run(tmp_path / "runs", all_parts, "er", **own)


SHORT = {
    "dataset.train": 60,
    "dataset.test": 40,
    "stream.increment": 5,
    "training.epochs": 1,
    "memory.budget.per_class": 2,
    "threads": 1,
}


def test_the_examples_run(tmp_path: Path, tiny_overrides: dict[str, Any]) -> None:
    folder = clsim.run(DOCS / "own_backbone.yaml", "er", overrides=SHORT, out=tmp_path, device="cpu").folder
    assert read_trained_model(folder).network.head.weight.shape == (10, 48)
    run(tmp_path, tiny_overrides, "lwf+er", **{"training.loss": {"name": f"{DOCS / 'own_loss.py'}:symmetric"}})
    run(tmp_path, tiny_overrides, "er", **{"strategy.er.selection": f"{DOCS / 'own_selection.py'}:richest"})


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
