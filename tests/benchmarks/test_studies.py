"""What studies compare, on which images, and where their tables go."""

from __future__ import annotations

import pytest

from benchmarks.studies import more, rebll, zoo
from benchmarks.studies.study import Compared, Study

STUDIES = {"rebll": rebll.STUDY, "more": more.STUDY, "zoo": zoo.STUDY}
REPORTED = {"rebll": ("ladder", "finetuned"), "more": ("report",), "zoo": ("photos", "digits", "others", "finetuned")}


@pytest.mark.parametrize("name", STUDIES)
def test_defaults_are_chosen_on_other_streams_than_those_reported_and_on_validation_images(name: str) -> None:
    parts = STUDIES[name].parts
    choosing = [one for part in parts if part not in REPORTED[name] for one in parts[part]]
    reported = [one for part in REPORTED[name] for one in parts[part]]
    assert choosing
    assert reported
    assert not {one.name for one in choosing} & {one.name for one in reported}
    assert all(one.overrides["evaluation.on"] == "validation" for one in choosing)
    assert all("evaluation.on" not in one.overrides for one in reported)


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_every_table_has_its_place_in_the_page_and_its_rows_in_the_comparison(study: Study) -> None:
    page = study.page.read_text(encoding="utf-8")
    for table in study.tables:
        assert f"<!-- table: {table.mark} -->\n" in page
        names = table.compared.names()
        if table.rows is not None:
            assert set(table.rows) - {"er+identity"} <= set(names)  # the control is not on every stream
        bases = {table.baseline} if isinstance(table.baseline, str) else set(table.baseline.values())
        assert bases <= set(names)
        assert set(table.paired) <= set(table.columns)
        assert any(table.compared in members for members in study.parts.values())


def test_names_are_unique() -> None:
    for compared in (one for study in STUDIES.values() for members in study.parts.values() for one in members):
        assert isinstance(compared, Compared)
        assert len({name.casefold() for name in compared.names()}) == len(compared.names())
