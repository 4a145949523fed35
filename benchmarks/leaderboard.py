"""The leaderboard: every shipped method on small streams, as the page docs/leaderboard.md.

python -m benchmarks.leaderboard                            # what has no result yet, then the page
python -m benchmarks.leaderboard --streams board-online     # one stream
python -m benchmarks.leaderboard --methods er rebll         # some methods
python -m benchmarks.leaderboard --tables                   # the page from the runs that are there

Finished runs are taken as they stand if they are the same runs: same stream, method, seed, code and versions; those of
the ladder (`benchmarks.studies.zoo`) too, which are copied. Given again after it was stopped it goes on; the page then
says what is missing. One seed of all methods is run before the next.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

import pandas as pd

import clsim
from benchmarks.studies.methods import BOARD, LEFT_OUT, board
from benchmarks.studies.study import ROOT, VOC_MINI, VOC_THERE, interval, when, write_tables
from clsim import Variant
from clsim.errors import ClsimError, RunError, did_you_mean
from clsim.launch.comparison import preview
from clsim.launch.progress import ConsoleProgress
from clsim.launch.variants import compose
from clsim.report.facts import expected_rows, strategy_notes
from clsim.report.results import NO_VALUE, Results, load_results
from clsim.running.run_folder import SEED_FOLDERS, RunFolder
from clsim.scenario import load_scenario
from clsim.training.strategy_specs import accepts

PAGE = ROOT / "docs" / "leaderboard.md"
LADDER_RUNS = ROOT / "runs" / "studies" / "zoo"
SEEDS = 3
STOPPED = 130
"""Exit code of a program that Ctrl-C has ended."""
COLUMNS = {
    "last_mAP": ("last mAP", 1),
    "avg_mAP": ("avg mAP", 1),
    "forgetting": ("forgetting", 1),
    "CF1@0.5": ("CF1@0.5", 1),
    "memory_bytes": ("memory, bytes", 0),
    "train_cpu_seconds": ("train, CPU s", 1),
}
"""Column of `Results.frame` -> heading, decimals."""


@dataclass(frozen=True)
class Stream:
    """A stream of the leaderboard.

    Attributes:
        name: of the folder of its runs, and of its table in the page.
        scenario: a shipped name, or a path.
        overrides: keys of the scenario.
        options: of strategies, which every method that has them is given unless it sets them itself.
    """

    name: str
    scenario: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


STREAMS = [
    Stream("board-dense", "board-dense"),
    Stream("board-tail", "board-tail"),
    Stream("board-disjoint", "board-disjoint"),
    Stream("board-online", "board-online", options={"er.replay": "paired", "er.selection": "reservoir"}),
]
if VOC_THERE:
    STREAMS.append(Stream("voc-mini", VOC_MINI))


@dataclass(frozen=True)
class Methods:
    """What the methods of the board are on one stream.

    Attributes:
        runnable: by name.
        refused: name -> why the method cannot run on the stream.
        other: name -> in what the runs that are there are others than those asked for.
        failed: name -> why a run of the method has ended without a result.
    """

    runnable: Mapping[str, Variant]
    refused: Mapping[str, str]
    other: Mapping[str, str]
    failed: Mapping[str, str]


def name_of(variant: Variant) -> str:
    """Return the name of a method's folder and row."""
    return compose([variant], {})[0].name


def variants_on(stream: Stream, of: Iterable[str] | None = None) -> list[Variant]:
    """Return the methods of the board in the form that the backbone of a stream takes.

    Args:
        of: names of methods; None: all.
    """
    config = load_scenario(stream.scenario, stream.overrides).config
    return board(config.training.model.freeze == "backbone", of)


def sorted_out(stream: Stream, variants: Sequence[Variant], seeds: Sequence[int], runs: Path) -> Methods:
    """Return which methods can run on a stream, and which cannot; nothing is run or written.

    Args:
        runs: folder with the runs of all streams.
    """
    scenario = load_scenario(stream.scenario, {"threads": 1, **stream.overrides})
    runnable, refused, other = {}, {}, {}
    for variant in variants:
        name = name_of(variant)
        options = _fitting(stream, [variant])
        try:
            preview(scenario, variant, name=stream.name, seeds=seeds, overrides=options, out=runs, device="cpu")
        except RunError as error:
            other[name] = _without_place(str(error).partition("; use --overwrite")[0], runs / stream.name)
        except ClsimError as error:
            refused[name] = str(error)
            continue
        runnable[name] = variant
    failed = {name: reason for name, reason in _failed(runs / stream.name).items() if name in {*runnable} - {*other}}
    return Methods(runnable, refused, other, failed)


