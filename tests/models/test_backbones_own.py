"""Backbones from a user's file, timm and open_clip: features, weights, decomposition, growth; bad ones are one line."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from clsim import parts
from clsim.errors import ClsimError
from clsim.models.build import build_model
from clsim.models.low_rank import Factors, decomposable, decompose, general_path, merge
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection

NET = """
import random

import numpy as np
import torch


class Net(torch.nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, width, 3)
        self.register_buffer("drawn", torch.tensor([random.random(), np.random.rand()]))

    def forward(self, x):
        return self.layer(x).mean(dim=(2, 3))


def small(width: int):
    return Net(width)


class Tall(Net):
    def forward(self, x):
        return self.layer(x)


class Counted(Net):
    def forward(self, x):
        return super().forward(x).long()


class Two(Net):
    def forward(self, x):
        return super().forward(x), x


class Large(Net):
    def forward(self, x):
        if x.shape[-1] < 64:
            raise ValueError("too small for me\\nreally")
        return super().forward(x)


class Says(Net):
    def __init__(self, width: int = 8, feature_dim: object = 8):
        super().__init__(width)
        self.feature_dim = feature_dim
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return super().forward(x)


made = Net()


def nothing():
    return 7


def failing():
    return Net("wide")
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(NET)
    return path


def images(n: int = 2, size: int = 32) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def grown(section: ModelSection, n_classes: int = 3, seed: int = 0) -> MultiLabelNet:
    model = build_model(section, seed)
    model.head.grow(n_classes)
    return model


# --- from a file


@pytest.mark.parametrize(("name", "width"), [("Net", 8), ("Net", 5), ("small", 6)])
def test_the_width_of_the_features_is_found(net: Path, name: str, width: int) -> None:
    model = grown(ModelSection(name=f"{net}:{name}", options={"width": width}))
    assert model.head.weight.shape == (3, width)
    assert model(images()).shape == (2, 3)
    assert all(module.training for module in model.modules())


def test_a_backbone_that_says_its_width_is_not_asked_but_held_to_it(net: Path) -> None:
    model = grown(ModelSection(name=f"{net}:Says"))
    assert model.head.weight.shape == (3, 8)
    assert model.backbone.passes == 0
    asked = grown(ModelSection(name=f"{net}:Net"))
    assert torch.equal(model(images()), asked(images()))
    wrong = grown(ModelSection(name=f"{net}:Says", options={"feature_dim": 9}))
    with pytest.raises(ClsimError, match=r"^training\.model: .*:Says says feature_dim 9 and gives \[2, 8\], expected"):
        wrong(images())
    for value in (0, "wide", True):
        with pytest.raises(ClsimError, match=r"^training\.model: .*:Says says feature_dim .*, expected a whole number"):
            grown(ModelSection(name=f"{net}:Says", options={"feature_dim": value}))


def test_the_seed_alone_fixes_what_it_draws_and_nothing_else_is_disturbed(net: Path) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = (build_model(ModelSection(name=f"{net}:Net"), seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in ("backbone.drawn", "backbone.layer.weight"))


def test_weights_come_from_a_file(net: Path, tmp_path: Path) -> None:
    state = build_model(ModelSection(name=f"{net}:Net"), 5).backbone.state_dict()
    torch.save(state, tmp_path / "w.pth")
    from safetensors.torch import save_file

    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        weights = {"file": str(tmp_path / name), "trained_on": [], "source": "here"}
        own = build_model(ModelSection(name=f"{net}:Net", weights=weights), 0).backbone.state_dict()
        assert all(torch.equal(own[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Tall", r"gives float32 \[1, 8, 30, 30\] for one image, expected features float \[1, d\]"),
        ("Counted", r"gives int64 \[1, 8\] for one image, expected features float \[1, d\]"),
        ("Two", r"gives tuple for one image, expected features float \[1, d\]"),
        ("Large", r"does not take images of 32 px: ValueError: too small for me \(.*net\.py:\d+\)"),
        ("made", r"is an object, expected a class or function that makes one"),
        ("nothing", r"makes int, expected a torch\.nn\.Module"),
        ("failing", r"cannot be made: TypeError: [^\n]*net\.py:\d+\)"),
    ],
)
def test_a_bad_one_is_one_line(net: Path, name: str, expected: str) -> None:
    with pytest.raises(ClsimError, match=rf"^training\.model: .*net\.py:{name} {expected}$"):
        build_model(ModelSection(name=f"{net}:{name}"), 0)


# --- of the libraries


def test_a_tresnet_of_timm_is_made_without_its_classifier() -> None:
    model = grown(ModelSection(name="timm/tresnet_m"))
    assert model.head.weight.shape == (3, 2048)
    assert all(layer.out_features != 1000 for layer in model.backbone.modules() if isinstance(layer, nn.Linear))


def test_a_transformer_of_timm_is_made_for_the_size_of_the_scenario() -> None:
    model = build_model(ModelSection(name="timm/vit_tiny_patch16_224", image_size=48), 0)
    assert model.backbone.get_parameter("pos_embed").shape == (1, 1 + 9, 192)


def test_options_reach_the_library() -> None:
    model = build_model(ModelSection(name="timm/vit_tiny_patch16_224", options={"depth": 2}), 0)
    assert len(model.backbone.get_submodule("blocks")) == 2  # type: ignore[arg-type]
    noisy = build_model(ModelSection(name="resnet18", options={"zero_init_residual": True}), 0)
    assert not noisy.backbone.get_parameter("layer1.0.bn2.weight").any()


def test_an_image_encoder_of_open_clip_reads_the_file_of_the_whole_model(tmp_path: Path) -> None:
    section = ModelSection(name="open_clip/RN50", image_size=32, options={"vision_cfg": SMALL_CLIP})
    state = build_model(section, 3).backbone.state_dict()
    whole = {f"visual.{key}": value for key, value in state.items()} | {"logit_scale": torch.ones(())}
    torch.save(whole, tmp_path / "clip.pth")
    weights = {"file": str(tmp_path / "clip.pth"), "trained_on": ["own"], "source": "here"}
    model = build_model(ModelSection(**section.model_dump() | {"weights": weights}), 0)
    assert all(torch.equal(model.backbone.state_dict()[key], state[key]) for key in state)
    model.head.grow(2)
    assert model(images()).shape == (2, 2)


SMALL_CLIP = {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "image_size": 32}


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("timm/tresnet_n", {}, r"training\.model\.name: timm has no model 'tresnet_n', did you mean 'tresnet_m'\?"),
        ("open_clip/ViT-B-3", {}, r"training\.model\.name: open_clip has no model 'ViT-B-3', did you mean 'ViT-B-32'"),
        ("timm/test_vit", {"image_size": 33}, r"training\.model: timm/test_vit does not take images of 33 px: \S"),
        ("timm/test_vit", {"options": {"dept": 1}}, r"training\.model: timm/test_vit cannot be made: TypeError: \S"),
        (
            "timm/test_vit",
            {"weights": {"pretrained": "r160"}},
            r"training\.model\.weights\.pretrained: given 'r160', did you mean 'r160_in1k'\?; allowed for timm",
        ),
        ("resnet18", {"options": {"num_class": 3}}, r"training\.model: resnet18 cannot be made: TypeError: \S"),
    ],
)
def test_what_a_library_does_not_have_is_one_line(name: str, more: dict[str, Any], expected: str) -> None:
    with pytest.raises(ClsimError, match=rf"^{expected}[^\n]*$"):
        build_model(ModelSection(name=name, **more), 0)


