"""The table of CI minutes is made of a JUnit report and of wall times."""

from __future__ import annotations

import pytest

from benchmarks.ci_times import BEGIN, END, PAGE, rows, seconds_by_folder, with_table

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.data.test_voc" name="a" time="3.0"/>
<testcase classname="tests.test_cli" name="b" time="1.5"/>
<testcase classname="tests.report.sections.test_more" name="c" time="0.5"/>
<testcase classname="tests.data.test_coco" name="d" time="1.0"/>
</testsuite></testsuites>"""


def test_seconds_are_summed_by_folder_slowest_first() -> None:
    assert list(seconds_by_folder(JUNIT).items()) == [("tests/data", 4.0), ("tests", 1.5), ("tests/report", 0.5)]


def test_the_minutes_of_the_parts_add_up_to_the_whole() -> None:
    found = dict(rows(60.0, 120.0, 360.0, seconds_by_folder(JUNIT)))
    assert found == {
        "installation": "1.0",
        "lint and types": "2.0",
        "tests/data": "4.0",
        "tests": "1.5",
        "tests/report": "0.5",
        "all": "9.0",
    }
    assert sum(float(minutes) for part, minutes in found.items() if part != "all") == pytest.approx(9)


def test_the_table_takes_the_place_of_the_one_before() -> None:
    page = PAGE.read_text(encoding="utf-8")
    once = with_table(page, "first")
    assert with_table(once, "second") == with_table(page, "second")
    assert once.count(BEGIN) == once.count(END) == 1
    assert "first" in once
