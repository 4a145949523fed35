"""The command line. Every command is a thin layer over the Python API."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from clsim.children import SAFE_PATH
from clsim.errors import ClsimError, did_you_mean, storage_errors
from clsim.running.interruption import INTERRUPTED, ended_by_signals
from clsim.standard_streams import lost_output, make_lossy
from clsim.vocabulary import GROUPS

if TYPE_CHECKING:
    from clsim.data.check import SplitCheck
    from clsim.report.results import RunResult


class _Commands(typer.core.TyperGroup):
    """Commands that say why they were interrupted; typer itself drops the text of a KeyboardInterrupt."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            typer.echo(str(stop) or "interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="clsim",
    cls=_Commands,
    help="Continual-learning simulator for multi-label streams with partial labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="Data sets on disk.", no_args_is_help=True)
app.add_typer(data_app, name="data")

ScenarioArgument = Annotated[str, typer.Argument(help="path of a scenario file, or a shipped name", metavar="SCENARIO")]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="override a key: training.epochs=2 or strategy.lwf.weight=0.5", metavar="KEY=VALUE"),
]
OutOption = Annotated[Path, typer.Option("--out", help="where run folders go")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda")]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", help="the others are compared with it, seed by seed; default: finetune, else the first"),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="replace run folders that are there")]


