"""Prompts on a frozen ViT: exact without any, the formulas written out with some, and lanes that do not meet."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from clsim.errors import RunError
from clsim.models.build import build_model
from clsim.models.prompted_vit import LaneHead, PromptedViT, summarised
from clsim.scenario.training_schema import ModelSection
from tests.fixtures.tiny_vit import tiny


def shaken(network: torch.nn.Module, scale: float = 0.3) -> None:
    """Move all weights, so that none is near 0 or 1."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def laned(*n_classes: int, selectors: int = 3, prompts: int = 2, blocks: int = 1) -> tuple[PromptedViT, LaneHead]:
    torch.manual_seed(0)
    vit = tiny().requires_grad_(False)
    shaken(vit)
    backbone = PromptedViT(vit, 28)
    head = backbone.new_head(0, selectors, prompts, blocks)
    for number in n_classes:
        head.grow(number)
        shaken(head.lanes[-1])
    return backbone, head


IMAGES = torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", ["torchvision", "timm/test_vit"])
def test_without_prompts_it_is_the_plain_vit(name: str) -> None:
    if name == "torchvision":
        vit, x = tiny(3), IMAGES
        shaken(vit)
    else:
        vit, x = build_model(ModelSection(name=name, image_size=160), 0).backbone.eval(), torch.rand(2, 3, 160, 160)
    backbone = PromptedViT(vit.requires_grad_(False), x.shape[-1])
    torch.testing.assert_close(backbone.plain(x), vit(x), rtol=1e-6, atol=1e-5)  # rounding, by the order of sums


def test_the_summary_of_the_example() -> None:
    found = summarised(torch.tensor([[1.0, 0.0]]), torch.eye(2)[None])
    torch.testing.assert_close(found, torch.tensor([[[0.669762, 0.330238]]]), rtol=0, atol=1e-6)


def by_the_formulas(backbone: PromptedViT, head: LaneHead, image: Tensor) -> Tensor:
    """Features of each lane of one image, attention head by attention head; torch runs the ordinary blocks."""
    vit = backbone.vit
    found = []
    for lane in head.lanes:
        patches = vit._process_input(image[None])[0]
        h = torch.cat([vit.class_token[0], patches]) + vit.encoder.pos_embedding[0]
        c, s = h[:1], lane.selectors
        for index, layer in enumerate(vit.encoder.layers):
            x = layer.ln_1(h)
            u, own = layer.ln_1(s), layer.ln_1(c)
            summaries = torch.stack([((one @ x[1:].T) / 4).softmax(0) @ x[1:] for one in u])
            context = torch.cat([own, summaries])
            attention, parts = layer.self_attention, []
            for columns in (slice(0, 8), slice(8, 16)):
                q, k, v = (
                    tokens @ weight[columns].T + bias[columns]
                    for tokens, weight, bias in zip(
                        (own, context, context),
                        attention.in_proj_weight.chunk(3),
                        attention.in_proj_bias.chunk(3),
                        strict=True,
                    )
                )
                if index < len(lane.keys):
                    k = torch.cat([lane.keys[index][:, columns], k])
                    v = torch.cat([lane.values[index][:, columns], v])
                parts.append((q @ k.T / 8**0.5).softmax(-1) @ v)
            c = c + attention.out_proj(torch.cat(parts, dim=-1))
            c, s = c + layer.mlp(layer.ln_2(c)), s + u
            s = s + layer.mlp(layer.ln_2(s))
            h = layer(h[None])[0]
        found.append(vit.encoder.ln(c)[0])
    return torch.stack(found)


def test_lanes_and_head_are_their_formulas() -> None:
    backbone, head = laned(2, 5)
    features = backbone(IMAGES)
    for image, seen in zip(IMAGES, features.view(3, 2, 16), strict=True):
        torch.testing.assert_close(seen, by_the_formulas(backbone, head, image), rtol=1e-4, atol=1e-5)
    parts = [rows(f / f.norm(dim=1, keepdim=True)) for rows, f in zip(head.rows, features.split(16, 1), strict=True)]
    torch.testing.assert_close(head(features), torch.cat(parts, dim=1))


def test_a_lane_more_begins_as_the_one_before_and_changes_no_bit_of_it() -> None:
    backbone, head = laned(2)
    before, first = backbone(IMAGES), copy.deepcopy(head)
    head.grow(5)
    for name, value in head.lanes[0].state_dict().items():
        assert torch.equal(value, head.lanes[1].state_dict()[name])
    assert torch.equal(backbone(IMAGES), before.repeat(1, 2))
    shaken(head.lanes[1])
    assert torch.equal(backbone(IMAGES)[:, :16], before)
    assert torch.equal(head(backbone(IMAGES))[:, :2], first(before))
    learning = {name.rpartition(".")[0] for name, one in head.named_parameters() if one.requires_grad}
    assert learning == {"lanes.1", "rows.1"}


def test_each_weight_of_the_newest_lane_gets_a_gradient_and_the_vit_none() -> None:
    backbone, head = laned(2, 5)
    head(backbone(IMAGES)).square().sum().backward()
    for name, parameter in head.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, name
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert not backbone.train().vit.training


def test_a_copy_of_a_network_has_lanes_of_its_own() -> None:
    pair = torch.nn.ModuleDict(dict(zip(("backbone", "head"), laned(2), strict=True)))
    copied = copy.deepcopy(pair)
    assert copied.backbone._lanes[0] is copied.head.lanes
    assert copied.state_dict().keys() == pair.state_dict().keys()


@pytest.mark.parametrize("name", ["tiny-resnet", "resnet18", "timm/test_convnext", "timm/test_vit2"])
def test_other_backbones_are_refused(name: str) -> None:
    size = 64 if name.startswith("timm") else 32
    backbone = build_model(ModelSection(name=name, image_size=size, freeze="backbone"), 0).backbone
    with pytest.raises(RunError, match=r"^training\.model\.name: prompts need a ViT .* is a \w+, which is none$"):
        PromptedViT(backbone, size)


def test_a_vit_that_learns_is_refused() -> None:
    with pytest.raises(RunError, match=r"need a frozen ViT; set training\.model\.freeze: backbone$"):
        PromptedViT(tiny(), 28)
