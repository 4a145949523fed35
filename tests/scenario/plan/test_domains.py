"""Domain-incremental streams: all classes in every task, the images of one domain each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import load_scenario
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.domains import domains_of
from clsim.scenario.plan.planning import build_plan, stream_data
from clsim.scenario.stream_schema import DomainsSection

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GOLDEN = "eb10591b83a3a40b3e0ae46c87469a19a04c4f19c6e4c6839bc7c7b32a1f3cc9"


@quick
@given(
    seed=st.integers(0, 1000),
    order=st.sampled_from(["sorted", ["rain", "sun"], ["sun", "fog", "rain"]]),
    validation=st.sampled_from([0.0, 0.3]),
    visible=st.sampled_from(["task", "full", {"keep": 0.5}, "single-positive"]),
)
def test_who_is_in_a_task_and_what_is_visible(
    configure: Any, seed: int, order: Any, validation: float, visible: Any
) -> None:
    random = np.random.default_rng(seed)
    truth = random.choice(np.array([1, 0, 0, -1], dtype=np.int8), (40, 4))
    truth[:4] = np.eye(4)
    values = np.array(["sun", "rain", "fog"])[random.integers(0, 3, 40)].tolist()
    keys = {"stream.domains": {"column": "weather", "order": order}, "dataset.validation": validation}
    config = configure(increment=None, **keys, **{"labels.visible": visible})
    names = ["fog", "rain", "sun"] if order == "sorted" else order
    try:
        data = stream_data(config, list("abcd"), truth, truth, of_domain=values)
        plan = build_plan(config, data)
    except Unplannable:  # a domain without an image
        return
    shows = (truth == 1).any(axis=1)
    assert len(plan.tasks) == len(names)
    for name, task in zip(names, plan.tasks, strict=True):
        assert task.of_classes.current.tolist() == [0, 1, 2, 3] == task.columns.tolist()
        own = [image for image in range(40) if values[image] == name and shows[image] and image not in data.held_out]
        assert task.samples.tolist() == own, "each image of the domain exactly once"
        shown = task.values != -1
        assert (task.values[shown] == truth[task.samples][shown]).all()
    assert all(values[image] in names for image in data.held_out)


def test_sorted_are_numbers_by_value_and_other_names_as_text() -> None:
    by_number = domains_of(DomainsSection(column="year"), ["10", "9", "10", "-1"])
    assert by_number.names == ("-1", "9", "10")
    assert by_number.of_image.tolist() == [2, 1, 2, 0]
    assert domains_of(DomainsSection(column="year"), ["10", "9a", "8"]).names == ("10", "8", "9a")
    listed = domains_of(DomainsSection.model_validate({"column": "year", "order": [9, "10"]}), ["10", "9", "8"])
    assert listed.of_image.tolist() == [1, 0, -1]


def test_the_shipped_plan_keeps_its_hash_and_says_what_the_domains_are() -> None:
    scenario = load_scenario("digits-domains")
    assert scenario.plan().sha256 == GOLDEN
    content = describe(scenario.plan(), scenario.truth(), scenario.data_notes())
    assert "domains, a task each: 1, 2, 3, 4" in content["notes"]
    assert [len(task["classes"]) for task in content["tasks"]] == [10, 0, 0, 0]
    crowding = (scenario.truth() == 1).sum(axis=1)
    assert [set(crowding[task.samples].tolist()) for task in scenario.plan().tasks] == [{1}, {2}, {3}, {4}]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"stream.domains": "crowdin"}, "stream.domains: digits: no column 'crowdin', did you mean 'crowding'?"),
        ({"stream.domains.order": [1, "one"]}, "stream.domains.order: unknown domain 'one'; column 'crowding' has: 1"),
        ({"stream.domains.order": [1, 1]}, "stream.domains.order: domain '1' is listed more than once"),
        ({"stream.domains.order": [1]}, "stream.domains: column 'crowding': 1 domain alone; allowed: two or more"),
        ({"stream.increment": 2}, "not together with increment; leave one of them out"),
        ({"stream.assignment.disjoint": "first"}, "not together with domains; leave one of them out"),
        ({"dataset": {"name": "voc", "root": "."}}, "given 'crowding', but the data set voc has no columns; allowed: "),
    ],
)
def test_what_makes_no_stream_is_one_line(overrides: dict[str, Any], problem: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-domains", overrides).plan()
    (line,) = caught.value.problems
    assert problem in line


def test_a_table_names_the_domains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    table = tmp_path / "m.csv"
    rows = [
        f"{n}.jpg,{'test' if n > 7 else 'train'},{'a|b' if n % 2 else 'a'},{'sun' if n < 3 else 'fog'}"
        for n in range(10)
    ]
    table.write_text("\n".join(["path,split,tags,weather", *rows]), encoding="utf-8")
    dataset = {"name": "manifest", "file": str(table), "label_list": "tags"}
    plan = load_scenario("digits-domains", {"dataset": dataset, "stream.domains": "weather"}).plan()
    assert [task.samples.tolist() for task in plan.tasks] == [[3, 4, 5, 6, 7], [0, 1, 2]]
