"""Each convolution computes in the way that suits its shape, and nothing but rounding changes."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from clsim.models.build import build_model
from clsim.models.convolution import Convolution, choose_ways
from clsim.models.low_rank import Factors, LowRank, decomposable, decompose, general_path, low_rank_parts, merge
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection

RESNET = {"name": "resnet18", "image_size": 64}


def network(channels_last: bool | str = "auto", **options: object) -> MultiLabelNet:
    model = build_model(ModelSection(channels_last=channels_last, **options), seed=0)
    model.head.grow(3)
    return model


def images(rows: int, size: int) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(1))


def ways(model: nn.Module, x: Tensor) -> dict[str, str]:
    """How each convolution computes, by its name: the layout of what the convolution proper takes, or a product."""
    names = {id(module): name for name, module in model.named_modules()}
    seen = {name: "product" for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    proper = nn.Conv2d._conv_forward

    def look(self: nn.Conv2d, x: Tensor, *rest: Tensor) -> Tensor:
        last, first = x.is_contiguous(memory_format=torch.channels_last), x.is_contiguous()
        seen[names[id(self)]] = "either" if last and first else "last" if last else "first"
        return proper(self, x, *rest)

    with mock.patch.object(nn.Conv2d, "_conv_forward", look):
        model(x)
    return seen


@pytest.mark.parametrize(
    ("convolution", "size", "expected"),
    [
        (nn.Conv2d(8, 8, 3, padding=1), 16, "last"),
        (nn.Conv2d(512, 512, 3, padding=1), 21, "first"),  # 5,350 weights a position
        (nn.Conv2d(512, 512, 3, padding=1), 22, "last"),  # 4,875
        (nn.Conv2d(512, 512, 3, stride=2, padding=1), 42, "first"),  # a stride leaves fewer positions
        (nn.Conv2d(512, 512, 3, stride=2, padding=1), 44, "last"),
        (nn.Conv2d(512, 512, 3, padding=1, groups=512), 2, "last"),  # depthwise kernels are small
        (nn.Conv2d(512, 512, 1), 8, "last"),
        (nn.Conv2d(512, 512, 1), 7, "first"),
        (nn.Conv2d(512, 512, 3, padding=1), 4, "first"),  # 147,456
        (nn.Conv2d(512, 512, 3, padding=1), 3, "product"),  # 262,144
        (nn.Conv2d(512, 512, 3, padding="same"), 3, "first"),
        (nn.Conv2d(512, 512, 3, padding=1, padding_mode="reflect"), 3, "first"),
        (nn.Conv2d(2048, 2048, 3, padding=1, groups=4), 2, "first"),
    ],
)
def test_the_way_follows_from_the_weights_a_position(convolution: nn.Conv2d, size: int, expected: str) -> None:
    convolution = choose_ways(convolution)
    x = torch.randn(2, convolution.in_channels, size, size)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        assert ways(convolution, given) == {"": expected}


def test_a_resnet_of_small_images_changes_where_positions_get_few() -> None:
    seen = ways(network(**RESNET), images(2, 64))
    stages = {name.split(".")[1]: set() for name in seen}
    for name, way in seen.items():
        stages[name.split(".")[1]].add(way)
    assert stages["conv1"] == stages["layer1"] == stages["layer2"] == {"last"}
    assert stages["layer3"] == {"last", "first"}  # its shortcut has a small kernel
    assert {seen[f"backbone.layer4.{block}.conv{i}"] for block in (0, 1) for i in (1, 2)} == {"product"}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"padding": 1}, (2, 2)),
        ({"padding": 1, "bias": False}, (3, 1)),
        ({"padding": (2, 0), "stride": (1, 2)}, (2, 5)),
        ({"padding": 2, "dilation": 2, "stride": 2}, (4, 3)),
        ({"padding": (0, 2), "dilation": (1, 2)}, (3, 2)),
    ],
)
def test_a_product_is_the_convolution(options: dict[str, Any], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(512, 640, 3, **options).double()
    convolution = copy.deepcopy(plain)
    convolution = choose_ways(convolution)
    results = []
    for module in (plain, convolution):
        x = torch.randn(3, 512, *size, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
        y = module(x)
        (y * torch.arange(y.numel()).view_as(y)).mean().backward()
        results.append([y, x.grad, *(parameter.grad for parameter in module.parameters())])
    assert ways(convolution, x) == {"": "product"}
    for product, proper in zip(*reversed(results), strict=True):
        torch.testing.assert_close(product, proper, rtol=1e-9, atol=1e-9 * float(proper.detach().abs().max()))


def test_under_an_autocast_there_is_no_product() -> None:
    model = network(**RESNET)
    with torch.autocast("cpu", torch.bfloat16):
        assert "product" not in ways(model, images(2, 64)).values()


def test_the_choice_does_not_depend_on_the_batch() -> None:
    model = network(**RESNET)
    assert ways(model, images(2, 64)) == ways(model, images(9, 64))


@pytest.mark.parametrize("name", ["tiny-resnet", "resnet18", "mobilenet_v2", "densenet121", "convnext_tiny"])
def test_nothing_but_rounding_changes(name: str) -> None:
    results = []
    for channels_last in ("auto", False):
        model = network(channels_last, name=name, image_size=64).double()
        x = images(2, 64).double().requires_grad_()
        torch.manual_seed(0)  # of dropout
        model(x).square().sum().backward()
        results.append([x.grad, *(parameter.grad for parameter in model.parameters())])
    for auto, plain in zip(*results, strict=True):
        torch.testing.assert_close(auto, plain, rtol=1e-6, atol=1e-9 + 1e-6 * float(plain.detach().abs().max()))


def test_kernels_and_their_gradients_stay_as_they_are() -> None:
    model = network(**RESNET)
    model(images(2, 64)).sum().backward()
    for parameter in model.parameters():
        assert parameter.is_contiguous()
        assert parameter.grad is not None
        assert parameter.grad.is_contiguous()


@pytest.mark.parametrize("channels_last", [True, False])
def test_one_layout_for_all_where_it_is_asked_for(channels_last: bool) -> None:
    model = network(channels_last, **RESNET)
    assert not any(isinstance(module, Convolution) for module in model.modules())
    x = images(2, 64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    assert set(ways(model, x).values()) == {"last" if channels_last else "first"}


def test_a_copy_chooses_too() -> None:
    model = network(**RESNET)
    assert ways(copy.deepcopy(model), images(2, 64)) == ways(model, images(2, 64))


def test_a_decomposed_network_chooses_as_before_and_composes_no_kernel_for_a_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network(**RESNET)
    plain = ways(model, images(2, 64))
    decompose(model, decomposable(model)[0], Factors(init_b=0.1), seed=0)
    composed = []
    forward = LowRank.forward
    monkeypatch.setattr(LowRank, "forward", lambda part, general: composed.append(part) or forward(part, general))
    assert ways(model, images(2, 64)) == plain
    parts = low_rank_parts(model)
    assert {id(part) for part in composed} == {
        id(part) for name, part in parts.items() if plain.get(name.removesuffix(".weight")) != "product"
    }
    merge(model)
    assert ways(model, images(2, 64)) == plain


def test_a_decomposed_product_learns_as_the_composed_kernel_does() -> None:
    results = []
    for channels_last in ("auto", False):
        model = network(channels_last, **RESNET).double()
        decompose(model, decomposable(model)[0], Factors(init_b=0.05), seed=0)
        full = model(images(4, 64).double())
        with general_path(model):
            general = model(images(4, 64).double())
        (full - general).square().sum().backward()
        results.append([full, general, *(parameter.grad for parameter in model.parameters())])
        assert float((full - general).abs().max()) > 1e-3
    for auto, plain in zip(*results, strict=True):
        torch.testing.assert_close(auto, plain, rtol=1e-6, atol=1e-9 + 1e-6 * float(plain.detach().abs().max()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_nothing_is_reordered() -> None:
    model = network(**RESNET).to("cuda")
    assert set(ways(model, images(2, 64).to("cuda")).values()) <= {"first"}


def test_modules_are_exchanged_without_a_draw_and_with_all_that_they_have() -> None:
    shared = nn.Conv2d(3, 3, 1, bias=False)
    plain = nn.Sequential(nn.Conv2d(3, 3, 3, padding="same", padding_mode="reflect"), shared, nn.Sequential(shared))
    plain[0].eval().requires_grad_(False)
    state, generator = plain.state_dict(keep_vars=True), torch.random.get_rng_state()
    parts = [repr(module).replace("Convolution", "Conv2d") for module in plain]
    changed = choose_ways(plain)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert changed is plain
    assert type(plain[0]) is type(plain[1]) is Convolution
    assert plain[2][0] is plain[1]
    assert [repr(module).replace("Convolution", "Conv2d") for module in plain] == parts
    assert [name for name, module in plain.named_modules() if not module.training] == ["0"]
    assert all(value is state[name] for name, value in plain.state_dict(keep_vars=True).items())
