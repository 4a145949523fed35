"""What unknown old classes of a task's own images mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clsim.training.unknown import assume_negative


class AfterPolicies:
    """Records targets and flags as the losses meet them."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Any, Any, Any, Any]] = []

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.seen.append(
            (
                strategy.position.task,
                strategy.mb_y.clone(),
                strategy.rows.clone(),
                strategy.replayed.clone(),
                strategy.distillable.clone(),
            )
        )


def test_assume_negative_writes_only_unknown_entries_of_the_rows_and_columns_named() -> None:
    targets = torch.tensor([[-1.0, -1.0, 1.0, -1.0], [-1.0, 0.3, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0]])
    every = targets.clone()
    assume_negative(targets, [1, 2], torch.tensor([True, True, False]))
    assert targets.tolist() == [
        [-1.0, 0.0, 1.0, -1.0],
        [-1.0, pytest.approx(0.3), 0.0, -1.0],
        [-1.0, -1.0, -1.0, -1.0],
    ]
    assume_negative(every, [1, 2])
    assert every[2].tolist() == [-1.0, 0.0, 0.0, -1.0]


@pytest.mark.parametrize("policy", ["distil", "negative", "ignore"])
@pytest.mark.parametrize("spec", ["lwf", "lwf+er"])
def test_the_policy_decides_the_old_classes_of_new_rows_only(build: Any, learn: Any, spec: str, policy: str) -> None:
    record = AfterPolicies()
    template = learn(build(spec, options={"lwf.old_classes": policy}, last=[record]))
    store = template.benchmark.train_rows
    for task, y, rows, replayed, distillable in record.seen:
        new, start = ~replayed, 4 * task
        expected = store.targets(rows[new].numpy())
        assert (expected[:, :start] == -1).all()
        if policy == "negative":
            expected[:, :start] = 0
        assert torch.equal(y[new], expected)
        assert distillable[new].tolist() == [policy != "ignore"] * int(new.sum())
        assert distillable[replayed].all()


def test_known_old_classes_are_never_overwritten(build: Any, learn: Any) -> None:
    record = AfterPolicies()
    options = {"old_classes": "negative"}
    template = learn(build("finetune", options=options, overrides={"labels.visible": "full"}, last=[record]))
    for _, y, rows, _, _ in record.seen:
        assert torch.equal(y, template.benchmark.train_rows.targets(rows.numpy()))


def test_ignored_old_classes_leave_their_head_bias_where_it_was(build: Any, learn: Any) -> None:
    template = learn(build("finetune"), tasks=1)
    bias = template.model.head.bias.detach().clone()
    learn(template, tasks=2)
    assert torch.equal(template.model.head.bias[:4], bias)


def test_old_classes_read_as_absent_are_trained_down(build: Any, learn: Any) -> None:
    template = learn(build("finetune", options={"old_classes": "negative"}), tasks=1)
    bias = template.model.head.bias.detach().clone()
    learn(template, tasks=2)
    assert (template.model.head.bias[:4] < bias).all()
