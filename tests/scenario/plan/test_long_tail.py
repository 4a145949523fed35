"""Thinning to a long tail: the profiles, the greedy that follows them, lists of ids, and plans that keep their hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_manifest
from clsim.data.voc import VOC_CLASSES
from clsim.errors import ScenarioError
from clsim.randomness import permutation
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.long_tail import targets, thin
from clsim.scenario.plan.planning import joint_plan
from clsim.scenario.schema import Imbalance, Pareto, ParetoShape

HASHES = {
    "digits-lt": "8dfbaee117dc876f9f837321242d09bf831f4f5673fe04bc78e9a48abeca0a07",
    "digits-lt-joint": "506f3cf86e902ba070656a627ba50779345a5ba3a21a8015bdb867322b70a42c",
}
ORDERED = "0e501de24d05bbc168d15e1653dcf7b73fccd20bb30b344eedeca257bcf57d9e"
PARETO = "3c4d8fb0052cce808b6983eeb4862a411ced303c82e78f5079e66e83f51ade7f"
MLT = Path(__file__).parents[4] / "shared" / "data" / "voc-mlt"
PUBLISHED = [775, 479, 249, 240, 154, 100, 82, 64, 48, 34, 29, 20, 17, 14, 11, 8, 7, 6, 5, 4]  # VOC-MLT, falling
SMALL = {"dataset.train": 600, "dataset.test": 40}


# --- profiles


def test_the_exponential_profile_of_balanced_classes_is_that_of_cifar100_lt() -> None:
    wanted = targets(Imbalance(imbalance=100), np.full(100, 500))
    assert wanted.tolist() == [round(500 * 100 ** (-rank / 99)) for rank in range(100)]
    assert (wanted[0], wanted[-1]) == (500, 5)


def test_no_class_is_asked_for_more_than_it_has() -> None:
    available = np.array([30, 400, 90, 100])
    wanted = targets(Imbalance(imbalance=10), available)
    assert (wanted <= available).all()
    assert wanted.tolist() == [22, 215, 46, 100]  # n_0 = 100 * 10^(1/3): the second class limits
    assert targets(Imbalance(imbalance=1), available).tolist() == [30] * 4


def test_the_pareto_profile_of_voc_mlt_ends_where_the_benchmark_does() -> None:
    shape = ParetoShape(alpha=6.0, largest=800)
    wanted = targets(Pareto(pareto=shape), np.full(20, 1000))
    assert (wanted[0], wanted[-1]) == (800, 4)
    quantile = [1 + (100 ** (1 / 6) - 1) * rank / 19 for rank in range(20)]
    assert wanted.tolist() == [int(1 + 799 * x**-7) for x in quantile]


def test_classes_are_ranked_by_frequency_and_a_single_one_is_left_alone() -> None:
    assert targets(Imbalance(imbalance=4), np.array([10, 40, 20])).tolist() == [10, 40, 20]
    assert targets(Imbalance(imbalance=50), np.array([7])).tolist() == [7]
    assert targets(Pareto(pareto=ParetoShape()), np.array([7])).tolist() == [7]


# --- the greedy


def one_label(counts: list[int]) -> NDArray[np.int8]:
    return np.repeat(np.eye(len(counts), dtype=np.int8), counts, axis=0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 3), st.floats(1, 60))
def test_images_of_one_class_give_the_targets_exactly(counts: list[int], seed: int, imbalance: float) -> None:
    truth = one_label(counts)
    wanted = targets(Imbalance(imbalance=imbalance), truth.sum(axis=0))
    kept = thin(truth, np.arange(len(truth)), wanted, seed)
    assert truth[kept].sum(axis=0).tolist() == wanted.tolist()
    assert (np.diff(kept) > 0).all()


def reference(truth: NDArray[np.int8], pool: NDArray[np.int64], wanted: NDArray[np.int64], place: Any) -> set[int]:
    """The stated rule, image by image, without any bookkeeping."""
    rank = {c: (wanted[c], c) for c in range(len(wanted))}
    taken: set[int] = set()
    owners = {i: min(np.flatnonzero(truth[i] == 1), key=rank.__getitem__) for i in pool.tolist()}
    for image in sorted(owners, key=lambda i: (rank[owners[i]], place[i])):
        have = (truth[sorted(taken)] == 1).sum(axis=0) if taken else np.zeros(len(wanted))
        shown = np.flatnonzero(truth[image] == 1)
        gain = sum(1 / wanted[c] for c in shown if have[c] < wanted[c])
        loss = sum(1 / wanted[c] for c in shown if have[c] >= wanted[c])
        short = have[owners[image]] < wanted[owners[image]]
        if short and (gain - loss >= -1e-12 or have[owners[image]] == 0):
            taken.add(image)
    for c in range(len(wanted)):
        showing = [i for i in pool.tolist() if truth[i, c] == 1]
        if showing and not taken & set(showing):
            taken.add(min(showing, key=lambda i: place[i]))
    return taken


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([1.0, 3.0, 50.0]))
def test_it_follows_the_stated_rule(seed: int, classes: int, imbalance: float) -> None:
    random = np.random.default_rng(seed)
    truth = random.choice([1, 0, 0, -1], size=(40, classes)).astype(np.int8)
    truth[:classes] = np.eye(classes)
    pool = np.flatnonzero((truth == 1).any(axis=1) & (np.arange(40) % 5 > 0) | (np.arange(40) < classes))
    wanted = targets(Imbalance(imbalance=imbalance), (truth[pool] == 1).sum(axis=0))
    kept = thin(truth, pool, wanted, seed)
    assert set(kept.tolist()) == reference(truth, pool, wanted, permutation(40, seed, "long tail"))
    assert ((truth[kept] == 1).sum(axis=0) > 0).all()


def test_images_of_several_classes_reach_the_tail_exactly_and_the_head_as_far_as_it_goes() -> None:
    plan = load_scenario("digits-lt", {"stream.order": "frequency"}).plan()
    natural = load_scenario("digits-lt", {"stream.order": "frequency", "labels.long_tail": "none"}).plan()
    wanted = targets(Imbalance(imbalance=100), natural.groups.positives)
    assert plan.groups.positives[4:].tolist() == wanted[4:].tolist()
    assert (plan.groups.positives[:4] < wanted[:4]).all()
    assert (np.diff(plan.groups.positives) <= 0).all()


# --- in a scenario


@pytest.mark.parametrize("name", HASHES)
def test_the_shipped_plans_keep_their_hash(name: str) -> None:
    assert load_scenario(name).plan().sha256 == HASHES[name]


def test_so_do_the_ordered_setting_and_the_pareto_profile() -> None:
    ordered = {"stream.order": "frequency"}
    pareto = {**ordered, "labels.long_tail": {"pareto": {"alpha": 6}}}
    assert load_scenario("digits-lt", ordered).plan().sha256 == ORDERED
    assert load_scenario("digits-lt", pareto).plan().sha256 == PARETO


@pytest.mark.parametrize("order", ["frequency", "seed", "alphabetical"])
def test_groups_are_those_of_the_thinned_stream_in_every_setting(order: str) -> None:
    scenario = load_scenario("digits-lt", {"stream.order": order})
    plan = scenario.plan()
    samples = np.unique(plan.row_samples)
    positives = (scenario.truth()[samples] == 1).sum(axis=0)
    assert plan.groups.positives.tolist() == positives.tolist()
    assert [len(plan.groups.columns(group)) for group in ("head", "medium", "tail")] == [10, 7, 3]
    content = describe(plan, scenario.truth())
    assert content["train_images"] == len(samples) == 1745
    assert content["groups"]["imbalance"] == round(positives.max() / positives.min(), 2) == 54.6
    if order == "frequency":
        assert (np.diff(plan.groups.group) >= 0).all(), "from head to tail"


def test_joint_and_test_images_belong_to_the_thinned_stream_and_the_natural_test_set() -> None:
    scenario = load_scenario("digits-lt", SMALL)
    plan, natural = scenario.plan(), load_scenario("digits-lt", {**SMALL, "labels.long_tail": "none"}).plan()
    joint = joint_plan(plan, scenario.truth())
    assert set(joint.row_samples.tolist()) == set(plan.row_samples.tolist()) < set(natural.row_samples.tolist())
    column = [plan.class_names.index(name) for name in natural.class_names]
    np.testing.assert_array_equal(plan.test_truth[:, column], natural.test_truth)


def test_the_validation_share_is_held_out_before() -> None:
    keys = {**SMALL, "dataset.validation": 0.2, "evaluation.on": "validation"}
    plan, natural = (
        load_scenario("digits-lt", {**keys, "labels.long_tail": rule}).plan() for rule in ({"imbalance": 100}, "none")
    )
    assert plan.test_samples.tolist() == natural.test_samples.tolist()
    assert not set(plan.row_samples.tolist()) & set(plan.test_samples.tolist())


def test_a_class_without_a_training_image_has_no_tail() -> None:
    config = load_scenario("digits-b0c2", {**SMALL, "labels.long_tail": {"imbalance": 5}}).config

    class Without(Digits):
        def labels(self, split: Any) -> NDArray[np.int8]:
            changed = super().labels(split).copy()
            changed[:, 4] = 0
            return changed

    with pytest.raises(ScenarioError, match=r"labels\.long_tail: no training image shows 4"):
        Scenario(config, Without(DigitsConfig(name="digits", train=600, test=40))).plan()


# --- ids


def test_a_list_of_ids_that_is_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").symlink_to("/dev/zero")
    with pytest.raises(ScenarioError, match=r"ids\.txt: cannot be read: not a regular file"):
        load_scenario("digits-b0c2", {"labels.long_tail": {"ids": str(tmp_path / "ids.txt")}}).plan()


def test_a_power_that_no_float_holds_is_refused() -> None:
    with pytest.raises(ScenarioError, match="alpha"):
        load_scenario("digits-b0c2", {"labels.long_tail": {"pareto": {"alpha": 1e-4}}})
    load_scenario("digits-b0c2", {"labels.long_tail": {"pareto": {"alpha": 0.01}}}).plan()


def test_ids_are_followed_relative_to_the_scenario(tmp_path: Path, digits_text: str) -> None:
    (tmp_path / "kept.txt").write_text("# the first hundred\n" + "".join(f"{n}\n\n" for n in reversed(range(100))))
    text = digits_text.replace("long_tail: none", "long_tail: {ids: kept.txt}")
    (tmp_path / "s.yaml").write_text(text)
    plan = load_scenario(tmp_path / "s.yaml").plan()
    assert plan.sha256 == load_scenario("digits-b0c2", {"dataset.train": 100}).plan().sha256


@pytest.mark.parametrize("name", ["voc-mlt", "coco-mlt"])
def test_they_are_the_data_sets_own(name: str, shipped_in_small: Callable[[str], dict[str, Any]]) -> None:
    listed = shipped_in_small(name)
    whole = {**listed, "dataset.ids": None, "labels.long_tail": {"ids": listed["dataset.ids"]}}
    by_source, by_rule = (load_scenario(name, keys).plan() for keys in (listed, whole))
    assert by_rule.groups.positives.tolist() == by_source.groups.positives.tolist()
    for one, other in zip(by_source.tasks, by_rule.tasks, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_in_a_manifest_an_id_is_the_path_that_stands_there(tmp_path: Path) -> None:
    write_manifest(Digits(DigitsConfig(name="digits", train=30, test=10)), tmp_path / "own", 32)
    table = (tmp_path / "own" / "manifest.csv").read_text().splitlines()
    paths = [line.split(",")[0] for line in table[1:] if ",train," in line]
    (tmp_path / "ids.txt").write_text("\n".join(paths[:20]))
    keys = {
        "dataset": {"name": "manifest", "file": str(tmp_path / "own" / "manifest.csv"), "label_columns": "rest"},
        "labels.long_tail": {"ids": str(tmp_path / "ids.txt")},
    }
    assert set(load_scenario("digits-b0c2", keys).plan().row_samples.tolist()) == set(range(20))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("7\n600\n", r"ids\.txt:2: '600' is not the id of a training image.*ids look like '0'"),
        ("7\n8\n7\n", r"ids\.txt:3: '7' is there a second time, first in line 1"),
        ("# none\n", r"ids\.txt: no ids in it"),
        (None, r"ids\.txt: cannot be read: No such file"),
    ],
)
def test_a_wrong_list_is_told_with_its_line(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "ids.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ScenarioError, match=rf"override labels\.long_tail.*: labels\.long_tail\.ids: .*{problem}"):
        load_scenario("digits-b0c2", {**SMALL, "labels.long_tail": {"ids": str(file)}}).plan()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{imbalnce: 5}", "allowed: none | {imbalance: 50} | {pareto: {alpha: 6}} | {ids: file}"),
        ("{imbalance: 0.5}", "should be greater than or equal to 1"),
        ("{pareto: {alpha: 0}}", "should be greater than or equal to 0.01"),
        ("some", "allowed: none | {imbalance: 50} | {pareto: {alpha: 6}} | {ids: file}"),
    ],
)
def test_what_cannot_be_meant_is_refused(problems: Any, digits_text: str, value: str, problem: str) -> None:
    (told,) = problems(digits_text, [f"labels.long_tail={value}"])
    assert problem in told


# --- the published benchmark


@pytest.mark.skipif(not MLT.is_dir(), reason="no ../shared/data/voc-mlt")
def test_the_pareto_profile_on_the_real_voc2012_labels_is_close_to_voc_mlt() -> None:
    """The authors draw other images in another order; the profile is theirs, so the sorted counts must be alike."""
    lines = (MLT / "voc2012_trainval_labels.csv").read_text().split()
    truth = np.array([[int(cell) for cell in line.split(",")[1:]] for line in lines[1:]])
    assert tuple(lines[0].split(",")[1:]) == VOC_CLASSES
    present = (truth >= 0).astype(np.int8)  # difficult counts as present, as in VOC-MLT
    pool = np.flatnonzero(present.any(axis=1))
    wanted = targets(Pareto(pareto=ParetoShape(alpha=6.0, largest=800)), present[pool].sum(axis=0))
    counts = np.sort(present[thin(present, pool, wanted, 0)].sum(axis=0))[::-1]
    assert np.abs(counts[12:] - PUBLISHED[12:]).max() <= 1, "the tail is the profile itself"
    assert np.abs(np.log(counts / np.array(PUBLISHED))).max() < 0.4, counts.tolist()
    assert [(counts >= 100).sum(), ((counts < 100) & (counts >= 20)).sum(), (counts < 20).sum()] == [6, 6, 8]
