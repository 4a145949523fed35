"""The means of a study: comparisons that are declared, carried out resumably, and written as dated tables.

A study is a file that declares what it compares and which tables of a page in docs it writes:

    LADDER = Compared("digits-b0c2", "digits-b0c2", [Variant("er"), Variant("er", "herding", {"selection": "herding"})])
    STUDY = Study(
        page=ROOT / "docs" / "mine.md",
        parts={"ladder": [LADDER]},
        tables=[Table("ladder digits-b0c2", LADDER, baseline="er", columns={"last_mAP": "last mAP"})],
    )
    if __name__ == "__main__":
        STUDY.main(__doc__)

`python -m benchmarks.studies.mine ladder --seeds 5` carries the part out by `clsim.compare`; given again it goes on
where it was stopped. `... tables` puts the tables between the marks `<!-- table: ladder digits-b0c2 -->` and
`<!-- end -->` of the page, each with the dates of its runs. What has not been run keeps its table.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import clsim
from clsim.errors import ClsimError
from clsim.files import write_atomically
from clsim.launch.jobs import order_folder
from clsim.launch.progress import ConsoleProgress
from clsim.launch.variants import Variant, as_variants, compose
from clsim.report.intervals import half_width, paired_differences
from clsim.report.results import NO_VALUE, Results, joined, load_results
from clsim.running.logged_values import read_logged
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]
VOC_MINI = str(Path(__file__).with_name("voc-mini.yaml"))
VOC_THERE = (ROOT.parent / "shared" / "data" / "voc-mini").is_dir()
VALIDATED = {"dataset.validation": 0.25, "evaluation.on": "validation"}
"""Overrides of a comparison that chooses something."""

DIGITS = {"memory_rows": 0, "memory_bytes": 0, "memory_KL": 3, "more/low_rank": 3, "more/rank_correlation": 2}
"""Decimals of a column, where one is not enough."""
STEP = "step_ms"
VERSIONS = ("cpu", "python", "torch", "avalanche-lib", "numpy")


@dataclass(frozen=True)
class Compared:
    """One comparison of a study: strategies on one stream.

    Attributes:
        name: of its folder, and of the stream in tables.
        scenario: a shipped name, or a path.
        strategies: as in `clsim.compare`.
        overrides: keys of the scenario, and strategy.*; each run has one thread unless they say otherwise.
        order_seeds: seeds of the class order, each with every seed; needs `stream.order: seed`.
    """

    name: str
    scenario: str
    strategies: Sequence[Variant | str]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    order_seeds: Sequence[int] = ()

    def run(self, out: Path, seeds: Iterable[int], workers: int) -> clsim.Comparison:
        """Carry out what has no result yet; print which strategies are `refused`.

        Args:
            out: folder of the part.
        """
        refused = self.refused()
        for name, reason in refused.items():
            print(f"{self.name}/{name}: refused: {reason}")
        return clsim.compare(
            self.scenario,
            [variant for variant in as_variants(self.strategies) if _name(variant) not in refused],
            name=self.name,
            seeds=seeds,
            order_seeds=self.order_seeds,
            overrides={"threads": 1, **self.overrides},
            out=out,
            device="cpu",
            workers=workers,
            progress=ConsoleProgress(),
        )

    def names(self) -> list[str]:
        """Return the names of the strategies in order."""
        return [_name(variant) for variant in as_variants(self.strategies)]

    def refused(self) -> dict[str, str]:
        """Return the strategies that cannot be run on the stream: name -> reason."""
        overrides = {key: value for key, value in self.overrides.items() if not key.startswith("strategy.")}
        n_classes = load_scenario(self.scenario, overrides).plan().n_classes
        found = {}
        for variant in as_variants(self.strategies):
            try:
                config = load_scenario(self.scenario, {**overrides, **variant.overrides}).config
                compose([variant], {})[0].composition.check(config, n_classes)
            except ClsimError as error:
                found[_name(variant)] = str(error)
        return found

    def results(self, out: Path) -> Results | None:
        """Return the finished runs; None: there are none."""
        folder = out / self.name
        homes = [order_folder(folder, seed) for seed in self.order_seeds] or [folder]
        begun = [home for home in homes if any(home.glob(f"{SEED_FOLDERS}/{RunFolder.result}"))]
        return joined(folder, [load_results(home, self.names()) for home in begun]) if begun else None


@dataclass(frozen=True)
class Table:
    """A table of a page: one row per strategy of a comparison.

    Attributes:
        mark: its name in the page.
        compared: whose runs it shows.
        baseline: the strategy that all others are compared with, or strategy -> the one that it is compared with.
        columns: column of `Results.frame`, or tag of a value after the last task -> heading.
        paired: the columns whose differences to the baseline are shown, seed by seed.
        rows: names of the strategies; None: all of them.
        seeds: that each row should have; the table says what is missing of them. 0: it says nothing.
    """

    mark: str
    compared: Compared
    baseline: str | Mapping[str, str]
    columns: Mapping[str, str]
    paired: Sequence[str] = ("last_mAP",)
    rows: Sequence[str] | None = None
    seeds: int = 0

    def text(self, results: Results) -> str:
        """Return the table as Markdown, with what it was measured on and when, and what is missing."""
        known = self.compared.names() if self.rows is None else self.rows
        shown = [name for name in known if name in results.strategies]
        rows = table(frame(results, self.columns), shown, self.baseline, self.columns, self.paired)
        return "\n\n".join([rows, when(results), *self.missing(results)])

    def missing(self, results: Results | None) -> list[str]:
        """Return paragraphs: seeds without a run, failed runs and refused strategies; of None, that nothing was run."""
        if not self.seeds:
            return []
        names = self.compared.names() if self.rows is None else list(self.rows)
        if results is None:
            return [f"**Missing: all.** Nothing has been run of {len(names)} rows, seeds of each: {self.seeds}."]
        refused = self.compared.refused()
        possible = [name for name in names if name not in refused]
        absent: dict[int, list[str]] = {}
        for name in possible:
            count = self.seeds - len({run.seed for run in results.of(name)})
            if count > 0:
                absent.setdefault(count, []).append(name)
        said = {count: "all rows" if absent[count] == possible else _quoted(absent[count]) for count in sorted(absent)}
        seeds = [f"{count} of {self.seeds} seeds of {which}" for count, which in said.items()]
        ended = [run for run in results.unfinished if (run.folder / RunFolder.error).exists()]  # not: still running
        failed = [f"`{run.strategy}`, seed {run.seed}: {run.reason.partition('; go on with')[0]}" for run in ended]
        of_reason = {reason: [name for name in refused if refused[name] == reason] for reason in refused.values()}
        reasons = [f"{_quoted(names)}: {reason}" for reason, names in of_reason.items()]
        parts = {"Missing": seeds, "Failed or stopped": failed, "Refused": reasons}
        return [f"**{head}:** {'; '.join(lines)}." for head, lines in parts.items() if lines]


@dataclass(frozen=True)
class Study:
    """A page in docs, and the comparisons behind its tables.

    Attributes:
        page: whose tables are written.
        parts: name on the command line -> comparisons, carried out one seed of all before the next.
        tables: of the page; those of comparisons without runs are left as they are.
    """

    page: Path
    parts: Mapping[str, Sequence[Compared]]
    tables: Sequence[Table]

    def folder(self, out: Path, compared: Compared) -> Path:
        """Return the folder of the part that a comparison belongs to."""
        return out / next(part for part, members in self.parts.items() if compared in members)

    def carry_out(self, part: str, out: Path, seeds: int, workers: int, only: Sequence[str] = ()) -> list[str]:
        """Carry out a part, and return the failures, a line each.

        Args:
            only: names of comparisons; empty: all.
        """
        failures: dict[str, str] = {}
        for count in range(1, seeds + 1):
            for compared in self.parts[part]:
                if not only or compared.name in only:
                    done = compared.run(out / part, range(count), workers)
                    failures |= {str(folder): f"{folder}: {reason}" for folder, reason in done.failed.items()}
        return list(failures.values())

    def texts(self, out: Path) -> dict[str, str]:
        """Return every table of which there are runs, or that says what is missing, by its mark."""
        found = {}
        for each in self.tables:
            results = each.compared.results(self.folder(out, each.compared))
            if results is not None:
                found[each.mark] = each.text(results)
            elif each.seeds:
                found[each.mark] = "\n\n".join(each.missing(results))
        return found

    def main(self, description: str | None) -> None:
        """Carry out what the command line says."""
        name = Path(sys.argv[0]).stem
        parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
        parser.add_argument("part", choices=[*self.parts, "tables"])
        parser.add_argument("--out", type=Path, default=ROOT / "runs" / "studies" / name)
        parser.add_argument("--seeds", type=int, default=5, help="seeds 0 .. n-1")
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument("--only", nargs="*", default=[], help="names of comparisons")
        given = parser.parse_args()
        if not VOC_THERE:
            print("voc-mini is left out: ../shared/data/voc-mini is not here")
        if given.part == "tables":
            write_tables(self.page, self.texts(given.out))
            return
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            failures = self.carry_out(given.part, given.out, given.seeds, given.workers, given.only)
        except ClsimError as error:
            sys.exit(str(error))
        if failures:
            sys.exit("\n".join(failures))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _name(variant: Variant) -> str:
    """Return the name of a variant, composed only if it does not say it itself."""
    if variant.label is not None:
        return variant.label
    return variant.spec if not variant.settings and ".py" not in variant.spec else compose([variant], {})[0].name


def frame(results: Results, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return `Results.frame` with further columns.

    Args:
        columns: `STEP`, CPU milliseconds of training per batch of trained rows, replayed ones counted; else tags, whose
            values after the last task are shown where a run logged them.
    """
    found = results.frame
    if STEP in columns:
        sizes = [run.config["training"]["batch_size"] for run in results.runs]
        steps = found.samples_per_second * found.train_seconds / sizes
        cpu_seconds = found.get("train_cpu_seconds", math.nan)
        found[STEP] = 1000 * cpu_seconds / steps.where(steps > 0)  # 0: the method takes none
    for tag in columns:
        if tag not in found:
            found[tag] = [_last(run.files, tag) for run in results.runs]
    return found


