"""`pseudo` as a part: what it combines with, and what it refuses by name."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import StrategyError
from clsim.scenario import load_scenario
from clsim.training.composition import Composition


def checked(spec: str, options: dict[str, Any]) -> Composition:
    composition = Composition(spec, options)
    composition.check(load_scenario("digits-b0c2").config, 10)
    return composition


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("finetune+pseudo", {}, "finetune and pseudo both decide the old_classes and cannot be combined"),
        ("finetune+lwf", {}, "finetune and lwf both decide the old_classes and cannot be combined"),
        ("pseudo+lwf+akd", {}, "lwf and akd both decide the distillation"),
        ("pseudo", {"rest": "distil"}, r"strategy\.pseudo\.rest: given 'distil', which needs a teacher, such as"),
        (
            "pseudo+lwf",
            {},
            r"strategy\.pseudo\.rest: given 'negative', which leaves nothing to distil without a memory",
        ),
        ("pseudo+akd", {"old_classes": "distil", "rest": "distil"}, r"strategy\.akd\.old_classes: .* leave it out"),
        ("pseudo", {"statistic": 0.2}, "statistic belongs to the rule recall, but rule is dynamic"),
        ("pseudo", {"rule": "fixed", "labels_per_image": 1.4}, "labels_per_image belongs to the rule dynamic"),
        ("pseudo", {"threshold": 1.5}, r"dynamic starts at a threshold below 1, given 1\.5"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        checked(spec, options)


def test_what_fits_combines_and_only_knowledge_of_the_data_set_makes_a_control() -> None:
    assert checked("pseudo+lwf", {"rest": "distil"}).control == ""
    assert checked("pseudo+csc", {"rest": "distil"}).control == ""
    assert checked("pseudo+er+lwf+or", {}).control == ""
    assert "1.4" in checked("pseudo", {"labels_per_image": 1.4}).control
