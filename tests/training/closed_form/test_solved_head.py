"""The plugin of `moments` on real streams: exactness, features that drift, state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from clsim.training.closed_form.solved_head import SolvedHead
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from tests.fixtures.templates import opened

FROZEN = {"training.model.freeze": "backbone"}
EXACT = {"precision": "float64", "bytes": "unlimited", "ridge": 0.5}


class Rows(Plugin):
    """Keeps phi and visible labels of every row by the network of the end of its task."""

    def __init__(self) -> None:
        super().__init__()
        self.phi: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []

    def finish_model(self, learner, **kwargs) -> None:
        rows = learner.adapted_dataset.rows()
        trunk = torch.from_numpy(learner.scored(learner.model.trunk, learner.store, rows)).double()
        self.phi.append(learner.model.head.phi(trunk))
        self.labels.append((learner.store.targets(rows) == 1).double())

    @property
    def all(self) -> tuple[np.ndarray, np.ndarray]:
        return torch.cat(self.phi).numpy(), torch.cat(self.labels).numpy()


def _plugin(template) -> SolvedHead:
    found = template.find_plugin(SolvedHead)
    assert found is not None
    return found


def test_the_head_is_ridge_regression_on_all_rows_of_the_stream(build, learn) -> None:
    rows = Rows()
    template = learn(build("moments", options=EXACT, overrides=FROZEN, last=[rows]))
    x, y = rows.all
    expected = Ridge(alpha=0.5 * len(x), fit_intercept=False).fit(x, y)
    weight = _plugin(template).statistics.solve(0.5).weight
    np.testing.assert_allclose(weight.T.numpy(), expected.coef_, rtol=0, atol=1e-9)


def test_no_row_is_known_after_its_task(build, learn) -> None:
    template = learn(build("moments", overrides=FROZEN))
    shapes = {tuple(tensor.shape) for tensor in _tensors(_plugin(template).state_dict())}
    width = template.model.head.width
    assert shapes <= {(width * (width + 1) // 2,), (width, 10), (10,)}


def _tensors(state):
    for value in state.values():
        if isinstance(value, dict):
            yield from _tensors(value)
        elif isinstance(value, torch.Tensor):
            yield value


@pytest.mark.parametrize("unknown", ["soft", "half", "prior"])
def test_completed_labels_reach_old_classes_alone(build, learn, unknown: str) -> None:
    absent, completed = (
        _plugin(learn(build("moments", options=EXACT | {"unknown": name}, overrides=FROZEN))).statistics
        for name in ("absent", unknown)
    )
    assert torch.equal(absent.sums[:, 8:], completed.sums[:, 8:])
    added = (completed.counts - absent.counts)[:8]
    assert bool((added >= 0).all())
    assert float(added.sum()) > 0


def test_the_prior_marks_the_rows_with_the_highest_scores(build, learn) -> None:
    template = learn(build("moments", options=EXACT | {"unknown": "prior"}, overrides=FROZEN), 1)
    statistics = _plugin(template).statistics
    share, sums = statistics.counts / statistics.rows, statistics.sums.clone()
    rows = template.benchmark.train_stream[1].dataset.rows()
    with opened(template.store):
        features = torch.from_numpy(template.scored(template.model.trunk, template.store, rows)).double()
    phi = template.model.head.phi(features)
    order = (phi @ template.model.head.weight.double().T).argsort(dim=0, descending=True)
    number = (share * len(rows)).round().long()
    added = torch.stack([phi[order[: number[c], c]].sum(0) for c in range(4)], dim=1)
    learn(template, 2)
    assert int(number.sum()) > 0
    torch.testing.assert_close(_plugin(template).statistics.sums[:, :4], sums + added, rtol=1e-9, atol=1e-9)


def test_half_of_a_probability_is_half_of_soft(build, learn) -> None:
    absent, half, soft = (
        _plugin(learn(build("moments", options=EXACT | {"unknown": name}, overrides=FROZEN), 2)).statistics.counts[:4]
        for name in ("absent", "half", "soft")
    )
    torch.testing.assert_close(2 * (half - absent), soft - absent)


def test_the_copy_is_made_when_the_first_task_is_trained(build, learn) -> None:
    template = learn(build("er+moments", options={"moments.features": "anchor"}), 1)
    live, anchor = template.model.backbone.live.state_dict(), template.model.backbone.anchor.state_dict()
    assert all(torch.equal(live[name], anchor[name]) for name in live)


def test_a_copied_backbone_sees_all_tasks_alike(build, learn) -> None:
    rows = Rows()
    options = EXACT | {"features": "anchor"}
    template = learn(build("er+moments", options={f"moments.{k}": v for k, v in options.items()}, last=[rows]))
    x, y = rows.all
    expected = Ridge(alpha=0.5 * len(x), fit_intercept=False).fit(x, y)
    weight = _plugin(template).statistics.solve(0.5).weight
    np.testing.assert_allclose(weight.T.numpy(), expected.coef_, rtol=0, atol=1e-6)
    live, anchor = template.model.backbone.live.state_dict(), template.model.backbone.anchor.state_dict()
    assert any(not torch.equal(live[name], anchor[name]) for name in live)


class Scaled(torch.nn.Module):
    """A backbone that does not learn, with features times a vector, which may change."""

    def __init__(self, backbone, width: int) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        self.register_buffer("by", torch.full((width,), 200.0))  # features of the size of the constant

    def train(self, mode: bool = True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.backbone(x) * self.by


class Move(Plugin):
    """Changes the features of a `Scaled` when a later task ends, before statistics follow."""

    def finish_model(self, learner, **kwargs) -> None:
        if learner.position.task:
            learner.model.backbone.by.mul_(torch.linspace(0.5, 2.0, len(learner.model.backbone.by)))


def _gram(template, rows: np.ndarray) -> torch.Tensor:
    """Second moments of phi of rows by the network of now, float64 [p, p]."""
    now = torch.from_numpy(template.scored(template.model.trunk, template.store, rows)).double()
    phi = template.model.head.phi(now)
    return phi.T @ phi


def _moved(build, features: str, spec: str):
    """A template whose features have moved at the end of the second task, without length divided out."""
    options = {"features": features, "normalise": False, "precision": "float64", "bytes": "unlimited"}
    template = build(spec, options={f"moments.{k}": v for k, v in options.items()}, first=[Move()])
    template.model.backbone = Scaled(template.model.backbone, template.model.n_features)
    return template


def test_statistics_follow_features_that_move_linearly(build, learn) -> None:
    template = learn(_moved(build, "transport", "lwf+moments"), 1)
    first, second = (experience.dataset.rows() for experience in template.benchmark.train_stream[:2])
    stale = _gram(template, first)
    learn(template, 2)
    found = _plugin(template).statistics.moments.matrix - _gram(template, second)
    true = _gram(template, first)
    inner = (slice(None, -1), slice(None, -1))
    left = float((found - true)[inner].norm() / (stale - true)[inner].norm())
    assert left < 0.1  # the ridge towards the identity keeps what the task's rows do not show
    assert float(found[-1, -1]) == pytest.approx(len(first), rel=1e-9)  # the constant stays the constant


def test_statistics_are_estimated_again_from_the_memory(build, learn) -> None:
    template = learn(_moved(build, "memory", "er+moments"), 1)
    memory = template.find_plugin(Replay).memory
    stored, labels = memory.rows.copy(), torch.from_numpy(memory.labels[:, :4]).double().clamp_min(0)
    first, second = (experience.dataset.rows() for experience in template.benchmark.train_stream[:2])
    counts = _plugin(template).statistics.counts.clone()
    learn(template, 2)
    statistics = _plugin(template).statistics
    expected = len(first) / len(stored) * _gram(template, stored)
    torch.testing.assert_close(statistics.moments.matrix - _gram(template, second), expected, rtol=1e-9, atol=1e-9)
    now = torch.from_numpy(template.scored(template.model.trunk, template.store, stored)).double()
    sums = template.model.head.phi(now).T @ labels * (counts / labels.sum(0).clamp_min(1))
    torch.testing.assert_close(statistics.sums[:, :4], sums, rtol=1e-9, atol=1e-9)
    assert torch.equal(statistics.counts[:4], counts)


@pytest.mark.parametrize(("spec", "features"), [("er", "memory"), ("er+more", "transport"), ("rebll", "anchor")])
def test_a_live_backbone_keeps_a_finite_head(build, learn, spec: str, features: str) -> None:
    template = learn(build(f"{spec}+moments", options={"moments.features": features}))
    assert all(bool(value.isfinite().all()) for value in template.model.state_dict().values())
    assert _plugin(template).statistics.n_classes == 10


def test_report_says_ridge_and_bytes(build, learn) -> None:
    plugin = _plugin(learn(build("moments", overrides=FROZEN)))
    report = plugin.report([])
    assert report["closed_form/bytes"] == plugin.nbytes > 0
    assert 0.01 <= report["closed_form/ridge"] <= 100
