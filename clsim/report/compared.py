"""The tables of a comparison, each computed once; page, Markdown, LaTeX and CSV all show these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clsim.report.facts import expected_rows, strategy_notes
from clsim.report.results import Results
from clsim.report.section import Maker, Sections, make_sections
from clsim.report.sections.calibration import ranking_table
from clsim.report.sections.distance_to_joint import distance_table
from clsim.report.significance import Contrast, against, choose_baseline
from clsim.report.tables import Rows, accuracy_table, cost_table, difference_tables, final_table, own_metrics_table


@dataclass(frozen=True)
class Compared:
    """The tables of a comparison.

    Attributes:
        results: the runs.
        baseline: the strategy that the others are compared with.
        notes: strategy that is no method -> label and explanation.
        contrasts: metric -> each strategy beside the baseline.
        differences: the same as text: title and rows, without heading.
        final, accuracy, ranking, own_metrics, distance, cost: heading and a row per strategy; but for final and cost
            they may be empty.
        expected: the scenario's expected values beside ours.
        sections: those that do not belong to the report itself.
    """

    results: Results
    baseline: str
    notes: dict[str, tuple[str, str]]
    contrasts: dict[str, list[Contrast]]
    differences: list[tuple[str, Rows]]
    final: Rows
    accuracy: Rows
    ranking: Rows
    own_metrics: Rows
    distance: Rows
    cost: Rows
    expected: list[dict[str, str]]
    sections: Sections = field(default_factory=Sections)


def compared(results: Results, baseline: str | None = None, makers: Mapping[str, Maker] | None = None) -> Compared:
    """Every table of a comparison.

    Args:
        results: the runs.
        baseline: as in `choose_baseline`.
        makers: of sections beside those of installed packages, see `load_makers`.

    Raises:
        RunError: no finished run is of the baseline.
    """
    baseline = choose_baseline(results, baseline)
    contrasts = against(results, baseline)
    return Compared(
        results=results,
        baseline=baseline,
        notes=strategy_notes(results),
        contrasts=contrasts,
        differences=difference_tables(contrasts, baseline),
        final=final_table(results),
        accuracy=accuracy_table(results),
        ranking=ranking_table(results),
        own_metrics=own_metrics_table(results),
        distance=distance_table(results),
        cost=cost_table(results),
        expected=expected_rows(results),
        sections=make_sections(results, makers or {}),
    )
