"""Weighted analytic learning: the hand-computed examples of the method, and a whole stream against one batch."""

from __future__ import annotations

import pytest
import torch

from clsim.training.closed_form.analytic import AUTOMATIC, RidgeSums, WeightedAnalytic, class_weights, row_weights
from clsim.training.plugin import Plugin


@pytest.mark.parametrize(
    ("counts", "weights"),
    [((4, 1), (2 / 3, 4 / 3)), ((100, 25, 4), (0.375, 0.75, 1.875)), ((4, 0), (2.0, 0.0)), ((0, 0), (0.0, 0.0))],
    ids=str,
)
def test_rare_classes_weigh_more(counts, weights) -> None:
    torch.testing.assert_close(class_weights(torch.tensor(counts).double()), torch.tensor(weights).double())


def test_a_row_weighs_the_mean_of_its_classes_and_one_without_any() -> None:
    labels = torch.tensor([[1, 1], [0, 1], [0, 0]]).double()
    assert row_weights(labels, torch.tensor([0.5, 1.5]).double()).tolist() == [1.0, 1.5, 1.0]


def test_three_rows_by_hand() -> None:
    sums = RidgeSums(2, 1.0)
    rows = torch.tensor([[1, 0], [0, 1], [1, 1]]).double()
    sums.grow(2)
    sums.add(rows, rows)
    sums.solve()
    torch.testing.assert_close(sums.weight, torch.tensor([[0.625, 0.125], [0.125, 0.625]]).double())


def test_the_automatic_ridge_is_a_share_of_the_trace() -> None:
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    automatic, given = RidgeSums(3, None), RidgeSums(3, AUTOMATIC * float((rows.T @ rows).trace()))
    for sums in (automatic, given):
        sums.grow(1)
        sums.add(rows, rows[:, :1])
        sums.solve()
    assert torch.equal(automatic.weight, given.weight)


class _Record(Plugin):
    """Keeps phi, weights and completed targets as a definition of the method would compute them, task by task."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.counts = torch.zeros(0).double()
        self.weight: torch.Tensor | None = None

    def finish_model(self, learner, **kwargs) -> None:
        head, classes = learner.model.head, learner.model.n_classes
        rows = learner.adapted_dataset.rows()
        phi = head.phi(torch.from_numpy(learner.scored(learner.model.trunk, learner.store, rows)).double())
        visible = learner.store.targets(rows)[:, :classes].double()
        given, known = visible.clamp_min(0), len(self.counts)
        self.counts = torch.cat([self.counts, torch.zeros(classes - known).double()]) + given.sum(0)
        if self.weight is not None:
            old = (torch.sigmoid(phi @ self.weight) > 0.57).double()
            given[:, :known] = torch.where(visible[:, :known] < 0, old, given[:, :known])
        inverse = self.counts**-0.5
        per_class = classes * inverse / inverse.sum()
        om = torch.tensor([per_class[row == 1].mean() if (row == 1).any() else 1.0 for row in given])
        self.rows.append((phi, om, given))
        x, om = torch.cat([x for x, _, _ in self.rows]), torch.cat([om for _, om, _ in self.rows])
        y = torch.cat([torch.cat([y, y.new_zeros(len(y), classes - y.shape[1])], 1) for _, _, y in self.rows])
        gram = x.T @ (om[:, None] * x) + 1e-5 * torch.eye(x.shape[1], dtype=torch.float64)
        self.weight = torch.linalg.solve(gram, x.T @ (om[:, None] * y))


@pytest.mark.parametrize("solver", ["sums", "recursive"])
def test_a_stream_gives_the_batch_solution(build, learn, solver: str) -> None:
    record = _Record()
    options = {"expansion": 32, "ridge": 1e-5, "threshold": 0.57, "solver": solver}
    template = build("l3a", options=options, overrides={"training.model.freeze": "backbone"}, first=[record])
    learn(template)
    plugin = template.find_plugin(WeightedAnalytic)
    assert plugin is not None
    torch.testing.assert_close(plugin.solver.weight, record.weight, rtol=1e-7, atol=1e-9)
    completed = torch.cat([given[:, :4].flatten() for _, _, given in record.rows[1:]])
    assert 0 < float(completed.mean()) < 1  # the completion said something
    head = template.model.head
    torch.testing.assert_close(head.weight.double(), record.weight.T, rtol=1e-5, atol=1e-6)