def test_weights_of_a_library_that_cannot_be_downloaded_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(timm, "create_model", offline)
    section = ModelSection(name="timm/test_vit", weights={"pretrained": "r160_in1k"})
    expected = (
        r"^training\.model\.weights\.pretrained: timm/test_vit r160_in1k cannot be downloaded: OSError: no route "
    )
    with pytest.raises(ClsimError, match=expected + r"to host; or give weights: \{file: [^\n]*$"):
        build_model(section, 0)


def test_a_library_that_is_not_installed_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"needs the package timm: pip install 'clsim\[timm\]'"):
        ModelSection(name="timm/tresnet_m")
    with pytest.raises(ValidationError, match=r"needs the package open_clip_torch: pip install 'clsim\[open-clip\]'"):
        ModelSection(name="open_clip/RN50")


def test_tags_are_for_libraries_that_have_them(net: Path) -> None:
    for name in ("tiny-resnet", "resnet18", f"{net}:Net"):
        with pytest.raises(ValidationError, match="is not of timm or open_clip; allowed: none, or a file"):
            ModelSection(name=name, weights={"pretrained": "x"})
    with pytest.raises(ValidationError, match="is not torchvision's; allowed: none, or a file"):
        ModelSection(name="timm/resnet18", weights={"torchvision": "IMAGENET1K_V1"})


# --- what methods do with them

TESTED = {
    "tresnet": {"name": "timm/tresnet_m"},
    "vit": {"name": "timm/vit_tiny_patch16_224", "options": {"depth": 2}},
    "convnext": {"name": "timm/convnext_atto", "options": {"depths": [1, 1, 1, 1]}},
    "tiny-convnext": {"name": "timm/test_convnext"},
    "own": {"name": "net.py:Net"},
}


@pytest.fixture(params=TESTED)
def section(request: pytest.FixtureRequest, net: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSection:
    monkeypatch.chdir(net.parent)
    return ModelSection(**TESTED[request.param])


def test_its_weights_are_decomposed_trained_and_merged(section: ModelSection) -> None:
    model = grown(section).eval()
    keys, x = list(model.state_dict()), images()
    with torch.no_grad():
        before = model(x)
    taken, _ = decomposable(model.backbone)
    assert taken
    decompose(model.backbone, taken, Factors(ratio=0.1, init_b=0.02), seed=1)
    assert torch.allclose(model(x), before, atol=1e-3, rtol=1e-3)
    model.train()
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    with general_path(model):
        general = model(x)
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())
    (model(x).square().sum() + general.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in model.named_parameters() if n.endswith(".b"))
    merge(model.backbone)
    assert list(model.state_dict()) == keys


def test_its_head_grows_and_its_state_is_read_back(section: ModelSection) -> None:
    model = grown(section, 2)
    kept = model.head.weight.detach().clone()
    model.head.grow(5)
    assert torch.equal(model.head.weight[:2], kept)
    again = grown(section, 5, seed=9)
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model.eval()(images()), again.eval()(images()))


def test_it_freezes(section: ModelSection) -> None:
    frozen = grown(section.model_copy(update={"freeze": "backbone"}))
    assert not any(parameter.requires_grad for parameter in frozen.backbone.parameters())
    still = grown(section.model_copy(update={"freeze": "batch-norm"})).train()
    statistics = {name: value.clone() for name, value in still.named_buffers()}
    still(images())
    assert all(torch.equal(value, statistics[name]) for name, value in still.named_buffers())


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_may_be_chosen(section: ModelSection, channels_last: bool) -> None:
    own = grown(section).eval()
    other = grown(section.model_copy(update={"channels_last": channels_last})).eval()
    with torch.no_grad():
        assert torch.allclose(own(images()), other(images()), atol=1e-3, rtol=1e-3)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
