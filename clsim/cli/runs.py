"""Commands that train: run, resume and compare."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clsim.cli import completion
from clsim.cli.options import (
    AddressOption,
    BaselineOption,
    DeviceOption,
    DryRunOption,
    EngineOption,
    GpusOption,
    GpusPerRunOption,
    OutOption,
    OverwriteOption,
    PerGpuOption,
    QuietOption,
    RetriesOption,
    RetryOption,
    ScenarioArgument,
    SetOption,
    SlurmOption,
    WorkersOption,
    engine_of,
    overrides,
    overrides_and_grid,
)
from clsim.cli.tables import print_table, say
from clsim.running.interruption import INTERRUPTED
from clsim.torchrun import this_process

if TYPE_CHECKING:
    from clsim.launch.comparison import Comparison
    from clsim.report.run_result import RunResult


def run(
    scenario: ScenarioArgument,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help="name of a strategy, several joined as lwf+er, or path/to/file.py:Class",
            autocompletion=completion.strategies,
        ),
    ],
    seed: Annotated[int, typer.Option(help="seed of the training")] = 0,
    settings: SetOption = [],  # noqa: B006  typer reads the default
    out: OutOption = Path("runs"),
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train one strategy on all tasks of a scenario."""
    from clsim.launch.single_run import run as run_one

    arguments: dict[str, Any] = {
        **{"overrides": overrides(settings), "out": out, "device": device},
        **{"overwrite": overwrite, "progress": not quiet},
    }
    if dry_run:
        _preview(scenario, [strategy], seeds=[seed], workers=1, continues=False, **arguments)
    else:
        _print_result(run_one(scenario, strategy, seed=seed, **arguments))


