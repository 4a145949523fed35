"""Many small runs on two cores: variants x streams x seeds, each in one thread, finished ones kept."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

import clsim
from clsim.errors import ClsimError
from clsim.files import write_atomically
from clsim.report.intervals import half_width, paired_differences
from clsim.report.results import NO_VALUE
from clsim.running.run_folder import RunFolder
from clsim.strict_json import read_lines, read_object
from clsim.vocabulary import GROUPS

MORE = ("low_rank", "rank_correlation", "tail_to_head")
"""What a run with MORE says of its last task; see `ModelRebalancing.report`."""


@dataclass(frozen=True)
class Stream:
    """A scenario with overrides, under a name of its own."""

    name: str
    scenario: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """A strategy with options, or with overrides of the scenario that leave its plan alone, under a name of its own."""

    name: str
    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    stream: Stream
    variant: Variant
    seed: int
    out: Path

    @property
    def home(self) -> Path:
        return self.out / self.stream.name / self.variant.name

    def result(self) -> dict[str, Any] | None:
        """The content of `result.json`, and as `last` what was logged after the last task by its tag.

        None while the run is not finished.
        """
        found = sorted(self.home.glob(f"**/seed{self.seed}/{RunFolder.result}"))
        if not found:
            return None
        lines = read_lines(RunFolder(found[0].parent).metrics)
        last = [line["values"] for line in lines if line["phase"] == "eval"][-1]
        return read_object(found[0]) | {"last": last}


def carry_out(jobs: Sequence[Job], workers: int) -> None:
    """Run the jobs that have no result yet; one that fails is reported and does not stop the others."""
    waiting = [job for job in jobs if job.result() is None]
    began = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that are about to start
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, (job, text) in enumerate(zip(waiting, pool.map(_run, waiting), strict=True), start=1):
            minutes = (time.monotonic() - began) / 60
            print(f"{done}/{len(waiting)} {minutes:.0f} min {job.stream.name} {job.variant.name} {job.seed}: {text}")
            sys.stdout.flush()


def _run(job: Job) -> str:
    overrides = {"threads": 1, **job.stream.overrides, **job.variant.options}
    try:
        run = clsim.run(
            job.stream.scenario,
            job.variant.strategy,
            seed=job.seed,
            overrides=overrides,
            out=job.home,
            device="cpu",
            overwrite=True,
        )
    except ClsimError as error:
        return f"failed: {error}"
    return f"last mAP {run.result['last_mAP']:.1f}"


def frame(jobs: Sequence[Job]) -> pd.DataFrame:
    """One row a finished run: stream, variant, seed, and the numbers a study looks at (percent, points, counts)."""
    rows = [
        {"stream": job.stream.name, "variant": job.variant.name, "seed": job.seed, **_numbers(result)}
        for job in jobs
        if (result := job.result()) is not None
    ]
    return pd.DataFrame(rows)


def _numbers(result: dict[str, Any]) -> dict[str, Any]:
    at = result["thresholds"]["0.5"]
    numbers = {name: result[name] for name in ("last_mAP", "avg_mAP", "forgetting")}
    for group in GROUPS:
        numbers |= {f"{group}_mAP": result["groups"]["last_mAP"][group]}
        numbers |= {f"{group}_forgetting": result["groups"]["forgetting"][group]}
    numbers |= {name: result["last"].get(f"more/{name}") for name in MORE}
    numbers |= {name: at[f"last_{name}"] for name in ("CF1", "FPR", "FNR", "predicted_old", "predicted_new")}
    numbers |= {f"present_{block}": course[-1] for block, course in result["present"].items()}
    if result["memory"] is not None:
        labels = result["memory"]["labels"]
        numbers |= {f"memory_{name}": labels[name][-1] for name in labels if name not in ("states", "blocks")}
    return numbers


DIGITS = {"memory_KL": 3, "low_rank": 3, "rank_correlation": 2}
"""Decimals of a column, where one is not enough."""


def interval(values: pd.Series) -> tuple[float, float]:
    """Mean and half width of its 95 % interval by Student's t, of the values that are known."""
    known = values.dropna()
    return float(known.mean()), half_width(known)


def table(
    runs: pd.DataFrame,
    baseline: str | Mapping[str, str],
    columns: Mapping[str, str],
    paired: Sequence[str] = ("last_mAP",),
) -> str:
    """A Markdown table, one row a variant in order of appearance: seeds, mean ± 95 % interval of each column, and the
    differences to `baseline` in the columns `paired`, seed by seed.

    Args:
        runs: rows of one stream from `frame`.
        baseline: the variant that all others are compared with, or variant -> the one that it is compared with.
        columns: column -> heading.
    """
    among = f"against {baseline}, " if isinstance(baseline, str) else ""
    heads = ["variant", "seeds", *columns.values(), *(f"{columns[column]} {among}paired" for column in paired)]
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for name in dict.fromkeys(runs.variant):
        own = runs[runs.variant == name].set_index("seed")
        cells = [
            _cell(*interval(own[column]), digits=DIGITS.get(column, 1)) if column in own else NO_VALUE
            for column in columns
        ]
        base = baseline if isinstance(baseline, str) else baseline.get(name, name)
        other = runs[runs.variant == base].set_index("seed")
        differences = [pd.Series(paired_differences(dict(own[column]), dict(other[column]))) for column in paired]
        against = [NO_VALUE if name == base else _cell(*interval(one), sign=True) for one in differences]
        lines.append([f"`{name}`", str(len(own)), *cells, *against])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_tables(page: Path, found: Mapping[str, str]) -> None:
    """Put each table between the marks `<!-- table: name -->` and `<!-- end -->` of a page."""
    text = page.read_text(encoding="utf-8")
    for name, content in found.items():
        before, mark, rest = text.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if mark and end:
            text = f"{before}{mark}{content}\n{end}{after}"
    write_atomically(page, text)


def _cell(mean: float, half: float, digits: int = 1, sign: bool = False) -> str:
    if math.isnan(mean):
        return NO_VALUE
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(half) else f"{text} ± {half:.{digits}f}"
