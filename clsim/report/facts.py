"""Notes needed to read a comparison: on strategies, published values, and how the runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clsim.report.results import NO_VALUE, Results
from clsim.report.tables import number
from clsim.report.too_good import too_good
from clsim.running.dotted_keys import flat

UPPER_REFERENCE = ("upper reference", "trains on all data so far")
DERIVED_PLAN = ("derived plan", "sees labels that the stream hides")
CONTROL = "control, not a method"
NOT_COMPARED = (
    "seed",
    "stream.order_seed",
    "loggers",
    "evaluation.keep_scores",
    "evaluation.pictures",
    "evaluation.metrics",
)
"""Keys of configurations that are not named where runs differ; on metrics `_own_metrics_differ` has its say."""


def source(results: Results) -> str:
    """Where the scenario says it comes from."""
    return str(results.stream_run.config.get("source") or NO_VALUE)


def online(results: Results) -> str:
    """Say that the stream is online, with the size of its batches; "" if it is not."""
    told = (results.stream_run.config.get("stream") or {}).get("online")
    return f"online, {told['batch']} new images a step, each image of a task once" if told else ""


def strategy_notes(results: Results) -> dict[str, tuple[str, str]]:
    """Label and explanation of the strategies that are no methods among others; of two, both."""
    notes = {}
    for name in results.strategies:
        found = []
        if name == results.upper:
            found.append(UPPER_REFERENCE)
        elif any(run.record.derived_from for run in results.of(name)):
            found.append(DERIVED_PLAN)
        knows = dict.fromkeys(run.record.control for run in results.of(name) if run.record.control)
        found += [(CONTROL, text) for text in knows]
        if found:
            labels, texts = zip(*found, strict=True)
            notes[name] = ("; ".join(dict.fromkeys(labels)), "; ".join(texts))
    return notes


def own_metrics(results: Results) -> list[str]:
    """The metrics that the user brings, each with its file."""
    metrics = (metric for run in results.runs for metric in run.record.metrics.items())
    return list(dict.fromkeys(f"{name} ({metric.reference})" for name, metric in metrics))


def _metric_name(metric: str) -> str:
    """The metric an expected row means: `last mAP` is last_mAP, `last CF1@0.80` is CF1@0.8."""
    name, at, threshold = metric.strip().replace(" ", "_").partition("@")
    if not at:
        return name
    try:
        return f"{name.removeprefix('last_')}@{float(threshold)}"
    except ValueError:
        return metric


def expected_rows(results: Results) -> list[dict[str, str]]:
    """The scenario's expected values beside ours; quoted ones are marked as published."""
    summary = {row["strategy"]: row for row in results.summaries}
    rows = []
    for row in results.stream_run.config.get("expected") or []:
        metric = str(row.get("metric", NO_VALUE))
        our_name = _metric_name(metric)
        ours = summary.get(row.get("strategy"))
        tolerance = row.get("tolerance")
        quoted = plain(row.get("source"))
        rows.append(
            {
                "strategy": plain(row.get("strategy")),
                "metric": metric.replace("_", " "),
                "value": plain(row.get("value")),
                "tolerance": NO_VALUE if tolerance is None else f"± {tolerance}",
                "ours": number(ours, our_name) if ours and our_name in results.metrics else NO_VALUE,
                "source": quoted,
                "kind": "measured" if quoted.split()[:1] in (["own"], ["measured"]) else "published",
            }
        )
    return rows


def _skipped(results: Results) -> str:
    """A sentence on images that cannot be decoded; an empty text where none was left out."""
    counts = results.stream_run.record.skipped_images
    parts = [f"{count} of the {split} split" for split, count in counts.items() if count]
    if not parts:
        return ""
    return f"Images that cannot be decoded were left out: {', '.join(parts)}; run.log names them."


def _first_tasks(results: Results) -> str:
    """A sentence on runs whose first task another run has trained; an empty text where there are none."""
    names = [run.name for run in results.runs if any(line.shared_seconds for line in run.timing)]
    if not names:
        return ""
    return (
        f"The first task of {', '.join(names)} was trained by another run, whose first task is equal to the last bit; "
        "their train times include it."
    )


