"""G + BA says what the weight said, each path what it should, and nothing is left of it once merged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from clsim.models.build import build_model, with_head
from clsim.models.low_rank import (
    Factors,
    decomposable,
    decompose,
    general_path,
    low_rank_parts,
    merge,
    rank_of,
    relative_sizes,
)
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection

SMALL = ["tiny-resnet", "resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"]


class Attentive(nn.Module):
    """The parts of a transformer block: torch's own attention and two linear layers, on patches of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.attention = nn.MultiheadAttention(24, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return (tokens + self.mlp(tokens)).mean(dim=1)


def small_vit() -> nn.Module:
    """torchvision's vision transformer with two small blocks, without its classifier."""
    vit = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    vit.heads = nn.Identity()
    return vit


def network(name: str = "tiny-resnet") -> MultiLabelNet:
    torch.manual_seed(0)
    if name == "attentive":
        model = with_head(Attentive(), 24, ModelSection(), seed=0)
    elif name == "vit":
        model = with_head(small_vit(), 16, ModelSection(), seed=0)
    else:
        model = build_model(ModelSection(name=name, image_size=32), seed=0)
    model.head.grow(3)
    return model


def images(n: int = 4) -> Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def decomposed(name: str = "tiny-resnet", spread: float = 0.0, **factors: Any) -> MultiLabelNet:
    """A decomposed network, with B drawn anew if `spread`, as after some training."""
    model = network(name)
    decompose(model, decomposable(model)[0], Factors(**factors), seed=0)
    if spread:
        for part in low_rank_parts(model).values():
            part.b.data.normal_(0, spread, generator=torch.Generator().manual_seed(2))
    return model


@torch.no_grad()
def logits(model: nn.Module, general: bool = False) -> Tensor:
    if general:
        with general_path(model):
            return model.eval()(images())
    return model.eval()(images())


@pytest.mark.parametrize("name", [*SMALL, "attentive", "vit"])
def test_full_general_and_the_model_before_are_equal_to_the_last_bit_at_the_start(name: str) -> None:
    before, model = logits(network(name)), decomposed(name)
    assert torch.equal(logits(model), before)
    assert torch.equal(logits(model, general=True), before)


@pytest.mark.parametrize("name", [*SMALL, "attentive", "vit"])
def test_merged_is_the_full_path_with_the_names_types_and_order_of_before(name: str) -> None:
    plain, model = network(name), decomposed(name, spread=0.1)
    full = logits(model)
    assert not torch.equal(full, logits(model, general=True)), "the low-rank part should matter here"
    merge(model)
    torch.testing.assert_close(logits(model), full, rtol=0, atol=1e-5)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert [(n, type(m)) for n, m in model.named_modules()] == [(n, type(m)) for n, m in plain.named_modules()]
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())


def test_the_full_path_starts_as_the_model_before_wherever_b_starts() -> None:
    model = decomposed(init_b=0.05)
    torch.testing.assert_close(logits(model), logits(network()), rtol=0, atol=1e-5)
    assert (logits(model, general=True) - logits(model)).abs().max() > 1e-4
    spread = torch.cat([part.b.detach().flatten() for part in low_rank_parts(model).values()]).std()
    assert spread == pytest.approx(0.05, rel=0.1)


def test_only_trainable_ungrouped_kernels_and_linear_maps_are_decomposed() -> None:
    model = network("mobilenet_v2")
    taken, left_out = decomposable(model)
    kernels = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert {f"{n}.weight" for n, m in kernels.items() if m.groups == 1} == set(taken)
    assert {f"{n}.weight" for n, m in kernels.items() if m.groups > 1} == set(left_out)
    assert (len(taken), len(left_out)) == (35, 17)
    model.backbone.requires_grad_(False)
    assert decomposable(model) == ([], [])


def test_of_a_transformer_every_linear_map_is_decomposed_and_nothing_else() -> None:
    taken, left_out = decomposable(network("attentive"))
    attention = ["attention.in_proj_weight", "attention.out_proj.weight"]
    assert taken == [f"backbone.{name}" for name in ["patches.weight", *attention, "mlp.1.weight", "mlp.3.weight"]]
    assert left_out == []


def test_every_linear_map_of_torchvisions_vit_is_found() -> None:
    with torch.device("meta"):
        import torchvision

        vit = torchvision.models.vit_b_16(weights=None)
    assert len(decomposable(vit)[0]) == 1 + 12 * 4 + 1  # patches, four a block, classifier


@pytest.mark.parametrize("training", [True, False])
def test_fine_tuning_a_vit_moves_every_low_rank_part_and_each_path_uses_its_own_weights(training: bool) -> None:
    model = decomposed("vit")
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (model.train()(images()) - 1).square().sum().backward()
        optimizer.step()
    assert len(low_rank_parts(model)) == 1 + 2 * 4
    assert all(part.b.abs().max() > 0 and part.a.grad is not None for part in low_rank_parts(model).values())
    model.train(training)
    with torch.no_grad():  # in eval mode torch's attention takes another way
        full = model(images())
        with general_path(model):
            general = model(images())
        assert (full - general).abs().max() > 1e-3
        merge(model)
        torch.testing.assert_close(model(images()), full, rtol=0, atol=1e-5)


