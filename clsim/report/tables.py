"""Tables of a comparison as text cells, and as Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from clsim.report.intervals import standard_deviation
from clsim.report.loads import MARK, busier, other_load
from clsim.report.results import NO_VALUE, Results
from clsim.report.run_result import METRICS
from clsim.report.significance import COMPARED, Contrast, lowest_and_highest
from clsim.vocabulary import AT_THRESHOLD, GROUPS

Rows = list[tuple[str, ...]]
"""Heading first; the same number of cells in each."""

CHANCE = "(chance)"
"""Row of what a random order comes to; no strategy can be named so."""
FINAL_HEADINGS: tuple[str, ...] = (  # a no-break space keeps each arrow with its word
    *("Strategy", "Seeds", "Last mAP\u00a0↑", "Avg mAP\u00a0↑", "Forgetting\u00a0↓", "Backward transfer\u00a0↑"),
    *("Head mAP\u00a0↑", "Medium mAP\u00a0↑", "Tail mAP\u00a0↑", "Memory rows", "Memory MB", "Train time"),
)
ACCURACIES = {
    "last_accuracy": "Last accuracy\u00a0↑",
    "avg_accuracy": "Avg accuracy\u00a0↑",
    "many_last_accuracy": "Many\u00a0↑",
    "medium_last_accuracy": "Medium\u00a0↑",
    "few_last_accuracy": "Few\u00a0↑",
}
THRESHOLD_HEADINGS = (
    "Strategy",
    *(f"{name.replace('_', ' ')}\u00a0{'↓' if name in ('FPR', 'FNR', 'Hamming') else '↑'}" for name in AT_THRESHOLD),
)
COST_HEADINGS = (
    *("Strategy", "Seeds", "Train time", "Train CPU time", "Evaluation time", "Samples / s", "Peak memory MB"),
    *("Memory rows", "Memory MB", "Load by others"),
)
LATEX_ESCAPES = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{character: "\\" + character for character in "&%$#_{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "\u2212": "$-$", NO_VALUE: "--", "\u00a0": "~"},
    **{"⁶": "$^6$", "‖": r"$\|$"},
}

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Line breaks, other characters of control, and those that turn the direction of writing."""


class Best(str):
    """The cell of a method that is significantly better than every other one, to be set in bold."""


class Leader(str):
    """The cell of the best mean, which is not significantly better than each other one; to be underlined."""


def final_table(results: Results) -> Rows:
    """One row per strategy, `mean ± std` where there are several seeds, the best of a column as `Best` or `Leader`."""
    best = results.leaders
    marked = busier(results)
    length, unit = _time_unit(results, "train_seconds")
    rows: Rows = [FINAL_HEADINGS]
    for row in results.summaries:
        percent = [_cell(row, metric, best) for metric in METRICS[:7]]
        time = number(row, "train_seconds", scale=1 / length, unit=unit) + MARK * (row["strategy"] in marked)
        rows.append((row["strategy"], str(row["seeds"]), *percent, *_memory_cells(row), time))
    return [*rows, *_chance_row(results)]


def _chance_row(results: Results) -> Rows:
    """What a random order of the images comes to, in the columns that are a mAP; no row where no run recorded it."""
    chance = results.stream_run.record.chance
    if not chance:
        return []
    course = np.array(chance["mAP"], dtype=float)
    groups = [float(np.array(chance[group], dtype=float)[-1]) for group in GROUPS]
    cells = [fixed(value) for value in (course[-1], course.mean(), np.nan, np.nan, *groups)]
    return [(CHANCE, NO_VALUE, *cells, *[NO_VALUE] * (len(FINAL_HEADINGS) - 2 - len(cells)))]


def task_chances(results: Results) -> list[tuple[str, str]]:
    """Per task what a random order comes to: R[t, k] of its classes, and mAP of the classes seen after it."""
    record = results.stream_run.record
    course = record.chance.get("mAP", [None] * len(record.tasks))
    return [(_number(task.chance), _number(seen)) for task, seen in zip(record.tasks, course, strict=True)]


def matrix_chance(results: Results) -> str:
    """Return in words from where to where the chance levels of the columns of R lie; "" if they are not recorded."""
    levels = [task.chance for task in results.stream_run.record.tasks if task.chance is not None]
    if not levels:
        return ""
    low, high = fixed(min(levels)), fixed(max(levels))
    return low if low == high else f"{low} to {high}; the table of tasks lists it for each column"


