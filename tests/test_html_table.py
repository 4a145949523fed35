from __future__ import annotations

from clsim.html_table import html_table
from clsim.scenario import load_scenario


def test_texts_are_escaped_and_headings_head() -> None:
    shown = html_table([("a<b", "1 & 2")], ("name", "value"))
    assert shown.count("<th ") == 3
    assert "a&lt;b" in shown
    assert "1 &amp; 2" in shown
    assert html_table([]) == "<table>\n</table>"


def test_a_scenario_shows_what_its_file_says_and_reads_no_data_for_that() -> None:
    scenario = load_scenario("digits-b0c2", {"training.epochs": 7, "dataset.train": 300})
    shown = scenario._repr_html_()
    assert "digits-b0c2" in shown
    assert "epochs: 7" in shown
    assert "sha256" not in shown
    assert "_plan" not in scenario.__dict__
    plan = scenario.plan()
    assert plan._repr_html_() in scenario._repr_html_()


def test_a_plan_shows_its_tasks() -> None:
    plan = load_scenario("digits-b0c2").plan()
    shown = plan._repr_html_()
    assert shown.count("<tr>") == 1 + len(plan.tasks)
    assert f"sha256: {plan.sha256}" in shown
    assert ">0, 1</td>" in shown