def test_over_cached_features_the_hidden_layer_is_decomposed() -> None:
    model = with_head(nn.Identity(), 40, ModelSection(freeze="backbone", cache_features=True, hidden=20), seed=0)
    assert decomposable(model) == (["hidden.0.weight"], [])


@pytest.mark.parametrize(
    ("shape", "ratio", "rank"),
    [((64, 3, 7, 7), 0.1, 6), ((16, 3, 3, 3), 0.1, 2), ((4, 3), 0.1, 1), ((64, 512), 0.3, 19), ((8, 8), 1.0, 8)],
)
def test_the_rank_is_a_share_of_the_smaller_dimension(shape: tuple[int, ...], ratio: float, rank: int) -> None:
    assert rank_of(shape, ratio) == rank


def test_the_factors_have_the_shape_of_the_flattened_kernel() -> None:
    part = low_rank_parts(decomposed())["backbone.stages.2.conv2.weight"]
    assert (part.a.shape, part.b.shape) == ((6, 64 * 9), (64, 6))


def test_initial_factors_depend_on_seed_and_name_alone() -> None:
    def first_rows(names: list[str], seed: int) -> dict[str, Tensor]:
        model = network()
        torch.rand(7)
        decompose(model, names, Factors(), seed)
        return {name: part.a.detach() for name, part in low_rank_parts(model).items()}

    names = decomposable(network())[0]
    one, other = first_rows(names, 5), first_rows(names[::-1], 5)
    assert all(torch.equal(one[name], other[name]) for name in names)
    assert not torch.equal(one[names[0]], first_rows(names, 6)[names[0]])


def test_running_statistics_come_from_the_full_path_only() -> None:
    model = decomposed(spread=0.1).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with general_path(model):
        general = model(images())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not torch.equal(general, logits(model, general=True)), "train mode should normalise by the batch"
    model.train()(images())
    assert not torch.equal(before["backbone.stem.1.running_mean"], model.state_dict()["backbone.stem.1.running_mean"])
    assert model.state_dict()["backbone.stem.1.num_batches_tracked"] == 1


def test_the_full_path_is_back_even_after_an_error() -> None:
    model = decomposed(spread=0.1)
    full = logits(model)
    with pytest.raises(KeyError), general_path(model):
        raise KeyError
    assert torch.equal(logits(model), full)
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_gradients_reach_g_on_both_paths_and_the_factors_on_the_full_one() -> None:
    model = decomposed(spread=0.1)
    model(images()).sum().backward()
    part = low_rank_parts(model)["backbone.stem.0.weight"]
    general = dict(model.named_parameters())["backbone.stem.0.parametrizations.weight.original"]
    assert part.a.grad is not None
    assert general.grad is not None
    matrix = general.grad.flatten(1)
    torch.testing.assert_close(part.a.grad, part.b.detach().T @ matrix)
    torch.testing.assert_close(part.b.grad, matrix @ part.a.detach().T)
    model.zero_grad()
    with general_path(model):
        model(images()).sum().backward()
    assert part.a.grad is None
    assert general.grad is not None


def test_merging_is_exact_under_bfloat16_too() -> None:
    model = decomposed(spread=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        full = logits(model)
        merge(model)
        assert torch.equal(logits(model), full)


def test_the_memory_layout_of_kernels_outlives_decomposition_and_merging() -> None:
    model = network().to(memory_format=torch.channels_last)
    decompose(model, decomposable(model)[0], Factors(init_b=0.1), seed=0)
    merge(model)
    kernel = model.backbone.stages[2].conv2.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()


def test_relative_sizes_are_norms_of_ba_over_those_of_the_merged_weight() -> None:
    model = decomposed(spread=0.1)
    sizes = relative_sizes(model)
    part = low_rank_parts(model)["backbone.stages.1.conv1.weight"]
    added = (part.b @ part.a).norm().item()
    merge(model)
    assert sizes["backbone.stages.1.conv1.weight"] == pytest.approx(
        added / model.backbone.stages[1].conv1.weight.norm().item()
    )
    assert list(sizes) == decomposable(model)[0]
    assert set(relative_sizes(decomposed()).values()) == {0.0}


def test_a_second_decomposition_starts_from_the_merged_weights() -> None:
    model = decomposed(spread=0.1)
    merge(model)
    once = logits(model)
    decompose(model, decomposable(model)[0], Factors(), seed=1)
    assert torch.equal(logits(model), once)
    merge(model)
    assert list(model.state_dict()) == list(network().state_dict())
