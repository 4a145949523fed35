"""The command evaluate: metrics and pictures from the scores that finished runs kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clsim.cli.tables import print_table, say
from clsim.errors import ClsimError

if TYPE_CHECKING:
    from clsim.launch.evaluation import Evaluation

MISSING = "\u2013"
COLUMNS = {"last_mAP": "last mAP", "avg_mAP": "avg mAP", "forgetting": "forgetting"}
SHOWN_AT_THRESHOLD = ("CF1", "OF1")


def evaluate(
    folders: Annotated[
        list[Path], typer.Argument(help="finished runs, or folders that contain finished runs", metavar="RUN_DIR...")
    ],
    thresholds: Annotated[
        str | None,
        typer.Option("--thresholds", help="thresholds, separated by commas: 0.5,0.8; default: the scenario's"),
    ] = None,
    metrics: Annotated[
        list[str],
        typer.Option(
            "--metrics",
            help="your own metric; may be repeated; default: the scenario's",
            metavar="FILE.py:FUNCTION",
        ),
    ] = [],  # noqa: B006  typer reads the default
    empty_classes: Annotated[
        str | None,
        typer.Option(
            "--empty-classes", help="how means treat a class without a positive: skip it, or count zero (as in KRT)"
        ),
    ] = None,
    errors: Annotated[
        int,
        typer.Option(
            "--errors",
            min=0,
            help="also draw this many of the highest-scored false positives and lowest-scored positives per class",
            metavar="N",
        ),
    ] = 0,
) -> None:
    """Compute all metrics again from the kept scores of runs, without training.

    Numbers go to evaluation.json in each run folder, pictures to its error_sheets. No file of the run itself changes.
    """
    from clsim.launch.evaluation import evaluate as evaluate_all
    from clsim.running.run_folder import RunFolder

    found = evaluate_all(
        folders,
        thresholds=None if thresholds is None else _numbers("--thresholds", thresholds),
        metrics=metrics or None,
        empty_classes=empty_classes,
        errors=errors,
    )
    rows = [_row(evaluation) for evaluation in found]
    headings = tuple(dict.fromkeys(name for row in rows for name in row))
    print_table(headings, [tuple(row.get(name, MISSING) for name in headings) for row in rows])
    if any(len(evaluation.tasks) < len(evaluation.run.tasks) for evaluation in found):
        text = (
            "scores of the last task alone are kept: means over tasks and forgetting need evaluation.keep_scores: all"
        )
        say(text, err=True)
    for evaluation in found:
        files = RunFolder(evaluation.folder)
        say(f"written: {files.evaluation}" + f", {files.error_sheets}" * (errors > 0))


def _row(evaluation: Evaluation) -> dict[str, str]:
    """The numbers after the last kept task, by their headings."""
    summary, task = evaluation.summary, evaluation.tasks[-1]
    row = {"run": evaluation.name, "task": str(task)}
    row |= {heading: _text(summary[name]) for name, heading in COLUMNS.items()}
    for threshold, at in summary["thresholds"].items():
        row |= {f"{name}@{threshold}": _text(at[name][task]) for name in SHOWN_AT_THRESHOLD}
    for metric in summary["metrics"].values():
        row |= {name: _text(course[task], decimals=2) for name, course in metric["courses"].items()}
    return row


def _text(value: Any, decimals: int = 1) -> str:
    return MISSING if value is None else f"{value:.{decimals}f}"


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ClsimError(f"{option} {text}: expected numbers joined with commas, such as 0.5,0.8") from None
