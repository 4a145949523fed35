"""The growing head keeps what it learnt, and initial weights depend on the seed alone."""

from __future__ import annotations

import pytest
import torch

from clsim.models.build import build_model
from clsim.models.head import GrowingHead
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection


def head_of(n_classes: int, seed: int = 0, width: int = 6) -> GrowingHead:
    head = GrowingHead(width, seed)
    head.grow(n_classes)
    return head


def test_old_rows_keep_their_weights_bit_for_bit() -> None:
    head = head_of(3)
    with torch.no_grad():
        head.weight.normal_()
        head.bias.normal_()
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    head.grow(5)
    assert torch.equal(head.weight[:3], weight)
    assert torch.equal(head.bias[:3], bias)


def test_a_new_row_depends_on_seed_and_column_not_on_the_steps_of_growth() -> None:
    grown = head_of(2)
    grown.grow(3)
    grown.grow(7)
    assert torch.equal(grown.weight, head_of(7).weight)


def test_a_new_row_does_not_depend_on_the_global_generator() -> None:
    torch.manual_seed(1)
    first = head_of(4)
    torch.manual_seed(2)
    torch.rand(3)
    assert torch.equal(first.weight, head_of(4).weight)


def test_growing_leaves_the_global_generator_as_it_was() -> None:
    state = torch.get_rng_state()
    head_of(4)
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_differ_from_each_other_and_between_seeds() -> None:
    weight = head_of(4).weight
    assert len({tuple(row.tolist()) for row in weight}) == 4
    assert not torch.equal(weight, head_of(4, seed=1).weight)


def test_new_rows_start_as_torchs_own_linear_layer_with_bias_zero() -> None:
    head = head_of(400, width=16)
    assert float(head.weight.detach().abs().max()) <= 1 / 4
    assert float(head.weight.detach().std()) == pytest.approx(1 / 4 / 3**0.5, rel=0.05)
    assert not head.bias.any()


def test_shrinking_is_refused() -> None:
    with pytest.raises(ValueError, match="3 classes cannot shrink to 2"):
        head_of(3).grow(2)


def test_growing_to_the_same_size_keeps_the_parameters_themselves() -> None:
    head = head_of(3)
    weight, bias = head.weight, head.bias
    head.grow(3)
    assert head.weight is weight
    assert head.bias is bias


def test_new_rows_take_the_precision_of_the_old_ones() -> None:
    head = head_of(2).double()
    head.grow(3)
    assert head.weight.dtype == head.bias.dtype == torch.float64


def test_the_head_is_linear_in_its_features() -> None:
    head, features = head_of(3), torch.randn(5, 6)
    expected = features @ head.weight.T + head.bias
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize("name", ["tiny-resnet", "mobilenet_v3_small"])
def test_building_a_model_leaves_the_global_generator_as_it_was(name: str) -> None:
    state = torch.get_rng_state()
    build_model(ModelSection(name=name), seed=3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["tiny-resnet", "mobilenet_v3_small"])
def test_equal_seeds_give_equal_weights_and_other_seeds_do_not(name: str) -> None:
    first = build_model(ModelSection(name=name), seed=3).state_dict()
    torch.manual_seed(99)
    again, other = (
        build_model(ModelSection(name=name), seed=3).state_dict(),
        build_model(ModelSection(name=name), seed=4).state_dict(),
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", ["tiny-resnet", "mobilenet_v3_small"])
@pytest.mark.parametrize("size", [16, 28, 33])
def test_a_network_scores_each_class_of_its_head_at_any_size(name: str, size: int) -> None:
    model = build_model(ModelSection(name=name), seed=0).eval()
    model.head.grow(3)
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_a_network_without_classes_gives_no_scores() -> None:
    assert build_model(ModelSection(), 0).eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 0)


# --- the hidden layer


def with_hidden(width: int | None, seed: int = 0) -> MultiLabelNet:
    model = build_model(ModelSection(hidden=width, freeze="backbone"), seed)
    model.head.grow(2)
    return model


def test_a_hidden_layer_stands_between_backbone_and_head() -> None:
    model, x = with_hidden(7).eval(), torch.randn(3, 3, 32, 32)
    inner = torch.relu(model.hidden[0](model.backbone(x)))
    assert inner.shape == (3, 7)
    assert model.head.weight.shape == (2, 7)
    assert torch.equal(model.trunk(x), inner)
    assert torch.equal(model(x), model.head(inner))


def test_it_trains_where_the_backbone_is_frozen() -> None:
    trainable = {name for name, parameter in with_hidden(7).named_parameters() if parameter.requires_grad}
    assert trainable == {"hidden.0.weight", "hidden.0.bias", "head.weight", "head.bias"}


def test_it_depends_on_the_seed_alone_and_leaves_the_backbone_as_it_is_without_it() -> None:
    torch.manual_seed(5)
    one, again, other = with_hidden(7), with_hidden(7), with_hidden(7, seed=1)
    assert torch.equal(one.hidden[0].weight, again.hidden[0].weight)
    assert not torch.equal(one.hidden[0].weight, other.hidden[0].weight)
    plain = with_hidden(None).backbone.state_dict()
    assert all(torch.equal(value, plain[key]) for key, value in one.backbone.state_dict().items())


def test_without_it_a_state_has_no_more_keys() -> None:
    assert not [key for key in with_hidden(None).state_dict() if key.startswith("hidden")]