def _own_metrics_differ(results: Results) -> list[str]:
    """A sentence for each metric of the user's that some runs lack, or that other code computed in some."""
    found = []
    for name in dict.fromkeys(name for run in results.runs for name in run.record.metrics):
        missing = [run.name for run in results.runs if name not in run.record.metrics]
        if missing:
            found.append(
                f"No values of the metric {name}: {_run_names(results, missing)}, trained and evaluated without it."
            )
        if len({run.record.metrics[name].code for run in results.runs if name in run.record.metrics}) > 1:
            found.append(f"The values of the metric {name} come from different versions of its code.")
    return found


def warnings_of(results: Results) -> list[str]:
    """Sentences on what was left out and on what makes the rows of the final table hard to compare."""
    found = [f"{note[:1].upper()}{note[1:]}." for note in results.stream_run.record.notes]
    found += [text for text in (_skipped(results), _first_tasks(results)) if text]
    found += [*too_good(results), *_own_metrics_differ(results)]
    seeds = {name: tuple(run.seed for run in results.of(name)) for name in results.strategies}
    if len(set(seeds.values())) > 1:
        lists = "; ".join(f"{name}: {', '.join(map(str, own))}" for name, own in seeds.items())
        found.append(f"The strategies ran with different seeds ({lists}): their means are not over the same runs.")
    if len({run.record.data_fingerprint for run in results.runs}) > 1:
        found.append("The data fingerprints differ: not all runs read the same image files.")
    for name in results.strategies:
        if len({json.dumps(run.record.options, sort_keys=True) for run in results.of(name)}) > 1:
            found.append(f"The seeds of {name} ran with different options.")
    loss = ((results.stream_run.config.get("training") or {}).get("loss") or {}).get("name", "bce")
    for name in results.strategies:
        brings = results.of(name)[0].record.loss_of
        if brings and loss != "bce":
            found.append(f"{name} trains on the loss of {brings}, not on training.loss ({loss}).")
    different = {"resolved configurations": config_differences(results), "environments": environments(results)}
    for what, rows in different.items():
        keys = [row["key"] for row in rows if row["differs"]]
        if keys:
            found.append(f"The runs' {what} differ in {', '.join(keys)}.")
    return found


def config_differences(results: Results) -> list[dict[str, Any]]:
    """The keys in which the runs' resolved configurations differ, as `shared_and_differing` gives them."""
    tables = {run.name: flat(run.config) for run in results.runs}
    for table in tables.values():
        for key in NOT_COMPARED:
            table.pop(key, None)
    return [row for row in shared_and_differing(results, tables) if row["differs"]]


def environments(results: Results) -> list[dict[str, Any]]:
    """The recorded environments of the runs, as `shared_and_differing` gives them."""
    tables = {run.name: dict(run.environment) for run in results.runs}
    for table in tables.values():
        table.pop("started", None)
    return shared_and_differing(results, tables)


def shared_and_differing(results: Results, tables: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per key of the runs' tables its values and who has them: `[{key, differs, values: [(value, runs)]}]`."""
    rows = []
    for key in dict.fromkeys(key for table in tables.values() for key in table):
        owners: dict[str, list[str]] = {}
        for run, table in tables.items():
            owners.setdefault(plain(table.get(key)), []).append(run)
        values = [(value, _run_names(results, runs)) for value, runs in owners.items()]
        rows.append({"key": key, "differs": len(values) > 1, "values": values})
    return rows


def _run_names(results: Results, runs: Sequence[str]) -> str:
    """Names of runs, with `lwf (all seeds)` where every seed of a strategy is meant."""
    if len(runs) == len(results.runs):
        return "all runs"
    names = []
    for strategy in results.strategies:
        own = [run.name for run in results.of(strategy) if run.name in runs]
        names += [f"{strategy} (all seeds)"] if len(own) == len(results.of(strategy)) > 1 else own
    return ", ".join(names)


def plain(value: Any) -> str:
    """A value of a configuration as text, a dash for None."""
    if value is None:
        return NO_VALUE
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
