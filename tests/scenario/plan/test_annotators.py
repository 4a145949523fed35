"""Annotator models: what each shows and hides, that who is in a task stays, and that the truth stays the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.planning import build_plan, joint_plan, stream_data

Labels = NDArray[np.int8]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["a", "b", "c", "d", "e", "f"]
ORDER = {"stream.order": ["c", "a", "f", "b", "e", "d"]}
COLUMNS = [2, 0, 5, 1, 4, 3]
GOLDEN = {
    "labels.visible={per_class: {'1': 0.1, '2': 0.5}}": "6ce34c3c12647b5c",
    "labels.visible={smallest_box: 0.2}": "6ddfc51168855c4e",
    "labels.visible={smallest_box: 0.2, unseen: unknown}": "48e46ec2cc0ca268",
}


def random_labels(seed: int) -> Labels:
    drawn = np.random.default_rng(seed).choice(np.array([1, 0, 0, -1], dtype=np.int8), (40, 6))
    return np.concatenate([np.eye(6, dtype=np.int8), drawn])


def plans(
    configure: Any, truth: Labels, visible: Any, areas: Any = None, soft: Any = None, **keys: Any
) -> tuple[StreamPlan, StreamPlan]:
    """Return the plan of an annotator, and that of one who shows all labels of a task."""
    made = []
    for rule in (visible, "task"):
        config = configure(**ORDER, **{"labels.visible": rule}, **keys)
        images = [str(row) for row in range(len(truth))]
        data = stream_data(config, NAMES, truth, truth, lambda split: images, soft, box_areas=areas)  # noqa: B023
        made.append(build_plan(config, data))
    annotated, honest = made
    for task, other in zip(annotated.tasks, honest.tasks, strict=True):
        np.testing.assert_array_equal(task.samples, other.samples)
        np.testing.assert_array_equal(task.columns, other.columns)
    np.testing.assert_array_equal(annotated.test_truth, honest.test_truth)
    np.testing.assert_array_equal(annotated.groups.positives, honest.groups.positives)
    last = joint_plan(annotated, truth[:, COLUMNS]).tasks[-1]
    np.testing.assert_array_equal(last.values, truth[:, COLUMNS][last.samples])
    assert StreamPlan.from_bytes(annotated.to_bytes()).sha256 == annotated.sha256
    return annotated, honest


@quick
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.4, 1.0]), stream_seed=st.integers(0, 3))
def test_a_share_for_each_class(configure: Any, seed: int, share: float, stream_seed: int) -> None:
    truth = random_labels(seed)
    rule = {"per_class": {"a": share, "e": 0.0}, "others": 1.0}
    plan, honest = plans(configure, truth, rule, **{"stream.seed": stream_seed})
    again, _ = plans(configure, truth, {"keep": 0.4}, **{"stream.seed": stream_seed})
    for task, other, kept in zip(plan.tasks, honest.tasks, again.tasks, strict=True):
        assert ((task.values == other.values) | (task.values == -1)).all(), "nothing else becomes visible"
        for place, column in enumerate(task.columns):
            name, mine = plan.class_names[column], task.values[:, place]
            if name == "e" or (name == "a" and share == 0):
                assert (mine == -1).all()
            elif name == "a" and share == 0.4:
                np.testing.assert_array_equal(mine, kept.values[:, place])
            else:
                np.testing.assert_array_equal(mine, other.values[:, place])


def test_shares_are_kept_in_the_long_run(configure: Any) -> None:
    truth = np.repeat(random_labels(0), 200, axis=0)
    plan, honest = plans(configure, truth, {"per_class": {"a": 0.2}, "others": 0.7})
    for task, other in zip(plan.tasks, honest.tasks, strict=True):
        for place, column in enumerate(task.columns):
            for value in (0, 1):
                of_value = other.values[:, place] == value
                share = (task.values[of_value, place] == value).mean()
                assert share == pytest.approx(0.2 if plan.class_names[column] == "a" else 0.7, abs=0.05)


@quick
@given(seed=st.integers(0, 1000), limit=st.sampled_from([0.1, 0.5]), unseen=st.sampled_from(["absent", "unknown"]))
def test_small_boxes_are_overlooked(configure: Any, seed: int, limit: float, unseen: str) -> None:
    truth, random = random_labels(seed), np.random.default_rng(seed)
    areas = random.choice(np.array([0.05, 0.3, 0.9, np.nan], dtype=np.float32), truth.shape)
    soft = np.where(random.random(truth.shape) < 0.2, np.float32(0.6), np.float32(0))
    plan, honest = plans(configure, truth, {"smallest_box": limit, "unseen": unseen}, areas)
    for task, other in zip(plan.tasks, honest.tasks, strict=True):
        small = areas[:, COLUMNS][np.ix_(task.samples, task.columns)] < limit
        expected = np.where((other.values == 1) & small, 0 if unseen == "absent" else -1, other.values)
        np.testing.assert_array_equal(task.values, expected)
    plan, _ = plans(configure, truth, {"smallest_box": limit, "unseen": unseen}, areas, soft)
    for task in plan.tasks:
        if task.soft is not None:
            block = np.ix_(task.samples, task.columns)
            np.testing.assert_array_equal(
                task.soft > 0, (soft[:, COLUMNS][block] > 0) & ~(areas[:, COLUMNS][block] < limit)
            )


@quick
@given(seed=st.integers(0, 1000), absent=st.sampled_from([0.0, 0.3, 0.7]))
def test_a_machine_says_what_its_confidences_say(
    configure: Any, tmp_path_factory: pytest.TempPathFactory, seed: int, absent: float
) -> None:
    truth, random = random_labels(seed), np.random.default_rng(seed)
    given_ = np.where(random.random(truth.shape) < 0.6, random.integers(0, 11, truth.shape) / 10, np.nan)
    rows = [f"{row},{NAMES[c]},{given_[row, c]}" for row, c in np.argwhere(~np.isnan(given_)).tolist()]
    file = tmp_path_factory.mktemp("machine") / "c.csv"
    file.write_text("\n".join(["image,class,confidence", *random.permutation(rows)]))
    soft = np.full(truth.shape, 0.5, dtype=np.float32)
    rule = {"confidences": str(file), "present": 0.7, "absent": absent}
    plan, _ = plans(configure, truth, rule, soft=soft)
    for task in plan.tasks:
        said = given_[:, COLUMNS][np.ix_(task.samples, task.columns)]
        np.testing.assert_array_equal(task.values, np.select([said >= 0.7, said < absent], [1, 0], -1))
        assert task.soft is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,class\n", "c.csv:1: given 'image,class', expected the header image,class,confidence"),
        ("image,class,confidence\n0,a\n", "c.csv:2: 2 cells, expected an image, a class and a confidence"),
        ("image,class,confidence\nx,a,1\n", "c.csv:2: 'x' is not the id of a training image"),
        ("image,class,confidence\n0,aa,1\n", "c.csv:2: unknown class 'aa'"),
        ("image,class,confidence\n0,a,1.2\n", "c.csv:2: confidence '1.2', allowed: 0 to 1"),
        ("image,class,confidence\n0,a,nan\n", "c.csv:2: confidence 'nan', allowed: 0 to 1"),
        ("class,confidence,image\na,1,0\na,0,0\n", "c.csv:3: '0' and 'a' are there a second time"),
    ],
)
def test_a_wrong_file_is_one_line(configure: Any, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(Unplannable) as caught:
        plans(configure, random_labels(0), {"confidences": str(tmp_path / "c.csv"), "present": 0.5, "absent": 0.5})
    assert caught.value.path == ("labels", "visible", "confidences")
    assert problem in caught.value.text


def test_classes_that_are_not_streamed_may_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("image,class,confidence\n0,9,1\n0,1,1\n")
    rule = {"confidences": str(tmp_path / "c.csv"), "present": 0.5, "absent": 0.5}
    plan = load_scenario("digits-b0c2", {"dataset.classes": ["0", "1"], "labels.visible": rule}).plan()
    assert int((plan.tasks[0].values != -1).sum()) <= 1


@pytest.mark.parametrize(
    ("visible", "problem"),
    [
        ({"per_class": {"11": 0.5}}, "labels.visible.per_class: unknown class '11', did you mean '1'?"),
        ({"per_class": {"1": 1.5}}, "labels.visible.per_class"),
        ({"smallest_box": 0.0}, "labels.visible.smallest_box"),
        ({"confidences": "c.csv", "present": 0.3, "absent": 0.5}, "absent: given 0.5, allowed: at most present, 0.3"),
    ],
)
def test_an_impossible_annotator_is_one_line(visible: Any, problem: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-b0c2", {"labels.visible": visible}).plan()
    (line,) = caught.value.problems
    assert problem in line


def test_data_without_boxes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "m.csv").write_text("path,split,tags\na.jpg,train,a\nb.jpg,train,b\nt.jpg,test,a|b\n")
    dataset = {"name": "manifest", "file": str(tmp_path / "m.csv"), "label_list": "tags"}
    with pytest.raises(ScenarioError, match=r"smallest_box: needs boxes, but the data set manifest has none; allowed:"):
        load_scenario("digits-b0c2", {"dataset": dataset, "labels.visible": {"smallest_box": 0.1}}).plan()


@pytest.mark.parametrize("setting", GOLDEN)
def test_the_rules_keep_their_hashes(setting: str) -> None:
    assert load_scenario("digits-b0c2", [setting]).plan().sha256[:16] == GOLDEN[setting]
