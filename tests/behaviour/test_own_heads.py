"""Networks that a strategy makes its own, and heads in closed form: growth, resume, other parts, the trained model."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clsim
from clsim.errors import RunError, StrategyError
from clsim.inference.export import FORMATS
from clsim.models.build import build_model
from clsim.models.head import GrowingHead, Head
from clsim.models.low_rank import decomposable
from clsim.report.writing import write_report
from clsim.running.trained_model import read_trained_model
from clsim.scenario.training_schema import ModelSection
from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from tests.behaviour.test_state import Snapshot
from tests.fixtures.own_heads import TokenHead
from tests.running.test_trained_model import CACHED, run, scored

HERE = Path(__file__).parents[1] / "fixtures" / "own_heads.py"
RIDGE = f"{Path(__file__).parents[2]}/docs/examples/closed_form.py:Ridge"
FROZEN = {"training.model.freeze": "backbone"}
MAPS = {**FROZEN, "training.model.cache_features": "maps"}


def own(name: str, *others: str) -> str:
    return "+".join([f"{HERE}:{name}", *others])


# --- a network of the strategy's own


@pytest.mark.parametrize("at", [(0, 0, 1), (1, 1, 1), (2, 1, 1)], ids=str)
@pytest.mark.parametrize(
    ("spec", "overrides"),
    [
        (own("Tokens", "rebll", "more"), {}),
        (own("Tokens", "lwf"), FROZEN),
        (own("Tokens", "ewc"), {}),
        (own("Tokens", "er", "or"), CACHED),
        (own("Wrapped", "lwf", "er"), FROZEN),
        (own("OverMaps", "lwf", "er"), MAPS),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "",
)
def test_a_run_continues_inside_a_task_to_the_same_end(
    build: Any, learn: Any, same_weights: Any, through_file: Any, spec: str, overrides: Any, at: Any
) -> None:
    snapshot = Snapshot(at)
    uninterrupted = learn(build(spec, overrides=overrides, last=[snapshot]))
    continued = build(spec, overrides=overrides, last=[Snapshot()])
    continued.load_state_dict(through_file(snapshot.state))
    assert same_weights(learn(continued), uninterrupted)
    assert continued.model.growth == uninterrupted.model.growth == [4, 8, 10]


class Backbone(Plugin):
    """Copies the backbone's weights when the first task begins."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, torch.Tensor] = {}

    def before_training_exp(self, learner: Any, **kwargs: Any) -> None:
        self.state = self.state or copy.deepcopy(learner.model.backbone.state_dict())


def test_a_frozen_backbone_stays_as_it_is_and_all_on_it_learns(build: Any, learn: Any) -> None:
    backbone = Backbone()
    template = build(own("Tokens"), overrides=FROZEN, last=[backbone])
    drawn = copy.deepcopy(template.model.state_dict())
    trained = learn(template).model.state_dict()
    assert all(torch.equal(trained[f"backbone.{name}"], value) for name, value in backbone.state.items())
    learnt = [name for name in drawn if not torch.equal(drawn[name], trained[name])]
    assert learnt == ["hidden.1.weight", "hidden.1.bias", "head.shared.weight", "head.shared.bias"]