def _failed(folder: Path) -> dict[str, str]:
    """Return name -> first line of the error of each method with a run that failed; one that was stopped goes on."""
    found = {}
    for files in map(RunFolder, sorted(folder.glob(SEED_FOLDERS))):
        if files.error.is_file() and not files.result.exists():
            reason = files.error.read_text(encoding="utf-8").strip().partition("\n")[0]
            if not reason.startswith("interrupted"):
                found[files.strategy] = _without_place(reason, folder)
    return found


def _without_place(reason: str, folder: Path) -> str:
    """Return a reason without the place of the runs on this machine, which says nothing on a page."""
    return reason.replace(f"{folder}{os.sep}", "")


def _fitting(stream: Stream, variants: Sequence[Variant]) -> dict[str, Any]:
    """Return the options of a stream that at least one of the methods has."""
    return {
        f"strategy.{key}": value
        for key, value in stream.options.items()
        if any(accepts(variant.spec, key) for variant in variants)
    }


def take_over(stream: Stream, variants: Iterable[Variant], seeds: Sequence[int], runs: Path, ladder: Path) -> None:
    """Copy runs that the ladder has finished to where runs of the board have none.

    Args:
        ladder: folder of a study, `<part>/<comparison>/<method>/seed<k>`.
    """
    scenario = load_scenario(stream.scenario, {"threads": 1, **stream.overrides})
    for variant in variants:
        for comparison in sorted({path.parents[1] for path in ladder.glob(f"*/*/{escape(name_of(variant))}/seed*")}):
            found: Mapping[Path, str] = {}
            with suppress(RunError):  # a run of the ladder is another one
                options = _fitting(stream, [variant])
                place = {"name": comparison.name, "out": comparison.parent}
                found = preview(scenario, variant, seeds=seeds, overrides=options, device="cpu", **place).found
            for folder in (folder for folder, state in found.items() if state == "finished"):
                _copy(folder, runs / stream.name / folder.parent.name / folder.name)


