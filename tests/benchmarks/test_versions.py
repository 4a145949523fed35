"""uv chooses the lowest and the newest versions, each set in an environment of its own; a table has the last trials."""

from __future__ import annotations

from pathlib import Path

from benchmarks.versions import BEGIN, END, PAGE, Trial, commands, counts, with_trial


def test_a_set_is_installed_and_tested_in_its_own_environment(tmp_path: Path) -> None:
    made, uv, install, tests = commands(tmp_path, "lowest-direct", "python3.11", ["tests/data"])
    assert made == ["python3.11", "-m", "venv", str(tmp_path)]
    assert {command[0] for command in (uv, install, tests)} == {str(tmp_path / "bin" / "python")}
    assert install[install.index("--resolution") + 1] == "lowest-direct"
    assert tests[-1] == "tests/data"


def test_what_the_tests_say_is_counted() -> None:
    report = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>'
    assert counts(report) == "5 passed, 3 failed, 1 skipped"
    assert counts('<testsuites><testsuite tests="9" failures="0" errors="0"/></testsuites>') == "9 passed"


def test_a_trial_takes_the_place_of_the_one_before_with_the_same_set_and_python() -> None:
    page = f"before\n{BEGIN}\n{END}\nafter"
    first = Trial("newest", "3.11.7", "2026-11-01", "5 passed, 1 failed", "torch 2.15.0, numpy 2.4.6")
    others = [first._replace(python="3.12.1"), first._replace(set="lowest"), first._replace(python="3.9.1")]
    for trial in (first, *others):
        page = with_trial(page, trial)
    assert with_trial(page, first) == page
    rows = [line for line in page.splitlines() if line.startswith("| newest")]
    assert [row.split(" | ")[1] for row in rows] == ["3.9.1", "3.11.7", "3.12.1"]
    again = with_trial(page, first._replace(python="3.11.9", tests="6 passed"))
    assert "| newest | 3.11.7" not in again
    assert again.count("\n") == page.count("\n")
    assert again.startswith("before\n")
    assert again.endswith("\nafter")


def test_the_page_has_a_place_for_the_trials() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