@pytest.mark.parametrize("more", [{}, CACHED], ids=str)
@pytest.mark.parametrize("others", ["rebll+more", "er"])
def test_the_trained_model_is_read_back(
    others: str, more: dict[str, Any], tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    own_options = {"training.model.hidden": 8, **more} if "more" in others else more
    folder, scores = run(tmp_path, own("Tokens", others), tiny_overrides, own_options)
    trained = read_trained_model(folder)
    assert type(trained.network.head).__name__ == "TokenHead"
    assert trained.network.growth == [4, 8, 10]
    np.testing.assert_array_equal(scored(trained, folder), scores)


def test_a_model_over_maps_is_read_back_and_exported(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    folder, scores = run(tmp_path, own("OverMaps", "er"), tiny_overrides, {"training.epochs": 1})
    np.testing.assert_array_equal(scored(read_trained_model(folder), folder), scores)
    for format in ("safetensors", "torch-export"):
        path = tmp_path / f"model{FORMATS[format]}"
        assert clsim.load_model(folder).export(path, format, thresholds=False) < 1e-5


@pytest.mark.parametrize("spec", ["rebll", "OverMaps"])
def test_cached_maps_give_the_numbers_of_the_images_up_to_their_rounding(
    spec: str, build: Any, learn: Any, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    spec = own(spec, "er") if spec == "OverMaps" else spec
    templates = [learn(build(spec, overrides=keys), tasks=2) for keys in (FROZEN, MAPS)]
    whole, cached = (template.model.head.state_dict() for template in templates)
    assert list(whole) == list(cached)
    for name, value in whole.items():
        torch.testing.assert_close(cached[name], value, rtol=0.05, atol=0.005)
    (replay,) = [plugin for plugin in templates[1].plugins if isinstance(plugin, Replay)]
    assert replay.nbytes > 2 * 64 * 7 * 7 * len(replay.memory.rows)
    x, _, _ = templates[1].benchmark.train_stream[0].dataset[0]
    assert (x.dtype, x.shape) == (torch.float32, (64, 7, 7))


def test_a_model_over_cached_maps_is_read_back_over_images(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    folder, scores = run(tmp_path, own("OverMaps"), tiny_overrides, {**MAPS, "training.epochs": 1})
    trained = read_trained_model(folder)
    assert trained.network.backbone.state_dict()
    np.testing.assert_allclose(scored(trained, folder), scores, rtol=0, atol=0.02)
    assert re.search(r"maps of train: .*, 60 x \[64, 7, 7\] float16, 0\.4 MB\n", (folder / "run.log").read_text())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (CACHED, "cache_features: true keeps no maps; allowed: maps, or false"),
        ({"training.model.hidden": 8}, "leave training.model.hidden out"),
        ({"training.model.name": "vgg11", "training.model.image_size": 32}, "the backbone has no map at 32 px"),
    ],
    ids=str,
)
def test_a_head_over_maps_is_refused_where_there_are_none(build: Any, overrides: Any, message: str) -> None:
    with pytest.raises(StrategyError, match=f"over-maps reads the backbone's map.*{message}") as error:
        build(own("OverMaps"), overrides=overrides)
    assert "\n" not in str(error.value)


def test_a_trained_model_whose_strategy_is_gone_says_so(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HERE.read_text())
    folder, _ = run(tmp_path / "runs", f"{file}:Tokens", tiny_overrides, {"training.epochs": 1})
    file.unlink()
    with pytest.raises(RunError, match=rf"model.pt: its network is made by {file}:Tokens: .*mine.py") as error:
        read_trained_model(folder)
    assert "\n" not in str(error.value)


def test_two_that_make_the_network_refuse_each_other() -> None:
    with pytest.raises(StrategyError, match="tokens and wrapped both decide the network and cannot be combined"):
        Composition(own("Tokens", own("Wrapped")))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Careless", "careless: _Careless.add_classes makes another weight each time; draw from self.generator"),
        ("Plain", "plain: the network's head is a Linear, expected a clsim.kit.Head"),
        ("Nothing", "nothing: network.. gave NoneType, expected a clsim.kit.MultiLabelNet"),
    ],
)
def test_a_network_that_breaks_the_contract_is_refused_before_training(build: Any, name: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        build(own(name))


def test_logits_of_another_shape_are_one_clear_line(build: Any, learn: Any) -> None:
    with pytest.raises(RunError, match=r"_Short: gave logits \[16, 3\], expected \[16, 4\]"):
        learn(build(own("Short")))


def test_a_changed_backbone_and_cached_features_refuse_each_other(build: Any) -> None:
    with pytest.raises(StrategyError, match=r"wrapped: changes the backbone.* set that key to false"):
        build(own("Wrapped"), overrides=CACHED)


def test_an_own_network_depends_on_the_seed_alone_and_leaves_the_global_generator() -> None:
    state = torch.get_rng_state()
    composition = Composition(own("Tokens"))
    one, again, other = (composition.network(lambda: build_model(ModelSection(), 0), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [network.head.shared.weight for network in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_decomposition_leaves_a_head_whole_and_takes_a_feature_transform() -> None:
    network = Composition(own("Tokens")).network(lambda: build_model(ModelSection(), 0), 0)
    network.grow(4, 8)
    taken, left_out = decomposable(network)
    assert "hidden.1.weight" in taken
    assert not [name for name in taken + left_out if name.startswith("head.")]


@pytest.mark.parametrize("kind", [GrowingHead, TokenHead])
def test_a_head_that_grows_in_the_same_steps_has_the_same_state(kind: type[Head]) -> None:
    torch.manual_seed(0)
    one = kind(6, 0)
    other = copy.deepcopy(one)
    for head in (one, other):
        for n_classes in (2, 2, 5):
            head.grow(n_classes)
    assert one.growth == (2, 5)
    assert one(torch.ones(3, 6)).shape == (3, 5)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_head_scores_in_the_precision_of_its_weights() -> None:
    head = TokenHead(6, 0)
    head.grow(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.ones(3, 6, dtype=torch.bfloat16)).dtype == torch.float32


# --- no epochs


def ridge(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The head over all rows at once, float64 [C, d + 1]: a row is a positive of a class where it shows a 1."""
    x = np.sqrt(features.shape[1]) * features / np.linalg.norm(features, axis=1, keepdims=True)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    return np.linalg.solve(x.T @ x + len(x) * np.eye(x.shape[1]), x.T @ (targets == 1)).T


@pytest.mark.parametrize("more", [FROZEN, CACHED], ids=str)
def test_a_head_in_closed_form_is_that_of_all_rows_at_once(build: Any, learn: Any, more: dict[str, Any]) -> None:
    template = build(RIDGE, overrides=more)
    drawn = copy.deepcopy(template.model.backbone.state_dict())
    learn(template)
    assert template.train_epochs == template.samples_trained == 0
    assert all(torch.equal(value, drawn[name]) for name, value in template.model.backbone.state_dict().items())
    rows = np.concatenate([task.dataset.rows() for task in template.benchmark.train_stream])
    features = template.scored(template.model.trunk, template.store, rows)
    expected = ridge(features, template.store.targets(rows).numpy())
    np.testing.assert_allclose(template.model.head.weight.numpy(), expected, atol=1e-5)


def test_a_run_without_epochs_continues_at_each_task(
    build: Any, learn: Any, same_weights: Any, through_file: Any
) -> None:
    states: list[Any] = []
    template = build(RIDGE, overrides=CACHED)
    template.at_cut = lambda cut: states.append(copy.deepcopy(cut.state_dict()))
    learn(template)
    assert [state["position"]["task"] for state in states] == [1, 2, 3]
    for state in states:
        continued = build(RIDGE, overrides=CACHED)
        continued.load_state_dict(through_file(state))
        assert same_weights(learn(continued), template)


def test_runs_without_epochs_are_compared_and_reported(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    keys = {**tiny_overrides, **CACHED}
    compared = clsim.compare("digits-b0c2", [RIDGE, "er", "lwf"], seeds=[0, 1], overrides=keys, out=tmp_path)
    folder = compared.folder / "ridge" / "seed0"
    result = json.loads((folder / "result.json").read_text())
    width = 64 + 1
    assert result["memory"] == {"rows": 0, "bytes": 8 * (width * width + width * 10), "labels": None}
    assert result["first_task"] is None
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in lines} == {"eval"}
    write_report(compared.folder)
    assert (compared.folder / "report.html").is_file()
    assert read_trained_model(folder).network.n_classes == 10


@pytest.mark.parametrize("strategy", ["rebll+more", "joint", "er+or", "ewc"])
def test_any_strategy_runs_without_epochs(strategy: str, tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    result = clsim.run("digits-b0c2", strategy, overrides={**tiny_overrides, "training.epochs": 0}, out=tmp_path)
    assert 0 <= result.record.last_mAP <= 100
    assert clsim.resume(result.folder).record.last_mAP == result.record.last_mAP


def test_a_method_without_steps_does_not_combine_with_one_that_needs_them() -> None:
    with pytest.raises(StrategyError, match="ridge trains no steps and cannot be combined with lwf"):
        Composition(f"{RIDGE}+lwf")


# --- a budget in bytes

ROW = 3 * 28 * 28 + 8 + 6 * 10 + 8


@pytest.mark.parametrize(("spec", "beside"), [("er", 0), (own("Logits", "er"), 40)], ids=["er", "er and logits"])
def test_a_budget_in_bytes_holds_as_many_rows_as_fit(build: Any, learn: Any, spec: str, beside: int) -> None:
    for n_bytes, rows in ((ROW + beside, 1), (13 * (ROW + beside) - 1, 12), (13 * (ROW + beside), 13)):
        budget = {"memory.budget": {"bytes": n_bytes}}
        template = learn(build(spec, overrides=budget))
        memory = next(plugin.memory for plugin in template.plugins if hasattr(plugin, "memory"))
        assert len(memory) == rows


def test_a_budget_for_less_than_a_row_is_one_clear_line(build: Any) -> None:
    with pytest.raises(StrategyError, match=rf"^memory.budget.bytes: given {ROW - 1}, must be at least {ROW}, one row"):
        build("er", overrides={"memory.budget": {"bytes": ROW - 1}})
    with pytest.raises(StrategyError, match=rf"given {ROW}, must be at least {ROW + 40}, one row"):
        build(own("Logits", "er"), overrides={"memory.budget": {"bytes": ROW}})


def test_a_budget_in_bytes_counts_features_as_they_are_stored(build: Any, learn: Any) -> None:
    row = 4 * 64 + 8 + 6 * 10 + 8
    template = learn(build("er", overrides={**CACHED, "memory.budget": {"bytes": 5 * row}}))
    assert len(template.find_plugin(Plugin).memory) == 5
