"""The comparison as files for other programs: Markdown for notes, LaTeX for papers, CSV for code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import pandas as pd

from clsim.report.compared import Compared
from clsim.report.facts import online, source
from clsim.report.loads import load_note
from clsim.report.tables import Rows, as_markdown, difference_headings, latex, markdown

UNITS = (
    "mAP and accuracy in percent, forgetting and backward transfer in percent points; mean ± sample std over the runs."
)
BOLD = (
    "Bold: significantly better than every other method, by paired t tests over (seed, order_seed) at 5 %, corrected "
    "by Holm over all pairs of methods, from 3 pairs on. In italics, in LaTeX underlined: the best mean, which may be "
    "chance. References and controls do not take part."
)
PAIRED = (
    "Differences are paired by (seed, order_seed); their intervals are of 95 %, not corrected; p is of the paired t "
    "test, corrected by Holm over the methods; references and controls are not tested. Intervals are clipped to the "
    "values that a metric can have (mAP: 0 to 100). Fewer than two pairs: undefined; fewer than three: not tested."
)
ORDERS = " Pairs of one class order are correlated; the test treats them as independent."
DISTANCE = (
    "Percent points below {0} with the same seeds, mean ± half the 95 % interval by Student's t. Intransigence: "
    "{0}'s mAP on task k minus the method's right after learning it (Chaudhry et al., ECCV 2018), mean over k."
)
SCORES = (
    "After the last task, in percent, on the images and classes of the last mAP. Macro AUC: mean area under the ROC "
    "curve of the classes; LRAP: label ranking average precision of the images; ECE: expected calibration error, 15 "
    "bins of equal width, of all entries and as a mean over classes. Classes without a positive are left out."
)
OWN_METRICS = "After the last task, each in the unit of its function; mean ± sample std over the runs."
COST = (
    "Times exclude loading; samples include replayed ones; peak memory is that of the process; MB are 10⁶ bytes. Load "
    "by others: share of the machine's cores that other processes kept busy during training."
)


def statistics(compared: Compared) -> pd.DataFrame:
    """`Compared.contrasts` as a table of numbers: one row per metric and strategy, columns as in `Contrast`."""
    rows = [asdict(own) | {"verdict": own.verdict} for each in compared.contrasts.values() for own in each]
    frame = pd.DataFrame(rows)
    frame.insert(2, "baseline", compared.baseline)
    return frame


def render_markdown(compared: Compared) -> str:
    """The tables with what is needed to read them, as Markdown."""
    results = compared.results
    run = results.stream_run
    plans = ", ".join(f"`{stream}`" for stream in dict.fromkeys(run.stream for run in results.runs))
    shown_source = as_markdown(source(results))
    stream = f"Stream: {online(results)}. " if online(results) else ""
    lines = [f"# {as_markdown(run.record.scenario)}", "", f"Source: {shown_source}. {stream}Plan: {plans}.", ""]
    for title, rows, caption in _tables(compared):
        lines += [f"## {as_markdown(title)}", ""] if title else []
        lines += [markdown(rows), *([as_markdown(caption)] if caption else []), ""]
    lines += [f"{_code(name)}: {as_markdown(f'{label}, {note}')}." for name, (label, note) in compared.notes.items()]
    if results.unfinished:
        lines += ["", "Not in the tables, because they have no result:", ""]
        lines += [f"- {as_markdown(f'{run.strategy}/seed{run.seed}: {run.reason}')}" for run in results.unfinished]
    return "\n".join(lines).rstrip() + "\n"


def render_latex(compared: Compared) -> str:
    """The tables as LaTeX floats, to be read by \\input."""
    results = compared.results
    scenario = results.stream_run.record.scenario
    parts = [r"% Needs \usepackage{booktabs} and \usepackage{graphicx}." + "\n"]
    parts += [f"% Plan {stream}\n" for stream in dict.fromkeys(run.stream for run in results.runs)]
    notes = "".join(f" {name}: {label}, {note}." for name, (label, note) in compared.notes.items())
    for number, (title, rows, caption) in enumerate(_tables(compared), start=1):
        what = f"{scenario}{', ' + title if title else ''}. {caption}{notes if number == 1 else ''}"
        parts.append("\n" + latex(rows, what.strip(), f"tab:{_label(scenario)}-{number}"))
    return "".join(parts)


def _tables(compared: Compared) -> Iterator[tuple[str, Rows, str]]:
    """Title, rows and caption of every table that has rows; the first has no title."""
    results, baseline = compared.results, compared.baseline
    yield "", compared.final, f"{UNITS} {BOLD} {load_note(results)}".rstrip()
    if compared.accuracy:
        yield "Top-1 accuracy", compared.accuracy, UNITS
    if compared.ranking:
        yield "Ranking and calibration", compared.ranking, SCORES
    if compared.own_metrics:
        yield "Own metrics", compared.own_metrics, OWN_METRICS
    paired = PAIRED + (ORDERS if results.frame["order_seed"].nunique() > 1 else "")
    for place, (metric, rows) in enumerate(compared.differences):
        yield f"{metric} against {baseline}", [difference_headings(baseline), *rows], "" if place else paired
    if compared.distance:
        yield f"Distance to {results.upper}", compared.distance, DISTANCE.format(results.upper)
    for table in (table for section in compared.sections.shown for table in section.tables):
        yield table.title, table.rows, table.caption
    yield "Cost", compared.cost, f"{COST} {load_note(results)}".rstrip()
    if compared.expected:
        headings = ("Strategy", "Metric", "Expected", "Tolerance", "Ours", "Kind", "Source")
        keys = ("strategy", "metric", "value", "tolerance", "ours", "kind", "source")
        rows = [headings, *(tuple(row[key] for key in keys) for row in compared.expected)]
        yield "Expected values", rows, "Published numbers are the authors', not re-run here."


def _code(name: str) -> str:
    """Return a name as Markdown's code, which has no marks inside."""
    return as_markdown(name) if "`" in name else f"`{name}`"


def _label(text: str) -> str:
    """A name that LaTeX takes in \\label."""
    return "".join(character if character.isalnum() and character.isascii() else "-" for character in text)
