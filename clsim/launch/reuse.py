"""Runs that an earlier comparison has left: finished ones to keep, unfinished ones to go on with, others to refuse."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from clsim.errors import RunError
from clsim.evaluation.own_metrics import OwnMetric
from clsim.launch.replacement import refuse_other_folders
from clsim.running.checksums import refuse_changed
from clsim.running.evaluation_record import read_evaluation
from clsim.running.folder_lock import locked
from clsim.running.prepared_run import open_run
from clsim.running.record import read_record
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import differences, read_identity

MOST_SHOWN = 4

FolderState = Literal["new", "finished", "unfinished"]


def classify_folder(folder: Path, identity: Mapping[str, Any]) -> FolderState:
    """Classify the folder of the run that has this identity: new, finished or unfinished.

    Raises:
        RunError: the folder holds another run, one that another process is writing, or something that is not a run.
    """
    if not os.path.lexists(folder):  # a link that leads nowhere is in the way
        return "new"
    refuse_other_folders(folder)
    try:
        changed = differences(read_identity(folder), identity)
    except RunError as error:
        raise RunError(f"{error}; use --overwrite to replace it, or another --out") from None
    if changed:
        more = [f"and {len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else []
        texts = "; ".join([*changed[:MOST_SHOWN], *more])
        raise RunError(f"{folder}: another run is there ({texts}); use --overwrite to replace it, or another --out")
    files = RunFolder(folder)
    if files.finished:
        try:
            refuse_changed(files)
            read_record(files.result)
        except RunError as error:
            raise RunError(f"{error}; use --overwrite to replace it, or another --out") from None
        return "finished"
    with locked(folder):
        return "unfinished"


def recorded_threads(folders: Iterable[Path]) -> int | None:
    """Return the number of threads of the runs in the folders; None: there are no runs, or the numbers differ.

    DECIDED: with `threads: auto` they hold for the new runs too, so that a comparison may grow, lose workers or move
    to a machine with other cores, and its runs stay equal in all but what is compared.
    """
    found = set()
    for folder in folders:
        try:
            found.add(read_identity(folder).get("threads"))
        except RunError:
            continue  # `classify_folder` says what is wrong with it
    threads = found.pop() if len(found) == 1 else None
    return threads if isinstance(threads, int) else None


def lacking_metrics(folder: Path, asked: Sequence[OwnMetric]) -> list[str]:
    """Return, in a sentence each, the metrics of the user's that a run which is there has no values of.

    A run is the same with other metrics, so that it is reused or continued as it began. Of a finished run
    `clsim evaluate` computes them from the scores that it kept.
    """
    files = RunFolder(folder)
    if files.finished:
        later = read_evaluation(files)
        recorded = read_record(files.result).metrics | (later.metrics if later is not None else {})
        known = {name: metric.code for name, metric in recorded.items()}
        why = {m.name: "has changed since" if m.name in known else "was not asked for" for m in asked}
        lacking = {m.name: why[m.name] for m in asked if known.get(m.name) != m.code}
    else:
        began_with = {section.name for section in open_run(folder)[0].config.evaluation.metrics}
        lacking = {m.name: "was not asked for when it began" for m in asked if m.reference not in began_with}
    reference = {metric.name: metric.reference for metric in asked}
    return [
        f"{folder}: has no values of {name}, which {reason}; {_how_to_have_it(files, reference[name])}"
        for name, reason in lacking.items()
    ]


def lacking_scores(folder: Path, keep: str) -> list[str]:
    """Return a sentence if a run that is there does not keep the scores of every task, though `keep` is all."""
    if keep != "all":
        return []
    files, began_with = RunFolder(folder), open_run(folder)[0].config.evaluation.keep_scores
    kept = "none" if files.finished and not files.about_scores.exists() else began_with
    advice = "--overwrite trains all runs anew, another --out keeps these"
    return [] if kept == keep else [f"{folder}: began with evaluation.keep_scores: {kept}, and stays so; {advice}"]


def _how_to_have_it(files: RunFolder, metric: str) -> str:
    if files.finished and files.about_scores.exists():
        command = shlex.join(["clsim", "evaluate", str(files.path), "--metrics", metric])
        return f"from the scores that it kept: {command}"
    return "it is computed while a run trains: --overwrite trains all runs anew, another --out keeps these"
