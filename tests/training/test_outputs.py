"""What student and teacher say of a batch: logits, embedding and tokens of one forward pass, shared by all who ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot

OVER_MAPS = f"{Path(__file__).parents[1]}/fixtures/own_heads.py:OverMaps"


class Asking(Plugin):
    """Asks the teacher twice in each step, and compares what is noted with passes of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.steps: list[dict[str, Any]] = []

    def before_forward(self, learner: Any, **kwargs: Any) -> None:
        snapshot = learner.find_plugin(Snapshot)
        self.first = None if snapshot is None else snapshot.outputs(learner)
        self.passes = []
        if snapshot is not None and snapshot.model is not None:
            self.handle = snapshot.model.register_forward_hook(lambda *_: self.passes.append(1))

    def before_backward(self, learner: Any, **kwargs: Any) -> None:
        step: dict[str, Any] = {"student": learner.outputs, "logits": learner.mb_output, "task": learner.position.task}
        snapshot = learner.find_plugin(Snapshot)
        if snapshot is not None and snapshot.model is not None:
            assert snapshot.outputs(learner) is self.first
            self.handle.remove()
            step |= {"teacher": self.first, "passes": len(self.passes), "model": snapshot.model, "x": learner.mb_x}
        self.steps.append(step)


def test_the_teacher_runs_once_and_all_see_what_it_said(build: Any, learn: Any) -> None:
    asking = Asking()
    learn(build("rebll", first=[asking]), tasks=2)
    for step in asking.steps:
        student = step["student"]
        assert student.logits is step["logits"]
        assert student.embedding.shape == (len(student.logits), 64)
        assert student.embedding.requires_grad
        assert student.tokens is None
        assert ("teacher" in step) == (step["task"] > 0)
        if step["task"]:
            assert step["passes"] == 0  # it had been run before the distillation asked
            with torch.no_grad():
                assert torch.equal(step["teacher"].logits, step["model"](step["x"]))
                assert torch.equal(step["teacher"].embedding, step["model"].trunk(step["x"]))
            assert not step["teacher"].embedding.requires_grad


def test_a_token_head_shows_maps_and_tokens(build: Any, learn: Any) -> None:
    asking = Asking()
    learn(build(f"{OVER_MAPS}+lwf", first=[asking]), tasks=2)
    step = asking.steps[-1]
    assert step["student"].embedding.shape[1:] == (64, 7, 7)
    assert step["student"].tokens.shape[1:] == (2, 64)
    assert step["teacher"].tokens.shape[1:] == (1, 64)
    assert step["student"].tokens.requires_grad
    assert not step["teacher"].tokens.requires_grad