def resume(
    folder: Annotated[
        Path, typer.Argument(help="folder of a run, such as runs/digits-b0c2/er/seed0", metavar="RUN_DIR")
    ],
    device: Annotated[
        str | None,
        typer.Option("--device", help="a device of the same kind as before, such as cuda:1; default: as before"),
    ] = None,
    changed_code: Annotated[
        bool, typer.Option("--changed-code", help="execute the run's Python files even if they have changed since")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Continue an interrupted run from its last checkpoint."""
    from clsim.launch.single_run import resume as resume_one
    from clsim.running.run_folder import RunFolder

    if RunFolder(folder).finished:
        say(f"{folder}: already finished, nothing to resume")
        return
    _print_result(resume_one(folder, device=device, progress=not quiet, changed_code=changed_code))


def compare(
    scenario: Annotated[
        str,
        typer.Argument(
            help="path of a scenario or comparison file, or a shipped name",
            metavar="SCENARIO",
            autocompletion=completion.scenarios,
        ),
    ],
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            help="strategies, separated by commas: 'finetune, er(selection=herding) as herding, lwf+er'",
            autocompletion=completion.strategies,
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="training seeds: 0,1,2 or 0-4; default: 0")] = None,
    order_seeds: Annotated[
        str | None, typer.Option("--order-seeds", help="seeds of the class order: 0-4; needs stream.order: seed")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="name of the folder of the runs; default: the scenario's name")
    ] = None,
    workers: WorkersOption = None,
    share_first_task: Annotated[
        bool, typer.Option(help="train the first task once for all runs that share it; no number depends on it")
    ] = True,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="override a key; several values make a grid: training.epochs=5,10",
            metavar="KEY=VALUE[,VALUE]...",
        ),
    ] = [],  # noqa: B006
    out: OutOption = Path("runs"),
    device: DeviceOption = "auto",
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    gpus_per_run: GpusPerRunOption = None,
    retries: RetriesOption = None,
    slurm: SlurmOption = None,
    retry_out_of_memory: RetryOption = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="only write the run folders; clsim work executes them on any machine")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="train all runs again and replace existing ones, finished or not")
    ] = False,
    baseline: BaselineOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train several strategies on exactly the same stream and write a report.

    The same command continues an earlier comparison: it reuses finished runs and continues interrupted and failed runs
    from their last checkpoint. If a plugin's state cannot be saved, the run begins again. A folder with a run of other
    settings or other code is refused. The first Ctrl-C, SIGTERM or SIGHUP writes checkpoints and ends; a second Ctrl-C
    kills the runs.
    """
    from clsim.launch.arguments import parse_seeds
    from clsim.launch.comparison import ComparisonInterrupted
    from clsim.launch.comparison import compare as compare_all

    single, grid = overrides_and_grid(settings)
    arguments: dict[str, Any] = {
        "name": name,
        "seeds": None if seeds is None else parse_seeds(seeds, "--seeds"),
        "order_seeds": parse_seeds(order_seeds, "--order-seeds") if order_seeds else None,
        **{"overrides": single, "grid": grid, "out": out, "device": device, "workers": workers},
        "prepare_only": prepare,
        **{"gpus": gpus, "per_gpu": per_gpu, "retry_out_of_memory": retry_out_of_memory},
        "engine": engine_of(engine, address, gpus_per_run, retries, slurm),
        **{"overwrite": overwrite, "share_first_task": share_first_task, "progress": not quiet, "baseline": baseline},
    }
    if dry_run:
        _preview(scenario, strategies, **arguments)
        return
    interrupted = False
    try:
        comparison = compare_all(scenario, strategies, **arguments)
    except ComparisonInterrupted as stop:
        comparison, interrupted = stop.comparison, True
    if prepare and not interrupted:
        command = shlex.join(["clsim", "work", str(comparison.folder)])
        say(f"prepared: {len(comparison.interrupted)} runs; start on each machine: {command}")
        return
    again = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    _print_comparison(comparison, interrupted, again)


def work(
    home: Annotated[
        Path, typer.Argument(help="folder of a comparison that clsim compare --prepare has written", metavar="DIR")
    ],
    until_empty: Annotated[
        bool,
        typer.Option("--until-empty", help="wait for the runs of other workers, and take over runs that they lose"),
    ] = False,
    workers: WorkersOption = None,
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = None,
    retry_out_of_memory: RetryOption = False,
    quiet: QuietOption = False,
) -> None:
    """Execute prepared runs that no other worker has taken.

    Start any number of workers, on all machines that share the folder. Workers that see the last run end write the
    report.
    """
    from clsim.launch.comparison import ComparisonInterrupted
    from clsim.launch.work import work as work_on

    arguments: dict[str, Any] = {
        **{"until_empty": until_empty, "workers": workers, "gpus": gpus, "per_gpu": per_gpu},
        **{"retry_out_of_memory": retry_out_of_memory, "progress": not quiet},
    }
    interrupted = False
    try:
        comparison = work_on(home, **arguments)
    except ComparisonInterrupted as stop:
        comparison, interrupted = stop.comparison, True
    if comparison.interrupted and not interrupted:
        say(f"no run is left to take; {len(comparison.interrupted)} runs of other workers are not finished", err=True)
        return
    _print_comparison(comparison, interrupted, sys.argv[1:])


def _print_comparison(comparison: Comparison, interrupted: bool, again: list[str]) -> None:
    """Write the report and print what has become of the runs, then end with the exit code that says so.

    Args:
        again: arguments of the command that goes on.
    """
    report_page = comparison.report() if comparison.any_finished else None  # before anything that is only shown
    for folder, reason in comparison.failed.items():
        say(f"failed: {folder}: {reason}", err=True)
    if comparison.interrupted:
        say(f"interrupted: {len(comparison.interrupted)} runs are not finished", err=True)
    if comparison.failed or comparison.interrupted:
        say(f"to continue: {shlex.join(['clsim', *again])}", err=True)
    if report_page is not None:
        say(comparison.table())
        say(f"report: {report_page}")
        say(f"curves: clsim tensorboard {comparison.folder}")
    if interrupted or comparison.interrupted:
        raise typer.Exit(INTERRUPTED)
    if comparison.failed:
        raise typer.Exit(1)


def _preview(scenario: str, strategies: Any, continues: bool = True, **arguments: Any) -> None:
    """Print what a comparison with these arguments would do, or a run, which does not continue what is there."""
    from clsim.launch.comparison import preview
    from clsim.launch.replacement import refuse_taken

    shown = preview(scenario, strategies, **arguments)
    for folder in () if continues or arguments["overwrite"] else shown.states:
        refuse_taken(folder)
    print_table(("run", "what happens", "time"), shown.rows())
    say(f"{shown.summary()}; nothing was done")


def _print_result(run: RunResult) -> None:
    if this_process().rank:
        return  # the first of several ranks says it
    last, average = (_number(value) for value in (run.record.last_mAP, run.record.avg_mAP))
    say(f"{run.folder}: last mAP {last}, average {average}")
    if run.files.scores.is_file():
        size = run.files.scores.stat().st_size / 1e6
        say(f"scores: {run.files.scores} ({size:.2f} MB); for other metrics or thresholds: clsim evaluate {run.folder}")
    say(f"curves: clsim tensorboard {run.folder}")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"
