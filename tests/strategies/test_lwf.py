"""lwf on memory rows: what of their old labels counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay


class Flip:
    """Turns every given label of the memory round, once the rows of a task are stored."""

    def memory_updated(self, learner: Any, replay: Replay, **kwargs: Any) -> None:
        labels = replay.memory.labels
        replay.memory.labels = np.where(labels >= 0, 1 - labels, labels)


@pytest.mark.parametrize("memory", ["given", "teacher"])
def test_the_teacher_of_icarl_overwrites_given_old_labels_of_memory_rows_if_asked_to(
    build: Any, learn: Any, same_weights: Any, memory: str
) -> None:
    options = {"lwf.memory": memory}
    plain = learn(build("icarl", options=options), tasks=2)
    flipped = learn(build("icarl", options=options, last=[Flip()]), tasks=2)
    assert same_weights(plain, flipped) == (memory == "teacher")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("lwf", {}, "given 'teacher' without a memory; allowed there: given"),
        ("lwf+er", {"er.other_classes": "ignore"}, "beside other_classes: ignore, which distils none"),
    ],
)
def test_labels_are_left_to_a_teacher_only_where_it_is_asked(spec: str, options: dict[str, Any], message: str) -> None:
    composition = Composition(spec, {"lwf.memory": "teacher", **options})
    with pytest.raises(Exception, match=message):
        composition.check(load_scenario("digits-b0c2").config, 10)
