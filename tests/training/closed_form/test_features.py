"""Where features of a head in closed form come from: what fits, and what is refused by name."""

from __future__ import annotations

import re

import pytest
import torch

from clsim.errors import StrategyError

FROZEN = {"training.model.freeze": "backbone"}


@pytest.mark.parametrize(
    ("spec", "features", "overrides", "message"),
    [
        ("moments", "frozen", {}, "training.model.freeze is 'none', and statistics of features that change"),
        ("moments", "frozen", {}, "or strategy.moments.features to first-task"),
        ("l3a", "frozen", {}, "or strategy.l3a.features to first-task"),
        ("er+moments", "frozen", {}, "or strategy.moments.features to anchor, transport or memory"),
        ("er+moments", "first-task", {}, "given 'first-task', which stands alone; allowed beside other parts: anchor"),
        ("er+moments", "first-task", FROZEN, "which stands alone; allowed beside other parts: frozen"),
        ("moments", "anchor", {}, "which needs parts that train a head, such as rebll+moments"),
        ("moments", "first-task", FROZEN, "but the scenario's backbone never changes; allowed: frozen"),
        ("lwf+moments", "memory", {}, "which needs a part that brings the memory, such as er+moments"),
        ("er+l3a", "first-task", {}, "l3a solves for the whole head and stands alone"),
    ],
)
def test_what_cannot_work_is_refused(build, spec, features, overrides, message) -> None:
    part = "l3a" if "l3a" in spec else "moments"
    with pytest.raises(StrategyError, match=re.escape(message)):
        build(spec, options={f"{part}.features": features}, overrides=overrides)


@pytest.mark.parametrize("spec", ["moments", "l3a"])
def test_the_backbone_learns_in_the_first_task_only(build, learn, spec: str) -> None:
    options = {"features": "first-task"} | ({"expansion": 16} if spec == "l3a" else {})
    template = build(spec, options=options)
    fresh = {name: value.clone() for name, value in template.model.backbone.state_dict().items()}
    learn(template, 1)
    first = {name: value.clone() for name, value in template.model.backbone.state_dict().items()}
    assert any(not torch.equal(fresh[name], first[name]) for name in fresh)
    template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    last = template.model.backbone.state_dict()
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert template.model.head.known.tolist() == [True] * 10
