"""MULTI-LANE: what a later task leaves as it was, what it composes with, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clsim.errors import ClsimError
from clsim.training.plugin import Plugin
from tests.fixtures.tiny_vit import TINY_VIT

SMALL = {"multi-lane.selectors": 3, "multi-lane.prompts": 2}
FROZEN_VIT = {"training.model": TINY_VIT}


class Ends(Plugin):
    """Notes weights, and logits of some images, when a task ends."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[dict[str, Tensor]] = []
        self.logits: list[Tensor] = []

    def after_training_exp(self, learner: Any, **kwargs: Any) -> None:
        self.states.append({name: value.clone() for name, value in learner.model.state_dict().items()})
        self.logits.append(torch.from_numpy(learner.scored(learner.model, learner.store, np.arange(5))))


@pytest.mark.parametrize("optimizer", [{}, {"training.optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.1}}])
def test_later_tasks_change_no_bit_of_earlier_lanes_and_logits(build: Any, learn: Any, optimizer: Any) -> None:
    ends = Ends()
    learn(build("multi-lane", options=SMALL, overrides=FROZEN_VIT | optimizer, last=[ends]))
    for before, after, n_classes, task in ((0, 1, 4, 0), (1, 2, 8, 1)):
        first, second = ends.states[before], ends.states[after]
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        assert torch.equal(ends.logits[after][:, :n_classes], ends.logits[before])
        for name in ("selectors", "keys", "values"):
            assert not torch.equal(second[f"head.lanes.{task + 1}.{name}"], first[f"head.lanes.{task}.{name}"])


def test_it_learns_from_relabelled_rows_of_a_memory(build: Any, learn: Any, same_weights: Any) -> None:
    alone, others = (
        learn(build(spec, options=SMALL, overrides=FROZEN_VIT), tasks=2) for spec in ("multi-lane", "multi-lane+er+or")
    )
    assert not same_weights(alone, others)
    assert others.model.growth == [4, 8]


def test_without_prompts_selectors_learn(build: Any, learn: Any) -> None:
    ends = Ends()
    learn(build("multi-lane", options={"selectors": 2, "blocks": 0}, overrides=FROZEN_VIT, last=[ends]), tasks=2)
    last = ends.states[1]
    assert last["head.lanes.1.keys"].shape == (0, 20, 16)
    assert not torch.equal(last["head.lanes.1.selectors"], last["head.lanes.0.selectors"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"freeze": "none"}, r"frozen ViT: training\.model\.freeze: given none, allowed: backbone"),
        ({"cache_features": True}, r"training\.model\.cache_features: given True, allowed: false"),
        ({"cache_features": "maps"}, r"training\.model\.cache_features: given maps, allowed: false"),
        ({"hidden": 8}, r"training\.model\.hidden: given 8, allowed: none"),
        ({"name": "tiny-resnet"}, r"need a ViT of torchvision or timm .* the backbone is a TinyResNet, which is none$"),
    ],
    ids=str,
)
def test_what_has_no_frozen_vit_is_refused_in_one_line(build: Any, model: dict[str, Any], message: str) -> None:
    with pytest.raises(ClsimError, match=message) as found:
        build("multi-lane", overrides={"training.model": TINY_VIT | model})
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("part", ["lwf", "ewc", "pseudo"])
def test_what_holds_old_classes_has_nothing_to_do_and_is_refused(build: Any, part: str) -> None:
    with pytest.raises(ClsimError, match=rf"^multi-lane freezes what earlier tasks learnt, so {part} has nothing"):
        build(f"multi-lane+{part}", overrides=FROZEN_VIT)
