"""A run on a second device goes on from its state, wherever the tensors of that state are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map

from tests.fixtures.sim_device import NAME, Sim

PLAIN = {"training.model.channels_last": False}
FROZEN = {"training.model.freeze": "backbone"}


class Cut(Exception):
    """The run is cut here."""


def cut_at(template: Any, *place: int) -> Any:
    """Return the state of a run inside a task, at (task, epoch, step)."""
    found = []

    def at_cut(template: Any) -> None:
        if template.position.started and template.position.place == place:
            found.append(copy.deepcopy(template.state_dict()))
            raise Cut

    template.at_cut = at_cut
    with pytest.raises(Cut):
        template.learn(template.benchmark.train_stream[:2], template.benchmark.evaluation_stream)
    return found[0]


def on_cpu(state: Any) -> Any:
    """Return a state with all its tensors on the CPU, as a machine without the device reads it."""
    return tree_map(lambda value: value.cpu() if isinstance(value, torch.Tensor) else value, state)


@pytest.mark.parametrize(
    ("spec", "overrides"),
    [
        ("rebll+more", {}),
        ("ewc", {}),
        pytest.param("er", {"training.clip_norm": 1.0}, marks=pytest.mark.long),
        pytest.param("akd", {}, marks=pytest.mark.long),
        pytest.param("si", {}, marks=pytest.mark.long),
        pytest.param("pseudo+cgc+er", {}, marks=pytest.mark.long),
        pytest.param("lwf+moments", {"features": "transport"}, marks=pytest.mark.long),
        pytest.param("joint", {"training.loss": {"name": "db"}}, marks=pytest.mark.long),
        pytest.param("feature-replay", {**FROZEN, "training.model.cache_features": True}, marks=pytest.mark.long),
    ],
)
def test_a_run_goes_on_from_a_state_of_either_device(
    sim: Sim, build: Callable[..., Any], learn: Any, spec: str, overrides: dict[str, Any]
) -> None:
    given = PLAIN | overrides
    options = {"features": given.pop("features")} if "features" in given else {}
    settings: dict[str, Any] = {"device": NAME, "overrides": given, "options": options}
    whole = learn(build(spec, **settings), tasks=2)
    state = cut_at(build(spec, **settings), 1, 0, 1)
    for found in (state, on_cpu(state)):
        rest = build(spec, **settings)
        rest.load_state_dict(copy.deepcopy(found))
        learn(rest, tasks=2)
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value.cpu(), rest.model.state_dict()[name].cpu()), name
