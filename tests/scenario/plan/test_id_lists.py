"""Files that say which images are streamed, tested, held out, and in which task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.id_lists import read_ids, read_partition
from clsim.scenario.plan.planning import build_plan, joint_plan, stream_data

KEY = ("stream", "assignment", "given")
SMALL = {"dataset.train": 60, "dataset.test": 40, "stream.base": 0, "stream.increment": 5}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def small(**keys: Any) -> StreamPlan:
    return load_scenario("digits-b0c2", {**SMALL, **keys}).plan()


def shown_by_task(plan: StreamPlan) -> list[list[int]]:
    return [task.samples.tolist() for task in plan.tasks]


# --- reading


def test_ids_are_read_in_their_order_without_comments(write: Write) -> None:
    names = ["a", "b", "c d"]
    assert read_ids(write("\ufeff# some\n\nc d \na\n"), names, KEY).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c\na\nx1\n", r"list\.csv:3: 'x1' is not the id of a training image.*ids look like 'a'"),
        ("a\n#\na\n", r"list\.csv:3: 'a' is there a second time, first in line 1"),
        ("# nothing\n", r"list\.csv: no ids in it"),
    ],
)
def test_what_is_no_list_of_ids_is_refused(write: Write, text: str, expected: str) -> None:
    with pytest.raises(Unplannable, match=expected):
        read_ids(write(text), ["a", "b", "c"], ("dataset", "validation_ids"))


@settings(max_examples=40, deadline=None)
@given(members=st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=5), swapped=st.booleans())
def test_a_partition_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, members: list[set[int]], swapped: bool
) -> None:
    lines = [(f"image {row}, {task}") for task, rows in enumerate(members) for row in sorted(rows, reverse=True)]
    if swapped:
        lines = [", ".join(reversed(line.split(", "))) for line in lines]
    path = tmp_path_factory.mktemp("partition") / "p.csv"
    path.write_text("\n".join(["task,image" if swapped else "image, task", *lines]), encoding="utf-8")
    found = read_partition(path, [f"image {row}" for row in range(12)], len(members), KEY)
    assert [rows.tolist() for rows in found] == [sorted(rows) for rows in members]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected the header image,task"),
        ("a,0\n", r"list\.csv:1: given 'a,0', expected the header"),
        ("image,task\na,2\n", r"list\.csv:2: task '2', allowed: 0 to 1"),
        ("image,task\na,-1\n", r"task '-1', allowed"),
        ("image,task\na," + "9" * 5000, r"list\.csv:2: task '9{80}', allowed: 0 to 1"),
        ("image,task\n" + "a" * 200_000, r"list\.csv:2: not comma-separated values: field larger"),
        ("image,task\na\n", r"list\.csv:2: 1 cells, expected an image and a task"),
        ("image,task\nz,0\n", "'z' is not the id of a training image"),
        ("image,task\na,0\nb,1\na,0\n", r"list\.csv:4: 'a' is in task 0 already, by line 2"),
    ],
)
def test_what_is_no_partition_is_refused(write: Write, text: str, expected: str) -> None:
    with pytest.raises(Unplannable, match=expected):
        read_partition(write(text), ["a", "b"], 2, KEY)


@pytest.mark.parametrize("key", ["dataset.test_ids", "dataset.validation_ids", "stream.assignment"])
def test_a_data_set_without_ids_refuses_lists(write: Write, key: str) -> None:
    path = str(write("image,task\n"))
    scenario = load_scenario("digits-b0c2", {**SMALL, key: {"given": path} if key == "stream.assignment" else path})
    labels = scenario.source.labels("train"), scenario.source.labels("test")
    with pytest.raises(Unplannable, match="this data set has no ids"):
        build_plan(scenario.config, stream_data(scenario.config, scenario.source.class_names, *labels))


# --- who is in a task


def test_the_overlap_stream_given_as_a_partition_is_the_overlap_stream(write: Write) -> None:
    overlap = small()
    lines = [f"{image},{task}" for task, images in enumerate(shown_by_task(overlap)) for image in images]
    path = write("\n".join(["image,task", *lines]))
    assert small(**{"stream.assignment": {"given": str(path)}}).sha256 == overlap.sha256


def test_a_row_of_a_given_task_shows_the_labels_of_its_classes_alone(write: Write) -> None:
    everyone = range(60)
    path = write("image,task\n" + "".join(f"{image},{image % 2}\n" for image in everyone))
    plan = small(**{"stream.assignment": {"given": str(path)}})
    assert shown_by_task(plan) == [list(everyone[::2]), list(everyone[1::2])]
    for task in plan.tasks:
        assert task.columns.tolist() == list(range(*task.classes))
    assert set(joint_plan(plan, load_scenario("digits-b0c2", SMALL).truth()).row_samples.tolist()) <= set(everyone)


def test_a_partition_that_leaves_a_task_empty_or_without_its_classes_is_refused(write: Write) -> None:
    overlap = small()
    first = next(image for image in shown_by_task(overlap)[0] if image not in shown_by_task(overlap)[1])
    for lines, expected in {
        f"{first},0": r"task 1 .* is empty",
        f"{first},0\n{first},1": "no image of task 1 shows one of its classes",
    }.items():
        with pytest.raises(ScenarioError, match=expected):
            small(**{"stream.assignment": {"given": str(write(f"image,task\n{lines}\n"))}})


def test_an_image_that_is_held_out_is_in_no_given_task(write: Write) -> None:
    held_out = small(**{"dataset.validation": 0.2, "evaluation.on": "validation"}).test_samples
    path = write("image,task\n" + "".join(f"{image},{image % 2}\n" for image in range(60)))
    with pytest.raises(ScenarioError, match=r"held out for validation or thinned away, such as") as raised:
        small(**{"dataset.validation": 0.2, "stream.assignment": {"given": str(path)}})
    assert f"'{held_out[held_out % 2 == 0][0]}'" in str(raised.value)


# --- what is tested


def test_only_listed_images_are_tested(write: Write) -> None:
    plan, whole = small(**{"dataset.test_ids": str(write("7\n3\n11\n"))}), small()
    assert plan.test_samples.tolist() == [3, 7, 11]
    np.testing.assert_array_equal(plan.test_truth, whole.test_truth[np.searchsorted(whole.test_samples, [3, 7, 11])])
    assert plan.row_samples.tolist() == whole.row_samples.tolist()


def test_a_list_that_leaves_nothing_to_test_is_refused(write: Write) -> None:
    whole = small(**{"dataset.classes": ["0"], "stream.increment": 1})
    absent = next(image for image in range(40) if image not in whole.test_samples)
    keys = {"dataset.classes": ["0"], "stream.increment": 1, "dataset.test_ids": str(write(f"{absent}\n"))}
    with pytest.raises(ScenarioError, match="lists no image of which a label is known"):
        small(**keys)
    with pytest.raises(ScenarioError, match="'40' is not the id of a test image"):
        small(**keys | {"dataset.test_ids": str(write("40\n"))})


def test_listed_validation_images_are_scored_and_never_trained_on(write: Write) -> None:
    plan = small(**{"dataset.validation_ids": str(write("5\n2\n9\n")), "evaluation.on": "validation"})
    assert (plan.test_split, plan.test_samples.tolist()) == ("train", [2, 5, 9])
    assert not {2, 5, 9} & set(plan.row_samples.tolist())
    with pytest.raises(ScenarioError, match="not together with validation, a share"):
        small(**{"dataset.validation_ids": str(write("5\n")), "dataset.validation": 0.1})


@pytest.mark.parametrize("lists", ["cumulative", "per-task"])
def test_given_images_count_after_their_task(write: Write, lists: str) -> None:
    path = write("image,task\n" + "".join(f"{image},{int(image >= 10)}\n" for image in range(30)))
    plan = small(**{"evaluation.images": {"given": str(path), "lists": lists}})
    first, last = (plan.test_samples[plan.in_scope(task)].tolist() for task in range(2))
    assert first == list(range(10))
    assert last == list(range(30) if lists == "cumulative" else range(10, 30))
    again = StreamPlan.from_bytes(plan.to_bytes())
    assert again.sha256 == plan.sha256 != small().sha256
    np.testing.assert_array_equal(again.in_scope(1), plan.in_scope(1))


def test_a_task_after_which_no_image_counts_is_refused(write: Write) -> None:
    with pytest.raises(ScenarioError, match="no image that is scored counts after task 1"):
        small(**{"evaluation.images": {"given": str(write("image,task\n1,0\n")), "lists": "per-task"}})