@app.command()
def run(
    scenario: ScenarioArgument,
    strategy: Annotated[str, typer.Option("--strategy", help="a name, lwf+er, or path/to/file.py:Class")],
    seed: Annotated[int, typer.Option(help="training seed")] = 0,
    settings: SetOption = [],  # noqa: B006  typer reads the default
    out: OutOption = Path("runs"),
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Train one strategy through a scenario."""
    from clsim.launch.progress import ConsoleProgress
    from clsim.launch.single_run import run as run_one

    result = run_one(
        scenario,
        strategy,
        seed=seed,
        overrides=_overrides(settings),
        out=out,
        device=device,
        overwrite=overwrite,
        progress=ConsoleProgress(),
    )
    _print_result(result)


@app.command()
def resume(
    folder: Annotated[
        Path, typer.Argument(help="folder of a run, such as runs/digits-b0c2/er/seed0", metavar="RUN_DIR")
    ],
) -> None:
    """Go on with an interrupted run from its last checkpoint."""
    from clsim.launch.progress import ConsoleProgress
    from clsim.launch.single_run import resume as resume_one
    from clsim.running.folder import is_finished

    if is_finished(folder):
        typer.echo(f"{folder}: is finished, nothing to resume")
        return
    _print_result(resume_one(folder, progress=ConsoleProgress()))


@app.command()
def compare(
    scenario: ScenarioArgument,
    strategies: Annotated[str, typer.Option("--strategies", help="comma-separated: finetune,er,lwf+er")],
    seeds: Annotated[str, typer.Option("--seeds", help="comma-separated training seeds")] = "0",
    order_seeds: Annotated[
        str, typer.Option("--order-seeds", help="comma-separated seeds of the class order; needs stream.order: seed")
    ] = "",
    workers: Annotated[int | None, typer.Option("--workers", help="runs at a time; default: as cores allow")] = None,
    share_first_task: Annotated[
        bool, typer.Option(help="train a first task that several runs have in common once; no number depends on it")
    ] = True,
    settings: SetOption = [],  # noqa: B006
    out: OutOption = Path("runs"),
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="train all runs anew and replace those that are there, finished or not")
    ] = False,
    baseline: BaselineOption = None,
) -> None:
    """Train several strategies on exactly the same stream and report on them.

    The same command again continues: finished runs are reused, interrupted and failed ones go on from their last
    checkpoint; one with a plugin whose state cannot be saved begins again. A folder that holds a run with other
    settings or of other code is refused. Ctrl-C once writes checkpoints and ends, twice kills. SIGTERM and SIGHUP do as
    one Ctrl-C.
    """
    from clsim.launch.comparison import ComparisonInterrupted
    from clsim.launch.comparison import compare as compare_all
    from clsim.launch.progress import ConsoleProgress

    interrupted = False
    try:
        comparison = compare_all(
            scenario,
            strategies,
            seeds=_seeds("--seeds", seeds),
            order_seeds=_seeds("--order-seeds", order_seeds) if order_seeds else (),
            overrides=_overrides(settings),
            out=out,
            device=device,
            workers=workers,
            overwrite=overwrite,
            share_first_task=share_first_task,
            progress=ConsoleProgress(),
            baseline=baseline,
        )
    except ComparisonInterrupted as stop:
        comparison, interrupted = stop.comparison, True
    report_page = comparison.report() if comparison.any_finished else None  # before anything that is only shown
    for folder, reason in comparison.failed.items():
        typer.echo(f"failed: {folder}: {reason}", err=True)
    if comparison.interrupted:
        typer.echo(f"interrupted: {len(comparison.interrupted)} runs are not finished", err=True)
    if comparison.failed or comparison.interrupted:
        again = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
        typer.echo(f"to go on: {shlex.join(['clsim', *again])}", err=True)
    if report_page is not None:
        typer.echo(comparison.table())
        typer.echo(f"report: {report_page}")
        typer.echo(f"curves: clsim tensorboard {comparison.folder}")
    if interrupted or comparison.interrupted:
        raise typer.Exit(INTERRUPTED)
    if comparison.failed:
        raise typer.Exit(1)


@app.command()
def plan(
    scenario: ScenarioArgument,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    settings: SetOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", help="also write the whole plan to this .json.gz file")] = None,
) -> None:
    """Show what a scenario streams: tasks, classes, images, missing labels, groups and the plan's hash."""
    from clsim.files import write_atomically
    from clsim.scenario import load_scenario
    from clsim.scenario.plan.planning import describe

    loaded = load_scenario(scenario, _scenario_only(settings))
    stream = loaded.plan()
    content = {"scenario": loaded.name, **describe(stream, loaded.truth())}
    if out is not None:
        write_atomically(out, stream.to_bytes())
    if as_json:
        typer.echo(json.dumps(content, indent=1))
    else:
        _print_plan(content)


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from clsim.scenario.schema import ScenarioConfig

    typer.echo(json.dumps(ScenarioConfig.model_json_schema(), indent=1))


@app.command()
def scenarios() -> None:
    """List the scenarios that come with clsim."""
    from clsim.scenario import load_scenario, shipped_scenarios

    rows = []
    for name in shipped_scenarios():
        config = load_scenario(name).config
        stream = f"B{config.stream.base}-C{config.stream.increment}"
        rows.append((name, config.dataset.name, stream, str(config.labels.visible), config.source))
    _print_table(("name", "data", "stream", "visible labels", "source"), rows)


@app.command()
def strategies(
    name: Annotated[
        str | None, typer.Argument(help="show the options of one: a name, lwf+er, or path/to/file.py:Class")
    ] = None,
) -> None:
    """List the strategies, or the options of one."""
    from clsim.training.composition import parts_of, registered, strategy_class

    if name is None:
        _print_table(("name", "what it does"), [(key, _first_line(strategy_class(key))) for key in registered()])
        return
    rows = []
    for part, kind in parts_of(name).items():
        typer.echo(f"{part}: {_first_line(kind)}")
        if kind.made_of:
            typer.echo(f"made of {'+'.join(kind.made_of)}; its options are those of its parts")
        fields = kind.Options.model_json_schema(by_alias=False).get("properties", {})
        rows += [
            (f"strategy.{part}.{key}", _allowed(field), json.dumps(field.get("default")), field.get("description", ""))
            for key, field in fields.items()
        ]
    if rows:
        _print_table(("option", "allowed", "default", "meaning"), rows)
    else:
        typer.echo("no options")


@app.command()
def parts(
    kind: Annotated[str | None, typer.Argument(help="show the names of one kind: backbone, loss, ...")] = None,
    name: Annotated[str | None, typer.Argument(help="show the options of one: a name, or path/to/file.py:Name")] = None,
) -> None:
    """List the kinds of parts that you can bring, the names of a kind, or the options of a part."""
    from clsim.launch.part_listing import list_parts

    shown = list_parts(kind, name)
    for line in shown.lines:
        typer.echo(line)
    if shown.rows:
        _print_table(shown.headings, shown.rows)
    elif name is not None:
        typer.echo("no options")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="folder of a comparison, such as runs/digits-b0c2", metavar="DIR")],
    out: Annotated[Path | None, typer.Option("--out", help="where to write; default: DIR")] = None,
    baseline: BaselineOption = None,
    sections: Annotated[
        list[str], typer.Option("--section", help="show a section of your own too", metavar="FILE.py:NAME")
    ] = [],  # noqa: B006
) -> None:
    """Write report.html of the runs in a folder, and its tables as CSV, Markdown and LaTeX."""
    from clsim.report.writing import write_report

    typer.echo(f"report: {write_report(folder, out, baseline=baseline, sections=sections)}")