def _copy(folder: Path, target: Path) -> None:
    """Copy a folder whole or not at all to where there is none."""
    if not target.exists():
        part = target.with_name(f".{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder, part)
        part.rename(target)


def carry_out(
    stream: Stream, variants: Sequence[Variant], seeds: Sequence[int], runs: Path, workers: int, replace: bool = False
) -> None:
    """Train methods with seeds where there is no finished run yet; runs that fail stand in the page.

    Args:
        replace: train all of them anew.
    """
    if not variants:
        return
    clsim.compare(
        stream.scenario,
        variants,
        name=stream.name,
        seeds=seeds,
        overrides={"threads": 1, **stream.overrides, **_fitting(stream, variants)},
        out=runs,
        device="cpu",
        workers=workers,
        overwrite=replace,
        progress=ConsoleProgress(),
    )


def results_of(stream: Stream, runs: Path) -> Results | None:
    """Return the finished runs on a stream; None: there are none."""
    folder = runs / stream.name
    return load_results(folder) if any(folder.glob(f"{SEED_FOLDERS}/{RunFolder.result}")) else None


def text(results: Results | None, methods: Methods, seeds: int) -> str:
    """Return what the page says of one stream, as Markdown: table, published rows, what is missing and why.

    Args:
        results: the finished runs; None: there are none.
        seeds: how many each method should have.
    """
    known = set(methods.runnable) - set(methods.other)
    shown = [] if results is None else [name for name in results.strategies if name in known]
    missing = [name for name in methods.runnable if name in known - {*shown, *methods.failed}]
    parts = []
    if results is not None and shown:
        parts += [_table(results, shown, seeds), when(results) + _longest(results, shown)]
        parts += _published(results, shown)
    else:
        parts.append("No method has a finished run on this stream yet.")
    if missing:
        parts.append(f"**Not run yet**: {', '.join(f'`{name}`' for name in missing)}.")
    parts += _listed("Failed", methods.failed)
    parts += _listed("Not shown, because the runs that are there are others", methods.other)
    parts += _listed("Cannot run on this stream", methods.refused)
    return "\n\n".join(parts)


def _table(results: Results, names: Sequence[str], seeds: int) -> str:
    """Return one row per method, the best last mAP first."""
    frame, notes = results.frame.reindex(columns=["strategy", *COLUMNS]), strategy_notes(results)
    rows = {name: frame[frame.strategy == name] for name in names}
    order = sorted(names, key=lambda name: (-rows[name]["last_mAP"].mean(), name))
    lines = [["method", "seeds", *(heading for heading, _ in COLUMNS.values())]]
    lines.append(["---"] + ["---:"] * (len(lines[0]) - 1))
    for name in order:
        own = rows[name]
        label = f"`{name}`" + (f" ({notes[name][0]})" if name in notes else "")
        count = f"{len(own)} of {seeds}" if len(own) < seeds else str(len(own))
        cells = [_cell(own[column], digits) for column, (_, digits) in COLUMNS.items()]
        lines.append([label, count, *cells])
    return _markdown(lines)


def _cell(values: pd.Series, digits: int) -> str:
    """Return mean ± half width of the 95 % interval; the mean alone where there is no spread, or only one value."""
    mean, half = interval(values)
    if pd.isna(mean):
        return NO_VALUE
    shown = round(mean, digits) + 0.0  # no "-0.0"
    return f"{shown:,.{digits}f}" + (f" ± {half:,.{digits}f}" if half > 0 else "")


def _longest(results: Results, names: Sequence[str]) -> str:
    """Return a sentence that says which run has trained longest; in CPU time, which other work hardly changes.

    Nothing where no run has noted its CPU time.
    """
    runs = results.frame.reindex(columns=["strategy", "seed", "train_cpu_seconds"]).dropna()
    runs = runs[runs.strategy.isin(names)]
    if runs.empty:
        return ""
    longest = runs.loc[runs.train_cpu_seconds.idxmax()]
    return (
        f" Longest run: `{longest.strategy}`, seed {longest.seed}, {longest.train_cpu_seconds:.1f} CPU s of training."
    )


def _published(results: Results, names: Sequence[str]) -> list[str]:
    """Return the published rows of the stream's protocol beside ours; none if the scenario quotes none."""
    rows = [row for row in expected_rows(results) if row["kind"] == "published"]
    if not rows:
        return []
    lines = [["method", "metric", "published", "ours", "source"], ["---", "---", "---:", "---:", "---"]]
    for row in rows:
        ours = row["ours"] if row["strategy"] in names else NO_VALUE
        lines.append([f"`{row['strategy']}`", row["metric"], row["value"], ours, row["source"]])
    return ["Published rows of the same protocol:", _markdown(lines)]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _listed(heading: str, reasons: Mapping[str, str]) -> list[str]:
    """Return a heading and a line per reason, with the methods that it holds for; nothing without reasons."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(" ".join(reason.split()), []).append(f"`{name}`")
    lines = [f"* {', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    return [f"**{heading}**:\n\n" + "\n".join(lines)] if lines else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "leaderboard", help="folder of the runs")
    parser.add_argument("--ladder", type=Path, default=LADDER_RUNS, help="runs of the ladder that are taken over")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds 0 .. n-1")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--streams", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these are run; the page has all")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    parser.add_argument("--replace", action="store_true", help="train runs anew that are there but are others")
    given = parser.parse_args(arguments)
    streams = [stream for stream in STREAMS if stream.name in _chosen(given.streams, [one.name for one in STREAMS])]
    methods = _chosen(given.methods, [one.name for one in BOARD])
    if not VOC_THERE:
        print("voc-mini is left out: ../shared/data/voc-mini is not here")
    os.environ["OMP_NUM_THREADS"] = "1"
    stopped = False
    try:
        if not given.tables:
            _carry_out_all(streams, methods, given)
    except KeyboardInterrupt:
        stopped = True
    except ClsimError as error:
        sys.exit(str(error))
    _write(streams, given)
    if stopped:
        print("stopped; the same command goes on")
        sys.exit(STOPPED)


def _carry_out_all(streams: Sequence[Stream], names: Sequence[str], given: argparse.Namespace) -> None:
    """Carry out one seed of all streams before the next.

    Raises:
        RunError: other runs are there, and are not to be replaced.
    """
    found = [sorted_out(stream, variants_on(stream, names), range(given.seeds), given.runs) for stream in streams]
    texts = [text for methods in found for text in methods.other.values()]
    if texts and not given.replace:
        raise RunError("\n".join([*texts, "--replace trains these anew, another --runs keeps them"]))
    for stream, methods in zip(streams, found, strict=True):
        other = [methods.runnable[name] for name in methods.other]
        carry_out(stream, other, range(given.seeds), given.runs, given.workers, replace=True)
        take_over(stream, methods.runnable.values(), range(given.seeds), given.runs, given.ladder)
    for count in range(1, given.seeds + 1):
        for stream, methods in zip(streams, found, strict=True):
            carry_out(stream, list(methods.runnable.values()), range(count), given.runs, given.workers)
            _write([stream], given)


def _write(streams: Sequence[Stream], given: argparse.Namespace) -> None:
    """Write what there is of streams into the page."""
    try:
        texts = {
            stream.name: text(
                results_of(stream, given.runs),
                sorted_out(stream, variants_on(stream), range(given.seeds), given.runs),
                given.seeds,
            )
            for stream in streams
        }
    except ClsimError as error:
        sys.exit(str(error))
    write_tables(given.page, texts)


def _chosen(given: Sequence[str] | None, allowed: Sequence[str]) -> Sequence[str]:
    """Return what was given, or all; a name that is not allowed ends the program."""
    for name in given or ():
        if name not in allowed:
            text = LEFT_OUT.get(name, f"allowed: {', '.join(allowed)}")
            sys.exit(f"given {name!r}{did_you_mean(name, allowed)}; {text}")
    return given or allowed


if __name__ == "__main__":
    main()
