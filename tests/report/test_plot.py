"""Figures as objects: of a comparison and of one run, drawn without pyplot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib import pyplot

from clsim.errors import RunError
from clsim.report.figures import draw
from clsim.report.results import load_results


def test_figures_can_be_changed_and_saved(runs: Path, tmp_path: Path) -> None:
    plot = load_results(runs).plot
    figure = plot.curves()
    assert figure.axes[0].get_ylabel() == "mAP over seen classes (%)"
    figure.axes[0].set_ylabel("mine")
    for name in ("curves.pdf", "curves.png", "curves.svg"):
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert "mine" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert plot.forgetting().axes[0].get_xlabel() == "task k"
    assert pyplot.get_fignums() == []  # no window


def test_matrices_stand_side_by_side(runs: Path) -> None:
    plot = load_results(runs).plot
    assert [axes.get_title() for axes in plot.matrix().axes] == ["er", "joint"]
    (one,) = plot.matrix("joint").axes
    assert one.get_title() == ""
    assert [text.get_text() for text in one.texts] == ["60", "80", "70", "50", "40", "90"]
    with pytest.raises(RunError, match=r"^strategy: given 'jont', allowed: er, joint, did you mean 'joint'\?$"):
        plot.matrix("jont")


def test_a_notebook_shows_what_the_report_shows(runs: Path) -> None:
    results = load_results(runs)
    figure = results.plot.curves()
    first, second = figure._repr_svg_(), figure._repr_svg_()  # type: ignore[attr-defined]
    ids = re.findall(r'\bid="([^"]*)"', first)
    assert not set(ids) & set(re.findall(r'\bid="([^"]*)"', second))  # both may stand on one page
    prefix = ids[0].partition("-")[0]
    as_in_report = re.sub(r"(?<![\w-])curves-", f"{prefix}-", str(draw(results)["curves"]))
    texts = re.compile(r"<text[^>]*>([^<]*)</text>")
    assert texts.findall(first) == texts.findall(as_in_report)


def test_one_run_has_figures_too(runs: Path) -> None:
    run = load_results(runs).of("er")[0]
    assert len(run.plot.matrix().axes) == 1


def test_what_is_undefined_is_said(make_run, tmp_path: Path) -> None:
    nothing = [[None] * 3] * 3
    make_run(tmp_path, "er", R=nothing)
    with pytest.raises(RunError, match=r"^forgetting: undefined"):
        load_results(tmp_path).plot.forgetting()
