"""A run with parts from a user's files: trained, resumed, read back; what is wrong with one is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import clsim
from clsim.errors import ClsimError, RunError
from clsim.running.trained_model import read_trained_model

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


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def run(out: Path, overrides: dict[str, Any], strategy: str = "finetune", **own: Any) -> Path:
    return clsim.run("digits-b0c2", strategy, overrides=overrides | own, out=out, device="cpu").folder


def metrics(folder: Path) -> str:
    return (folder / "metrics.jsonl").read_text()


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
    from clsim.scenario import load_scenario

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


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
