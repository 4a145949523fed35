"""Any classification network of torchvision is a backbone, and an impossible one fails before training."""

from __future__ import annotations

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import nn

from clsim.errors import RunError
from clsim.model_names import TORCHVISION
from clsim.models.build import build_model
from clsim.scenario.training_schema import ModelSection

AT_32_PX = ["resnet18", "mobilenet_v2", "vit_b_16", "shufflenet_v2_x0_5", "efficientnet_b0", "densenet121", "googlenet"]


def test_the_names_are_torchvisions_own_but_for_squeezenet() -> None:
    theirs = torchvision.models.list_models(module=torchvision.models)
    assert sorted(TORCHVISION) == sorted(name for name in theirs if not name.startswith("squeezenet"))


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ValidationError, match=r"unknown backbone 'resnet51', did you mean 'resnet50'\?"):
        ModelSection(name="resnet51")


@pytest.mark.parametrize("name", AT_32_PX)
def test_a_backbone_of_torchvision_scores_each_class_and_learns(name: str) -> None:
    model = build_model(ModelSection(name=name, image_size=32), seed=0)
    model.head.grow(3)
    assert all(module.training for module in model.modules())
    logits = model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert (logits.shape, logits.dtype) == ((2, 3), torch.float32)
    logits.sum().backward()
    first = next(model.backbone.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


@pytest.mark.parametrize("name", AT_32_PX)
def test_the_classifier_of_torchvision_is_gone(name: str) -> None:
    model = build_model(ModelSection(name=name), seed=0)
    linear = [module for module in model.backbone.modules() if isinstance(module, nn.Linear)]
    assert all(module.out_features != 1000 for module in linear)


def test_initial_weights_are_torchvisions_own() -> None:
    state = torch.get_rng_state()
    mine = build_model(ModelSection(name="resnet18"), seed=3).backbone.state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert float(mine["layer1.0.conv1.weight"].std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert (mine["bn1.weight"] == 1).all()


def test_trying_a_network_out_leaves_its_statistics_as_they_were() -> None:
    buffers = dict(build_model(ModelSection(name="resnet18"), seed=0).named_buffers())
    assert all((value == (1 if name.endswith("running_var") else 0)).all() for name, value in buffers.items())


def test_a_vision_transformer_is_made_for_the_size_of_the_scenario() -> None:
    model = build_model(ModelSection(name="vit_b_16", image_size=48), seed=0)
    assert model.backbone.get_parameter("encoder.pos_embedding").shape == (1, 1 + 9, 768)


TOO_SMALL = [("alexnet", 32), ("inception_v3", 64), ("convnext_tiny", 16), ("vgg11", 16)]
INDIVISIBLE = [("vit_b_16", 33), ("vit_h_14", 32), ("maxvit_t", 32)]


@pytest.mark.parametrize(("name", "size"), [*TOO_SMALL, *INDIVISIBLE])
def test_a_size_a_backbone_cannot_take_is_one_clear_error(name: str, size: int) -> None:
    with pytest.raises(RunError, match=rf"^training\.model: {name} does not take images of {size} px: \S[^\n]*$"):
        build_model(ModelSection(name=name, image_size=size), seed=0)


def test_channels_last_is_the_layout_of_every_kernel() -> None:
    for channels_last in (True, False):
        model = build_model(ModelSection(channels_last=channels_last), seed=0)
        kernels = [p for p in model.parameters() if p.ndim == 4 and p.shape[2] > 1]
        assert all(p.is_contiguous(memory_format=torch.channels_last) == channels_last for p in kernels)
