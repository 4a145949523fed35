"""An exported file, read back by what it is for, scores the test images as the run did; and says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clsim
from clsim.errors import ClsimError
from clsim.inference.export import FORMATS, GRAPH_DESCRIPTION, exported_file
from clsim.inference.model import Model
from clsim.training.composition import parts_of
from clsim.training.strategy import Strategy
from clsim.training.strategy_specs import registered, strategy_class
from tests.conftest import TINY
from tests.fixtures.tiny_vit import TINY_VIT
from tests.inference.conftest import Scored


def read_safetensors(path: Path, x: np.ndarray) -> tuple[str, np.ndarray]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return file.metadata()["clsim"], clsim.load_model(path).logits(x)


def read_graph(path: Path, x: np.ndarray) -> tuple[str, np.ndarray]:
    files = {GRAPH_DESCRIPTION: ""}
    graph = torch.export.load(path, extra_files=files).module()
    return files[GRAPH_DESCRIPTION], graph(torch.from_numpy(x)).detach().numpy()


def read_onnx(path: Path, x: np.ndarray) -> tuple[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return session.get_modelmeta().custom_metadata_map["clsim"], session.run(None, {"x": x})[0]


READERS = {"safetensors": read_safetensors, "torch-export": read_graph, "onnx": read_onnx}


def holds(
    model: Model, home: Path, x: np.ndarray, scores: np.ndarray, thresholds: bool = False, formats: Any = FORMATS
) -> None:
    """Write each format, read it with its own library, and compare with the scores of the run."""
    for format in formats:
        path = home / f"model{FORMATS[format]}"
        assert model.export(path, format, thresholds=thresholds) < 1e-5
        text, logits = READERS[format](path, x)
        np.testing.assert_allclose(logits, scores, rtol=0, atol=1e-5, err_msg=format)
        told = json.loads(text)
        assert tuple(told["classes"]) == model.classes
        assert told["provenance"] == model.provenance
        assert told["preprocess"] == (model.preprocess.content() if model.preprocess else None)
        assert told["thresholds"] == (model.thresholds.content() if thresholds else None)


EVERY = ["finetune", "joint", "lwf+ewc+er+identity", "rebll+more", "l3a", "lwf+feature-replay+moments"]
"""Compositions that hold every strategy that has a say in what the network is made of, but those of `OVER_IMAGES`."""
OVER_MAPS: dict[str, dict[str, Any]] = {
    "agcn": {"strategy.width": 8},
    "csc": {"strategy.width": 8},
    "krt": {"strategy.width": 16},
    "kbk": {"strategy.width": 8},
}
"""Strategies whose head reads the map of an image, and what makes it small."""
ON_A_VIT = {"multi-lane": {"training.model": TINY_VIT, "strategy.selectors": 3}}
"""Strategies that look into a frozen ViT, and one for them."""
OVER_IMAGES = OVER_MAPS | ON_A_VIT


@pytest.mark.parametrize("strategy", EVERY)
def test_the_model_of_every_kind_of_strategy_goes_through_every_format(
    scored_run: Callable[..., Scored], test_inputs: Any, vectors: Path, tmp_path: Path, strategy: str
) -> None:
    makers = {name for name in registered() if strategy_class(name).network is not Strategy.network}
    assert makers <= {name for spec in [*EVERY, *OVER_IMAGES] for name in parts_of(spec)}
    folder, scores = scored_run(strategy, {}, vectors)
    holds(clsim.load_model(folder), tmp_path, test_inputs(folder), scores[-1])


@pytest.mark.parametrize("formats", [["safetensors", "torch-export"], pytest.param(["onnx"], marks=pytest.mark.long)])
@pytest.mark.parametrize("strategy", OVER_IMAGES)
def test_so_does_that_of_every_strategy_over_images(
    scored_run: Callable[..., Scored], test_inputs: Any, tmp_path: Path, strategy: str, formats: list[str]
) -> None:
    folder, scores = scored_run(strategy, TINY | {"training.epochs": 1} | OVER_IMAGES[strategy])
    model = clsim.load_model(folder)
    x = model.preprocess(*test_inputs(folder)).numpy()
    holds(model, tmp_path, x, scores[-1], formats=formats)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        {"name": "timm/tresnet_m", "options": {"layers": [1, 1, 1, 1], "width_factor": 0.25}, "image_size": 32},
        {"name": "timm/test_vit", "options": {"depth": 1}, "image_size": 32},
        {"name": "timm/test_convnext", "options": {"depths": [1] * 4, "dims": [8] * 4}, "image_size": 32, "hidden": 8},
    ],
    ids=lambda network: network["name"],
)
def test_every_family_of_backbones_goes_through_every_format(
    scored_run: Callable[..., Scored], test_inputs: Any, tmp_path: Path, network: dict[str, Any]
) -> None:
    tiny = {key: value for key, value in TINY.items() if not key.startswith("training.model")}
    folder, scores = scored_run("finetune", tiny | {"training.epochs": 1, "training.model": network})
    model = clsim.load_model(folder)
    assert model.preprocess is not None
    holds(model, tmp_path, model.preprocess(*test_inputs(folder)).numpy(), scores[-1])


def test_an_earlier_task_of_merged_low_rank_convolutions_with_its_thresholds(
    of_every_task: Scored, test_inputs: Any, tmp_path: Path
) -> None:
    folder, scores = of_every_task
    model = clsim.load_model(folder, task=1)
    assert model.preprocess is not None
    holds(model, tmp_path, model.preprocess(*test_inputs(folder)).numpy(), scores[1], thresholds=True)
    again = clsim.load_model(tmp_path / "model.safetensors")
    assert again.thresholds.content() == model.thresholds.content()
    assert repr(again) == repr(model)
    assert exported_file(folder, model, "onnx") == folder / "task_models" / "task01.onnx"
    assert exported_file(folder, clsim.load_model(folder, task=2), "onnx") == folder / "model.onnx"


def test_what_cannot_be_written_is_one_line(finished_run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    model = clsim.load_model(finished_run)
    with pytest.raises(
        ClsimError, match=r"^format: given 'onx', did you mean 'onnx'\?; allowed: safetensors, torch-ex"
    ):
        model.export(tmp_path / "a.onnx", "onx")
    with pytest.raises(ClsimError, match=r"model\.pt: a file of the format torch-export must end in \.pt2$"):
        model.export(finished_run / "model.pt", "torch-export")
    wrong = {"safetensors": (lambda *_: b"", lambda path: lambda x: np.ones((len(x), 10), np.float32) * 9)}
    monkeypatch.setattr("clsim.inference.export._WAYS", wrong)
    with pytest.raises(ClsimError, match=r"a\.safetensors: not kept, because its logits differ by \d"):
        model.export(tmp_path / "a.safetensors", "safetensors", thresholds=False)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ClsimError, match=r"nowhere/a\.safetensors: No such file or directory$"):
        model.export(tmp_path / "nowhere" / "a.safetensors", "safetensors", thresholds=False)


def test_without_the_packages_onnx_says_which_to_install(finished_run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ClsimError, match=r"^format: onnx needs the package onnxscript: pip install 'clsim\[onnx\]'$"):
        clsim.load_model(finished_run).export(tmp_path / "a.onnx", "onnx", thresholds=False)


def test_an_exported_file_without_thresholds_has_none(finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    clsim.load_model(finished_run).export(path, "safetensors", thresholds=False)
    with pytest.raises(ClsimError, match=r"a\.safetensors: exported without thresholds$"):
        _ = clsim.load_model(path).thresholds
    with pytest.raises(ClsimError, match=r"a\.safetensors: task: given 0, but an exported file holds one model$"):
        clsim.load_model(path, task=0)
