"""What a notebook shows of results: a table, a figure, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from clsim.html_table import html_table
from clsim.report.results import NO_VALUE, Results
from clsim.report.run_result import RunResult
from clsim.report.tables import final_table


def comparison_html(
    folder: Path, results: Results | None, failed: Mapping[Path, str] = {}, interrupted: Sequence[Path] = ()
) -> str:
    """Return the final table and the curves of a comparison, and the runs that did not finish.

    Args:
        folder: of the comparison.
        results: of the finished runs; None: there are none.
        failed: folder -> reason.
        interrupted: folders.
    """
    parts = [f"<p><b>{escape(folder.name)}</b> ({escape(str(folder))})</p>"]
    if results is None:
        parts.append("<p>no run has finished</p>")
    else:
        headings, *rows = final_table(results)
        parts += [html_table(rows, headings), results.plot.curves()._repr_svg_()]  # type: ignore[attr-defined]
    unfinished = [(str(run), f"failed: {reason}") for run, reason in failed.items()]
    unfinished += [(str(run), "interrupted") for run in interrupted]
    return "\n".join([*parts, *([html_table(unfinished)] if unfinished else [])])


def run_html(run: RunResult) -> str:
    """Return the final numbers of a run, and mAP after each of its tasks."""
    record = run.record
    finals = {"last mAP": record.last_mAP, "average mAP": record.avg_mAP, "forgetting": record.forgetting}
    final = ", ".join(f"{name} {_fixed(value)}" for name, value in finals.items())
    rows = [
        (str(task.index), ", ".join(task.classes), str(task.train_images), _fixed(value))
        for task, value in zip(record.tasks, record.mAP, strict=True)
    ]
    return "\n".join(
        [
            f"<p><b>{escape(record.scenario)}: {escape(run.name)}</b>, {final} ({escape(str(run.folder))})</p>",
            html_table(rows, ("task", "classes", "images", "mAP over seen classes (%)")),
        ]
    )


def _fixed(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.1f}"