def _last(files: RunFolder, tag: str) -> float:
    value = [line["values"] for line in read_logged(files) if line["phase"] == "eval"][-1].get(tag)
    return math.nan if value is None else float(value)


def interval(values: pd.Series) -> tuple[float, float]:
    """Return mean and half width of its 95 % interval by Student's t, of the values that are known."""
    known = values.dropna()
    return float(known.mean()), half_width(known)


def table(
    runs: pd.DataFrame,
    names: Sequence[str],
    baseline: str | Mapping[str, str],
    columns: Mapping[str, str],
    paired: Sequence[str] = ("last_mAP",),
) -> str:
    """Return a Markdown table: seeds, mean ± 95 % interval of each column, and the paired differences to `baseline`.

    Args:
        runs: one row per run, with the columns strategy and seed.
        names: of the strategies, a row each; the other arguments as in `Table`.
    """
    among = f"against {baseline}, " if isinstance(baseline, str) else ""
    heads = ["variant", "seeds", *columns.values(), *(f"{columns[column]} {among}paired" for column in paired)]
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for name in names:
        own = _by_pair(runs, name)
        cells = [_cell(*interval(own[column]), digits=DIGITS.get(column, 1)) for column in columns]
        base = baseline if isinstance(baseline, str) else baseline.get(name, name)
        other = _by_pair(runs, base)
        differences = [pd.Series(paired_differences(dict(own[column]), dict(other[column]))) for column in paired]
        against = [NO_VALUE if name == base else _cell(*interval(one), sign=True) for one in differences]
        lines.append([f"`{name}`", str(len(own)), *cells, *against])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _by_pair(runs: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """Return the runs of a strategy by seed and class order, by which runs are paired."""
    own = runs[runs.strategy == strategy]
    return own.set_index([own["seed"], own["order_seed"].fillna(-1)])


def when(results: Results) -> str:
    """Return a line that says when the runs began, and on what."""
    days = sorted({str(run.environment.get("started", ""))[:10] for run in results.runs} - {""})
    dates = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "undated"
    facts = []
    for key in VERSIONS:
        values = dict.fromkeys(str(run.environment[key]) for run in results.runs if key in run.environment)
        facts += [f"{key} {' and '.join(values)}"] if values else []
    return f"Runs of {', '.join([dates, *facts])}; plan `{results.stream_run.stream[:12]}`."


def write_tables(page: Path, found: Mapping[str, str]) -> None:
    """Put each table between the marks `<!-- table: name -->` and `<!-- end -->` of a page.

    A text without a table, which says that nothing has been run, does not take the place of one.
    """
    text = page.read_text(encoding="utf-8")
    for name, content in found.items():
        before, mark, rest = text.partition(f"<!-- table: {name} -->\n")
        old, end, after = rest.partition("<!-- end -->")
        if mark and end and ("| ---" in content or "| ---" not in old):
            text = f"{before}{mark}{content}\n{end}{after}"
    write_atomically(page, text)


def _cell(mean: float, half: float, digits: int = 1, sign: bool = False) -> str:
    if math.isnan(mean):
        return NO_VALUE
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(half) else f"{text} ± {half:.{digits}f}"
