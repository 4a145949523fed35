"""The comparison report: one self-contained HTML page, a table for papers (Markdown) and one for code (CSV)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from clsim.experiment import report_figures, report_imbalance, report_memory
from clsim.experiment.report_classes import class_panels
from clsim.experiment.results import AT_THRESHOLD, GROUPS, JOINT, NO_VALUE, Results, load_results, markdown_table
from clsim.experiment.results import number as mean_and_std
from clsim.experiment.results import table_rows as final_table
from clsim.experiment.settings import flat
from clsim.files import write_atomically

UPPER_REFERENCE = ("upper reference", "trains on all data so far")
DERIVED_PLAN = ("derived plan", "sees labels that the stream hides")
CONTROL = "control, not a method"


def write_report(directory: str | Path, out: str | Path | None = None, order: Sequence[str] | None = None) -> Path:
    """Write report.html, results.csv (one row per run) and results.md for the runs below `directory`.

    They go to `out`, or to `directory`; each file appears whole or not at all. Returns the path of report.html.
    """
    results = load_results(directory, order)
    page = render_html(results)
    folder = Path(out if out is not None else directory)
    write_tables(results, folder)
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def write_tables(results: Results, folder: Path) -> None:
    """Write results.csv, one row per run, and results.md, the final table, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "results.csv", results.frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "results.md", render_markdown(results))


def render_markdown(results: Results) -> str:
    """The final table with what is needed to read it, as Markdown."""
    run = results.reference
    plans = ", ".join(f"`{stream}`" for stream in dict.fromkeys(run.stream for run in results.runs))
    lines = [f"# {run.result['scenario']}", "", f"Source: {_source(results)}. Plan: {plans}.", ""]
    lines += [markdown_table(results)]
    lines += ["mAP in percent, forgetting and backward transfer in percent points; mean ± sample std over the runs."]
    lines += [f"`{name}`: {label}, {note}." for name, (label, note) in _strategy_notes(results).items()]
    if results.unfinished:
        lines += ["", "Not in the table, because they have no result:", ""]
        lines += [f"- {run.strategy}/seed{run.seed}: {run.reason}" for run in results.unfinished]
    return "\n".join(lines) + "\n"


