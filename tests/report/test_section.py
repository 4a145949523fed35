"""Sections of the report from files, strategies and installed packages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clsim
from clsim.cli import app
from clsim.errors import ClsimError
from clsim.report.section import Figures, Section, Table
from clsim.report.writing import write_report
from clsim.training.composition import Composition

MakeRun = Callable[..., Path]
ROOT = Path(__file__).parents[2]
OWN = """\
from clsim.report.section import Figures, Section, Table

def section(results):
    rows = [("Strategy", "Runs"), *((name, str(len(results.of(name)))) for name in results.strategies), ("<all>", "9")]
    parts = ["Text & more.", Table("Runs <each>", rows, "How many.")]
    return Section("own-part", "My section", parts, alarms=["Look <here>."], alarm="One thing is odd")

def nothing(results):
    return None

def broken(results):
    return results.nothing_of_this_name

def wrong(results):
    return "text"
"""


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own_section.py"
    path.write_text(OWN)
    return path


def test_a_section_from_a_file_is_on_the_page_and_in_the_tables(runs: Path, own: Path) -> None:
    page = write_report(runs, sections=[f"{own}:section"]).read_text(encoding="utf-8")
    for mark in (
        '<a href="#own-part">My section</a>',
        '<h2 id="own-part">My section</h2>',
        'id="table-own-part"',
        "Text &amp; more.",
        "&lt;all&gt;",
        'id="own-part-alarm"',
        "Look &lt;here&gt;.",
        'One thing is odd, see <a href="#own-part-alarm">',
    ):
        assert mark in page, mark
    assert "## Runs &lt;each&gt;\n" in (runs / "results.md").read_text(encoding="utf-8")
    assert "Runs \\textless{}each\\textgreater{}" in (runs / "results.tex").read_text(encoding="utf-8")
    assert "My section" not in write_report(runs, sections=[f"{own}:nothing"]).read_text(encoding="utf-8")


def test_the_command_line_takes_sections(runs: Path, own: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(runs), "--section", f"{own}:section"])
    assert done.exit_code == 0, done.output
    assert "My section" in (runs / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("broken", "AttributeError: 'Results' object has no attribute 'nothing_of_this_name'"),
        ("wrong", "TypeError: returned str, expected clsim.report.section.Section or None"),
    ],
)
def test_one_that_fails_is_left_out_and_told(
    runs: Path, own: Path, name: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = write_report(runs, sections=[f"{own}:{name}", f"{own}:section"]).read_text(encoding="utf-8")
    text = f"section {own}:{name} is left out: {problem}"
    assert text in caplog.text
    assert text.replace("'", "&#39;") in page
    assert "My section" in page


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("{own}:sectoin", "defines no 'sectoin', did you mean 'section'?"),
        ("{own}x.py:section", "no file '{own}x.py' is there"),
        ("nothing", "unknown report-section 'nothing'"),
    ],
)
def test_one_that_is_not_there_is_refused(runs: Path, own: Path, reference: str, problem: str) -> None:
    with pytest.raises(ClsimError, match=re.escape(problem.format(own=own))):
        write_report(runs, sections=[reference.format(own=own)])


def test_what_cannot_be_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of as many cells"):
        Table("t", [("a", "b"), ("c",)])
    with pytest.raises(ValueError, match="every cell must be text"):
        Table("t", [("a",), (1,)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="expected a name of letters"):
        Section("a b", "title")
    with pytest.raises(ValueError, match="int is no text, Table or Figures"):
        Section("a", "title", [1])  # type: ignore[list-item]
    assert Section("a", "title", [Figures("f", [])]).tables == []


def test_a_strategy_brings_its_section(tmp_path: Path, tiny_overrides: dict[str, object], own: Path) -> None:
    (own.parent / "method.py").write_text(
        "import clsim\n\n\nclass Method(clsim.Strategy):\n    report_section = 'own_section.py:section'\n"
    )
    spec = f"{own.parent}/method.py:Method"
    assert Composition(spec).report_sections == [f"{own}:section"]
    short = {**tiny_overrides, "stream.increment": 5, "training.epochs": 1}
    comparison = clsim.compare("digits-b0c2", [spec, "finetune"], overrides=short, out=tmp_path)
    assert "My section" in comparison.report().read_text(encoding="utf-8")


def test_reading_runs_executes_no_file_that_they_name(runs: Path, make_run: MakeRun, own: Path) -> None:
    make_run(runs, "own", options={f"{own}:section": {}, str(own): {}})
    assert "My section" not in write_report(runs).read_text(encoding="utf-8")


def test_the_report_knows_no_section_of_a_strategy() -> None:
    for path in (ROOT / "clsim" / "report").rglob("*"):
        if path.suffix in (".py", ".html"):
            assert not re.search(r"\bMORE\b|more_|rebalanc", path.read_text(encoding="utf-8")), path


def test_the_example_runs(comparison: clsim.Comparison, tmp_path: Path) -> None:
    reference = f"{ROOT}/docs/examples/own_section.py:most_forgotten"
    page = write_report(comparison.folder, tmp_path, sections=[reference]).read_text(encoding="utf-8")
    assert "Most forgotten classes" in page
    assert "left out" not in page
    assert "| Strategy | Class | Forgetting" in (tmp_path / "results.md").read_text(encoding="utf-8")
