"""Each convolution computes in the layout that suits its shape, and nothing but rounding changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from clsim.models.build import build_model
from clsim.models.layout import choose_layouts
from clsim.models.low_rank import Factors, LowRank, decomposable, decompose, merge
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection

RESNET = {"name": "resnet18", "image_size": 64}


def network(channels_last: bool | str = "auto", **options: object) -> MultiLabelNet:
    model = build_model(ModelSection(channels_last=channels_last, **options), seed=0)
    model.head.grow(3)
    return model


def images(rows: int, size: int) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(1))


def layouts(model: nn.Module, x: Tensor) -> dict[str, str]:
    """What each convolution computes on, by its name."""
    seen: dict[str, str] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):

            def look(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                (x,) = given
                last, first = x.is_contiguous(memory_format=torch.channels_last), x.is_contiguous()
                seen[name] = "either" if last and first else "last" if last else "first"

            handles.append(module.register_forward_pre_hook(look))
    model(x)
    for handle in handles:
        handle.remove()
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
    ],
)
def test_the_layout_follows_from_the_weights_a_position(convolution: nn.Conv2d, size: int, expected: str) -> None:
    choose_layouts(convolution)
    x = torch.randn(2, convolution.in_channels, size, size)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        assert layouts(convolution, given) == {"": expected}


def test_a_resnet_of_small_images_turns_where_positions_get_few() -> None:
    seen = layouts(network(**RESNET), images(2, 64))
    early = [name for name, layout in seen.items() if layout == "last"]
    assert {name.split(".")[1] for name in early} == {"conv1", "layer1", "layer2", "layer3"}
    assert {seen[f"backbone.layer4.{block}.conv{i}"] for block in (0, 1) for i in (1, 2)} == {"first"}


def test_the_choice_does_not_depend_on_the_batch() -> None:
    model = network(**RESNET)
    assert layouts(model, images(2, 64)) == layouts(model, images(9, 64))


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
        torch.testing.assert_close(auto, plain, rtol=1e-6, atol=1e-9 + 1e-6 * float(plain.abs().max()))


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
    assert not any(module._forward_pre_hooks for module in model.modules())
    x = images(2, 64)
    expected = "last" if channels_last else "first"
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    seen = set(layouts(model, x).values())
    assert seen == {expected} or seen == {expected, "either"}


def test_a_copy_chooses_too() -> None:
    model = network(**RESNET)
    assert layouts(copy.deepcopy(model), images(2, 64)) == layouts(model, images(2, 64))


def test_a_decomposed_network_chooses_without_composing_a_kernel_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(**RESNET)
    plain = layouts(model, images(2, 64))
    names = decomposable(model)[0]
    decompose(model, names, Factors(), seed=0)
    composed = []
    forward = LowRank.forward
    monkeypatch.setattr(LowRank, "forward", lambda part, general: composed.append(part) or forward(part, general))
    assert layouts(model, images(2, 64)) == plain
    assert len(composed) == len(names)  # once each, for the pass itself
    merge(model)
    assert layouts(model, images(2, 64)) == plain


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_nothing_is_reordered() -> None:
    model = network(**RESNET).to("cuda")
    assert set(layouts(model, images(2, 64).to("cuda")).values()) <= {"first", "either"}