def render_html(results: Results) -> str:
    """The report page: no file, font, script or address besides itself; equal results give an equal page."""
    template = files("clsim.experiment").joinpath("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["minus"] = lambda text: text.replace("-", "\u2212")
    run = results.reference
    figures = report_figures.draw(results)
    groups = run.result.get("groups") or {"rule": NO_VALUE, "members": {}}
    return page.from_string(template).render(
        scenario=run.result["scenario"],
        source=_source(results),
        plan=run.stream,
        run=run,
        results=results,
        seeds=sorted({run.seed for run in results.runs}),
        styles=report_figures.styles(results.strategies),
        strategy_notes=_strategy_notes(results),
        table=final_table(results),
        figures=figures,
        matrices=[(name, figures[f"matrix-{rank}"]) for rank, name in enumerate(results.strategies)],
        no_forgetting=_undefined(results, "forgetting"),
        groups=groups,
        group_names=GROUPS,
        group_table=_group_table(results),
        threshold_names=[name.replace("_", " ") for name in AT_THRESHOLD],
        threshold_tables=threshold_tables(results),
        class_panels=class_panels(results),
        memory_table=report_memory.memory_table(results),
        label_figures=report_memory.label_figures(results),
        wide_labels=len(run.result["tasks"]) > report_memory.MOST_BESIDE,
        label_legend=report_memory.LEGEND,
        imbalance_headings=report_imbalance.HEADINGS,
        imbalance_tables=report_imbalance.imbalance_tables(results),
        ratio_figures=report_imbalance.ratio_figures(results),
        expected=_expected(results),
        warnings=_warnings(results),
        options=[(name, json.dumps(results.of(name)[0].result.get("options") or {})) for name in results.strategies],
        environment=_environments(results),
        config_differences=_config_differences(results),
    )


def shared_and_differing(results: Results, tables: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per key of the runs' tables its values and who has them: `[{key, differs, values: [(value, runs)]}]`."""
    rows = []
    for key in dict.fromkeys(key for table in tables.values() for key in table):
        owners: dict[str, list[str]] = {}
        for run, table in tables.items():
            owners.setdefault(_text(table.get(key)), []).append(run)
        values = [(value, _short(results, runs)) for value, runs in owners.items()]
        rows.append({"key": key, "differs": len(values) > 1, "values": values})
    return rows


def _short(results: Results, runs: Sequence[str]) -> str:
    """Names of runs, with `lwf (all seeds)` where every seed of a strategy is meant."""
    if len(runs) == len(results.runs):
        return "all runs"
    names = []
    for strategy in results.strategies:
        own = [run.name for run in results.of(strategy) if run.name in runs]
        names += [f"{strategy} (all seeds)"] if len(own) == len(results.of(strategy)) > 1 else own
    return ", ".join(names)


def _source(results: Results) -> str:
    return str(results.reference.config.get("source") or NO_VALUE)


def _strategy_notes(results: Results) -> dict[str, tuple[str, str]]:
    """Label and explanation of the strategies that are no methods among others; of two, both."""
    notes = {}
    for name in results.strategies:
        found = []
        if name == JOINT:
            found.append(UPPER_REFERENCE)
        elif any(run.result.get("derived_from") for run in results.of(name)):
            found.append(DERIVED_PLAN)
        knows = dict.fromkeys(run.result["control"] for run in results.of(name) if run.result.get("control"))
        found += [(CONTROL, text) for text in knows]
        if found:
            labels, texts = zip(*found, strict=True)
            notes[name] = ("; ".join(dict.fromkeys(labels)), "; ".join(texts))
    return notes


def _undefined(results: Results, metric: str) -> list[str]:
    means = results.summary().set_index("strategy")[f"{metric}_mean"]
    return [name for name in results.strategies if means.isna()[name]]


def _group_table(results: Results) -> list[tuple[str, ...]]:
    """Per strategy: forgetting of head, medium and tail classes, in percent points."""
    rows = results.summary().to_dict("records")
    return [(row["strategy"], *(mean_and_std(row, f"{group}_forgetting") for group in GROUPS)) for row in rows]


def threshold_tables(results: Results) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Per threshold, ascending: one row per strategy, its name and the metrics of AT_THRESHOLD as text."""
    rows = results.summary().to_dict("records")
    return [
        (at, [(row["strategy"], *(mean_and_std(row, f"{name}@{at}") for name in AT_THRESHOLD)) for row in rows])
        for at in results.thresholds
    ]


def _our_name(metric: str) -> str:
    """The metric an expected row means: `last mAP` is last_mAP, `last CF1@0.80` is CF1@0.8."""
    name, at, threshold = metric.strip().replace(" ", "_").partition("@")
    if not at:
        return name
    try:
        return f"{name.removeprefix('last_')}@{float(threshold)}"
    except ValueError:
        return metric


def _expected(results: Results) -> list[dict[str, str]]:
    """The scenario's expected values beside ours; quoted ones are marked as published."""
    summary = {row["strategy"]: row for row in results.summary().to_dict("records")}
    rows = []
    for row in results.reference.config.get("expected") or []:
        metric = str(row.get("metric", NO_VALUE))
        our_name = _our_name(metric)
        ours = summary.get(row.get("strategy"))
        tolerance = row.get("tolerance")
        source = _text(row.get("source"))
        rows.append(
            {
                "strategy": _text(row.get("strategy")),
                "metric": metric.replace("_", " "),
                "value": _text(row.get("value")),
                "tolerance": NO_VALUE if tolerance is None else f"± {tolerance}",
                "ours": mean_and_std(ours, our_name) if ours and our_name in results.metrics else NO_VALUE,
                "source": source,
                "kind": "measured" if source.split()[:1] in (["own"], ["measured"]) else "published",
            }
        )
    return rows


def _skipped(results: Results) -> str:
    """A sentence on images that cannot be decoded; an empty text where none was left out."""
    counts = results.reference.result.get("skipped_images") or {}
    parts = [f"{count} of the {split} split" for split, count in counts.items() if count]
    if not parts:
        return ""
    return f"Images that cannot be decoded were left out: {', '.join(parts)}; run.log names them."


def _first_tasks(results: Results) -> str:
    """A sentence on runs whose first task another run has trained; an empty text where there are none."""
    names = [run.name for run in results.runs if any(line.get("shared_seconds") for line in run.timing)]
    if not names:
        return ""
    return (
        f"The first task of {', '.join(names)} was trained once, by another run that trains it alike to the last bit; "
        "their train time counts it as if they had."
    )


def _warnings(results: Results) -> list[str]:
    """What was left out, and what makes the rows of the final table less than comparable, in words."""
    found = [text for text in (_skipped(results), _first_tasks(results)) if text]
    seeds = {name: tuple(run.seed for run in results.of(name)) for name in results.strategies}
    if len(set(seeds.values())) > 1:
        lists = "; ".join(f"{name}: {', '.join(map(str, own))}" for name, own in seeds.items())
        found.append(f"The strategies ran with different seeds ({lists}): their means are not over the same runs.")
    if len({run.result.get("data_fingerprint") for run in results.runs}) > 1:
        found.append("The data fingerprints differ: not all runs read the same image files.")
    for name in results.strategies:
        if len({json.dumps(run.result.get("options"), sort_keys=True) for run in results.of(name)}) > 1:
            found.append(f"The seeds of {name} ran with different options.")
    different = {"resolved configurations": _config_differences(results), "environments": _environments(results)}
    for what, rows in different.items():
        keys = [row["key"] for row in rows if row["differs"]]
        if keys:
            found.append(f"The runs' {what} differ in {', '.join(keys)}.")
    return found


def _config_differences(results: Results) -> list[dict[str, Any]]:
    tables = {run.name: flat(run.config) for run in results.runs}
    for table in tables.values():
        table.pop("seed", None)
    return [row for row in shared_and_differing(results, tables) if row["differs"]]


def _environments(results: Results) -> list[dict[str, Any]]:
    tables = {run.name: dict(run.environment) for run in results.runs}
    for table in tables.values():
        table.pop("started", None)
    return shared_and_differing(results, tables)


def _text(value: Any) -> str:
    if value is None:
        return NO_VALUE
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