def _number(value: float | None) -> str:
    return NO_VALUE if value is None else fixed(value)


def accuracy_table(results: Results) -> Rows:
    """Top-1 accuracy of single-label data, all classes and by shots; empty where no run recorded it."""
    if results.frame["last_accuracy"].isna().all():
        return []
    best = results.leaders
    rows: Rows = [("Strategy", "Seeds", *ACCURACIES.values())]
    for row in results.summaries:
        rows.append((row["strategy"], str(row["seeds"]), *(_cell(row, metric, best) for metric in ACCURACIES)))
    return rows


def own_metrics_table(results: Results) -> Rows:
    """Metrics that the user brings, after the last task; empty where no run recorded one."""
    if not results.own_metrics:
        return []
    rows: Rows = [("Strategy", "Seeds", *results.own_metrics)]
    for row in results.summaries:
        values = (number(row, name, decimals=2) for name in results.own_metrics)
        rows.append((row["strategy"], str(row["seeds"]), *values))
    return rows


def cost_table(results: Results) -> Rows:
    """Cost of each strategy: time, throughput, memory of the process, replay memory."""
    length, unit = _time_unit(results, "train_seconds", "eval_seconds")
    rows: Rows = [COST_HEADINGS]
    marked = busier(results)
    for row in results.summaries:
        times = [number(row, f"{what}_seconds", scale=1 / length, unit=unit) for what in ("train", "train_cpu", "eval")]
        times[0] += MARK * (row["strategy"] in marked)
        peak = number(row, "peak_memory_bytes", decimals=0, scale=1e-6)
        load = fixed(100 * other_load(results.of(row["strategy"])), 0)
        load += "\u00a0%" * (load != NO_VALUE)
        cells = (*times, number(row, "samples_per_second"), peak, *_memory_cells(row), load)
        rows.append((row["strategy"], str(row["seeds"]), *cells))
    return rows


def threshold_tables(results: Results) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Per threshold, ascending: one row per strategy, its name and the metrics of AT_THRESHOLD as text."""
    rows = results.summaries
    return [
        (at, [(row["strategy"], *(number(row, f"{name}@{at}") for name in AT_THRESHOLD)) for row in rows])
        for at in results.thresholds
    ]


def difference_headings(baseline: str) -> tuple[str, ...]:
    """Headings of `difference_tables`."""
    return (
        *("Strategy", "Seeds", "Mean ± std", "95\u00a0% interval", "Pairs", f"Difference to {baseline}"),
        *("95\u00a0% interval, t", "95\u00a0% interval, bootstrap", "p (Holm)", "Verdict"),
    )


def difference_tables(contrasts: Mapping[str, Sequence[Contrast]], baseline: str) -> list[tuple[str, Rows]]:
    """Per metric of `significance.against` its name and, without heading, a row for each strategy.

    A verdict, better or worse, is `Best`: it stands only where the difference is significant.
    """
    return [(COMPARED[metric], [_difference_row(own, baseline) for own in each]) for metric, each in contrasts.items()]


def _difference_row(own: Contrast, baseline: str) -> tuple[str, ...]:
    mean = fixed(own.mean) + (f" ± {fixed(own.std)}" if not math.isnan(own.std) else "")
    lowest, highest = lowest_and_highest(own.metric)
    cells = (own.strategy, str(own.seeds), mean, interval(*_ends(own.mean, own.half, lowest, highest)))
    if own.strategy == baseline:
        return (*cells, *[NO_VALUE] * 5, "baseline")
    most = highest - lowest
    within = interval(*_ends(own.difference, own.difference_half, -most, most), signed)
    verdict = Best(own.verdict) if own.verdict else NO_VALUE
    resampled = interval(own.low, own.high, signed)
    return (*cells, str(own.pairs), signed(own.difference), within, resampled, probability(own.p), verdict)


def _ends(middle: float, half: float, lowest: float, highest: float) -> tuple[float, float]:
    """Return the ends of an interval, clipped to the values that there can be; NaN where undefined."""
    low, high = np.clip([middle - half, middle + half], lowest, highest)
    return float(low), float(high)


def number(row: Mapping[str, Any], metric: str, decimals: int = 1, scale: float = 1.0, unit: str = "") -> str:
    """Text `mean ± std` of a metric in a row of `Results.summary`; no std for one seed, a dash if there is no mean."""
    mean, std = (fixed(row.get(f"{metric}_{kind}", math.nan) * scale, decimals) for kind in ("mean", "std"))
    return mean if mean == NO_VALUE else mean + (f" ± {std}" if std != NO_VALUE else "") + unit


def mean_and_std(values: Sequence[float], decimals: int = 1) -> str:
    """Return `mean ± std` of values, the sample's; no std for one of them, a dash where one is NaN."""
    text, std = fixed(float(np.mean(values)), decimals), standard_deviation(values)
    return text if text == NO_VALUE or math.isnan(std) else f"{text} ± {fixed(std, decimals)}"