@app.command()
def tensorboard(
    folder: Annotated[Path, typer.Argument(help="runs, a comparison or one run", metavar="[DIR]")] = Path("runs"),
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="default: the first free one from 6006 on")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="0.0.0.0 lets other machines in")] = "localhost",
) -> None:
    """Show the curves of the runs in a folder in TensorBoard, until Ctrl-C."""
    from threading import Event

    from clsim.report.tensorboard_server import FIRST_PORT, port_of, runs_below, start

    runs = runs_below(folder)
    address = start(folder, host, port)
    if port is None and port_of(address) != FIRST_PORT:
        typer.echo(f"port {FIRST_PORT} is in use; the next free one is {port_of(address)}", err=True)
    typer.echo(f"TensorBoard on {len(runs)} runs in {folder}: {address} (Ctrl-C ends it)")
    try:
        Event().wait()
    except KeyboardInterrupt:
        typer.echo("ended", err=True)


@app.command("make-dataset")
def make_dataset(
    name: Annotated[str, typer.Argument(help="digits, or a data set you have: voc, coco, manifest", metavar="NAME")],
    format: Annotated[str, typer.Option("--format", help="layout of the folder: voc, coco or manifest")],
    out: Annotated[Path, typer.Option("--out", help="folder to write; it must be empty or new")],
    size: Annotated[int, typer.Option("--size", help="side of the images in pixels")] = 32,
    settings: Annotated[
        list[str], typer.Option("--set", help="option of the data set: dataset.train=200", metavar="KEY=VALUE")
    ] = [],  # noqa: B006
) -> None:
    """Write a data set as a folder of JPEG files and annotations, for clsim and for other tools."""
    from clsim.data.export import WRITERS
    from clsim.scenario import open_dataset

    if format not in WRITERS:
        hint = did_you_mean(format, WRITERS)
        raise ClsimError(f"--format: given {format!r}, allowed: {', '.join(WRITERS)}{hint}")
    if out.is_dir() and any(out.iterdir()):
        raise ClsimError(f"{out}: there already and not empty; name another folder")
    source = open_dataset(name, settings)
    written = WRITERS[format](source, out, size)
    typer.echo(f"written: {written}; in a scenario:")
    typer.echo(f"dataset: {json.dumps(_as_dataset(format, written, source.class_names))}")


def _as_dataset(format: str, written: Path, class_names: Sequence[str]) -> dict[str, Any]:
    if format == "manifest":
        return {"name": format, "file": str(written.absolute()), "label_columns": "rest"}
    own = {"class_names": list(class_names)} if format == "voc" else {}
    return {"name": format, "root": str(written.absolute()), **own}


