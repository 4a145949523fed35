"""The streams of the ladder: two memories on photographs that differ in nothing else, tables with their seeds."""

from __future__ import annotations

import pytest

from benchmarks.studies import zoo
from benchmarks.studies.study import VOC_THERE
from clsim.scenario import load_scenario


@pytest.mark.skipif(not VOC_THERE, reason="voc-mini is not beside the project")
def test_photographs_meet_equal_rows_and_equal_bytes() -> None:
    rows, in_bytes = zoo.PHOTOS
    assert rows.names() == in_bytes.names()
    configs = [load_scenario(one.scenario, one.overrides).config for one in (rows, in_bytes)]
    budgets = [config.memory.model_dump(mode="json")["budget"] for config in configs]
    assert budgets == [{"per_class": 4}, {"bytes": zoo.BYTES}]
    others = [config.model_dump(mode="json", exclude={"memory"}) for config in configs]
    assert others[0] == others[1]


def test_every_stream_has_a_table_that_says_what_is_missing() -> None:
    seeds = {table.compared.name: table.seeds for table in zoo.STUDY.tables}
    assert set(seeds) == {one.name for members in zoo.STUDY.parts.values() for one in members}
    assert seeds["digits-b0c2"] == 5
    assert {seeds[one.name] for one in zoo.OTHERS} == {3}
    assert all(seeds.values())


def test_only_what_needs_features_as_data_is_refused_where_the_backbone_trains() -> None:
    refused = [name.removesuffix(", tuned") for name in zoo.DIGITS[0].refused()]
    assert list(dict.fromkeys(refused)) == ["lwf+feature-replay", "multi-lane"]