def fixed(value: float, decimals: int = 1) -> str:
    """A number with so many decimals, a dash for NaN."""
    return NO_VALUE if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no "-0.0"


def signed(value: float, decimals: int = 1) -> str:
    """A difference: `fixed` with a plus where it is above zero."""
    text = fixed(value, decimals)
    return text if math.isnan(value) or float(text) <= 0 else f"+{text}"


def interval(low: float, high: float, shown: Any = fixed) -> str:
    """Both bounds as `[low, high]`, a dash where they are NaN."""
    return NO_VALUE if math.isnan(low) or math.isnan(high) else f"[{shown(low)}, {shown(high)}]"


def probability(p: float) -> str:
    """A p value with three decimals, `< 0.001` below them, a dash for NaN."""
    return NO_VALUE if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def markdown(rows: Rows) -> str:
    """A Markdown table, all columns but the first aligned to the right, `Best` in bold, `Leader` in italics."""

    def cell(text: str) -> str:
        mark = "**" if isinstance(text, Best) else "*" if isinstance(text, Leader) else ""
        return f"{mark}{as_markdown(text)}{mark}"

    lines = [[cell(text) for text in row] for row in rows]
    lines.insert(1, ["---"] + ["---:"] * (len(rows[0]) - 1))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_markdown(text: str) -> str:
    """Return a text as Markdown shows it: one line without tags, links, marks or cells of its own."""
    line = escape(CONTROLS.sub(" ", text), quote=False)
    return re.sub(r"([\\`*|~]|](?=[(\[:])|(?<!\w)_|_(?!\w))", r"\\\1", line)


def latex(rows: Rows, caption: str, label: str) -> str:
    """A LaTeX table; it needs the packages booktabs and graphicx, and is shrunk to the line where it is wider."""

    def cell(text: str) -> str:
        mark = r"\textbf" if isinstance(text, Best) else r"\underline" if isinstance(text, Leader) else ""
        return f"{mark}{{{escaped(text)}}}" if mark else escaped(text)

    heading, *body = ["{}" + " & ".join(map(cell, row)) + r" \\" for row in rows]  # {}: a [ is no option of \\
    lines = [r"\begin{table}[tbp]", r"\centering", rf"\caption{{{escaped(caption)}}}", rf"\label{{{label}}}"]
    lines += [r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}", r"\toprule", heading, r"\midrule", *body]
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "".join(f"{line}\n" for line in lines)


def escaped(text: str) -> str:
    """Text as LaTeX shows it, in one line; the hyphen of a negative number becomes a minus sign."""
    minus = re.sub(r"(?<!\w)-(?=\d)", "\u2212", CONTROLS.sub(" ", text))
    return "".join(LATEX_ESCAPES.get(character, character) for character in minus)


def _cell(row: Mapping[str, Any], metric: str, best: Mapping[str, tuple[str, bool]]) -> str:
    text = number(row, metric)
    leader, significant = best.get(metric, ("", False))
    if leader != row["strategy"]:
        return text
    return Best(text) if significant else Leader(text)


def _memory_cells(row: Mapping[str, Any]) -> list[str]:
    texts = [number(row, "memory_rows", decimals=0), number(row, "memory_bytes", decimals=2, scale=1e-6)]
    return [text.removesuffix(" ± 0").removesuffix(" ± 0.00") for text in texts]  # a fixed budget


def _time_unit(results: Results, *times: str) -> tuple[int, str]:
    """Seconds of the unit that suits the longest mean of some metrics, and how it is written."""
    means = [row[f"{time}_mean"] for row in results.summaries for time in times]
    longest = max((mean for mean in means if not math.isnan(mean)), default=0.0)
    return (3600, " h") if longest >= 36000 else (60, " min") if longest >= 600 else (1, " s")