@data_app.command("check")
def check_data(
    scenario: ScenarioArgument,
    settings: SetOption = [],  # noqa: B006
    decode: Annotated[bool, typer.Option(help="decode every image, or only see that the files are there")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Read the labels and images of a scenario's data set and say what was found; exit code 2 if a run would fail."""
    from clsim.data.check import check_source, first_problem
    from clsim.scenario import load_scenario

    loaded = load_scenario(scenario, _scenario_only(settings))
    with loaded.located():
        checks = check_source(loaded.source, decode)
        names = loaded.source.class_names
        if as_json:
            content = {"scenario": loaded.name, "dataset": loaded.config.dataset.name}
            typer.echo(json.dumps(content | {check.split: check.summary(names) for check in checks}, indent=1))
        else:
            _print_checks(names, checks)
        if (problem := first_problem(loaded.source, checks)) is not None:
            raise problem


def _print_result(run: RunResult) -> None:
    last, average = (_number(value) for value in (run.record.last_mAP, run.record.avg_mAP))
    typer.echo(f"{run.folder}: last mAP {last}, avg {average}")
    typer.echo(f"curves: clsim tensorboard {run.folder}")


def _overrides(settings: list[str]) -> dict[str, Any]:
    from clsim.scenario.document import parse_assignment

    return dict(parse_assignment(text) for text in settings)


def _scenario_only(settings: list[str]) -> list[str]:
    return [text for text in settings if not text.startswith("strategy.")]


def _seeds(option: str, text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ClsimError(f"{option} {text}: expected whole numbers joined with commas, such as 0,1,2") from None


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _allowed(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " | ".join(_allowed(form) for form in field["anyOf"])
    limits = [f"{sign} {field[key]}" for key, sign in _LIMITS.items() if key in field]
    return " ".join([str(field.get("type", "")), *limits]).strip()


_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _print_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def _print_plan(content: dict[str, Any]) -> None:
    rows = [
        (
            str(task["index"]),
            ", ".join(task["classes"]),
            str(task["train_images"]),
            str(task["test_images"]),
            " ".join(f"{name}:{count}" for name, count in task["positives"].items()),
            f"{task['hidden_positives']} of {task['hidden_labels']}",
        )
        for task in content["tasks"]
    ]
    _print_table(("task", "classes", "images", "test images", "positives", "missing labels: positive of all"), rows)
    groups = content["groups"]
    for name in GROUPS:
        typer.echo(f"{name}: {', '.join(groups[name])}")
    typer.echo(f"positives of the commonest class / of the rarest: {groups['imbalance'] or 'a class has none'}")
    typer.echo(f"groups by {groups['rule']}; {content['train_images']} training images in {content['train_rows']} rows")
    typer.echo(f"sha256: {content['sha256']}")


def _print_checks(class_names: Sequence[str], checks: Sequence[SplitCheck]) -> None:
    from clsim.data.check import MOST_SHOWN

    headings = [f"{check.split}: {what}" for check in checks for what in ("positive", "not annotated")]
    counts = [count for check in checks for count in (check.positives, check.not_annotated)]
    rows = [(name, *(str(count[column]) for count in counts)) for column, name in enumerate(class_names)]
    _print_table(("class", *headings), rows)
    for check in checks:
        typer.echo(f"{check.split}: {check.images} images, {check.without_positive} of them show no class")
        if not check.files:
            typer.echo(f"{check.split}: images are made in memory")
            continue
        found = check.files - len(check.missing)
        typer.echo(f"{check.split}: {found} of {check.files} image files found, {check.bytes / 1e6:.1f} MB")
        if len(check.sizes):
            (left, low), (right, high) = check.sizes.min(axis=0), check.sizes.max(axis=0)
            typer.echo(f"{check.split}: {len(check.sizes)} decoded, {left} to {right} px wide, {low} to {high} px high")
        if check.skipped:
            typer.echo(f"{check.split}: {len(check.skipped)} cannot be decoded and are left out of the stream:")
            shown, rest = check.skipped[:MOST_SHOWN], len(check.skipped) - MOST_SHOWN
            typer.echo("\n".join([*(f"  {problem}" for problem in shown), *[f"  and {rest} more images"] * (rest > 0)]))


def main() -> None:
    """Run the command of `sys.argv`.

    Exit codes: 0 done, 1 a run of a comparison failed, 2 an error of input or of the disk in one clear text, 130 asked
    to stop. Standard output and error may be lost without consequence for what a command does. DECIDED: the code says
    what became of it, and a closed pipe is no error; only if all went well and standard output could not be written
    for another reason, such as a full device, it is 2.
    """
    make_lossy()
    os.environ.update(SAFE_PATH)
    try:
        with ended_by_signals(), storage_errors(Path.cwd()):
            app()
    except ClsimError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except SystemExit as end:
        if not end.code and (reason := lost_output()) is not None:
            typer.echo(f"standard output: {reason}", err=True)
            sys.exit(2)
        raise


if __name__ == "__main__":
    main()
