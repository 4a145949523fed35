"""What two plans differ in."""

from __future__ import annotations

from typing import Any

from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.difference import difference

SMALL = {"dataset.train": 60, "dataset.test": 40, "stream.increment": 5}


def small(**keys: Any) -> StreamPlan:
    return load_scenario("digits-b0c2", {**SMALL, **keys}).plan()


def test_a_plan_does_not_differ_from_itself() -> None:
    found = difference(small(), small())
    assert found["equal"]
    assert found["classes"] == {"only_first": [], "only_second": [], "same_order": True}
    assert [task["images_of_both"] for task in found["tasks"]] == [len(task) for task in small().tasks]
    assert not any(
        value for task in found["tasks"] for key, value in task.items() if key not in ("index", "images_of_both")
    )


def test_hidden_and_wrong_labels_are_counted() -> None:
    whole = small()
    kept = small(**{"labels.visible": {"keep": 0.5}})
    hidden = [int((task.values == -1).sum()) for task in kept.tasks]
    assert [(task["shown_first"], task["shown_second"]) for task in difference(whole, kept)["tasks"]] == [
        (count, 0) for count in hidden
    ]
    assert [task["shown_second"] for task in difference(kept, whole)["tasks"]] == hidden
    noisy = small(**{"labels.noise.false_negative": 0.5})
    missed = [int((task.values != other.values).sum()) for task, other in zip(whole.tasks, noisy.tasks, strict=True)]
    assert [task["changed"] for task in difference(whole, noisy)["tasks"]] == missed
    assert sum(missed) > 10


def test_classes_are_compared_by_name() -> None:
    moved = small(**{"stream.order": ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]})
    found = difference(small(), moved)
    assert not found["classes"]["same_order"]
    assert found["tasks"][0]["classes_only_first"] == ["0", "1", "2", "3", "4"]
    assert found["test"]["true_labels_changed"] == 0
    fewer = small(**{"dataset.classes": [str(digit) for digit in range(5)]})
    found = difference(small(), fewer)
    assert found["classes"]["only_first"] == ["5", "6", "7", "8", "9"]
    assert len(found["tasks"]) == 2
    assert found["tasks"][1]["images_only_second"] == 0


def test_images_of_a_task_and_of_the_test_are_counted() -> None:
    found = difference(small(), small(**{"dataset.validation": 0.2, "evaluation.on": "validation"}))
    assert found["tasks"][0]["images_only_second"] == 0 < found["tasks"][0]["images_only_first"]
    assert found["test"]["splits"] == ["test", "train"]
    assert found["test"]["true_labels_changed"] is None
