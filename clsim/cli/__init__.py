"""The command line. Every command is a thin layer over the Python API."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

import clsim
from clsim.children import SAFE_PATH, end_at_once
from clsim.cli import data, evaluation, models, parts, results, runs, scenarios, tuning
from clsim.cli.tables import say
from clsim.errors import ClsimError, storage_errors
from clsim.running.interruption import INTERRUPTED, ended_by_signals
from clsim.standard_streams import lost_output, make_lossy
from clsim.torchrun import this_process


class _Commands(typer.core.TyperGroup):
    """Commands that say why they were interrupted; typer itself drops the text of a KeyboardInterrupt."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            say(_of_rank(str(stop) or "interrupted"), err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="clsim",
    cls=_Commands,
    help="Continual-learning simulator for multi-label streams with partial labels.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for command in (
    *(runs.run, runs.resume, runs.compare, runs.work, tuning.tune),
    *(scenarios.init, scenarios.plan, scenarios.schema, scenarios.scenarios, parts.strategies, parts.parts),
    *(evaluation.evaluate, results.report, results.tensorboard, models.predict, models.export, data.make_dataset),
):
    app.command()(command)
app.command("import")(data.import_export)

data_app = typer.Typer(help="Data sets on disk.", no_args_is_help=True)
data_app.command("check")(data.check_data)
app.add_typer(data_app, name="data")


def _show_version(asked: bool) -> None:
    if asked:
        say(f"clsim {clsim.__version__}")
        raise typer.Exit


@app.callback()
def _of_no_command(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and exit", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command of `sys.argv`.

    Exit codes: 0 done, 1 a run of a comparison failed, 2 an error of input or of the disk in one clear text, 130 asked
    to stop. Standard output and error may be lost without consequence for what a command does. DECIDED: the code says
    what became of it, and a closed pipe is no error; only if all went well and standard output could not be written
    for another reason, such as a full device, it is 2.
    """
    make_lossy()
    os.environ.update(SAFE_PATH)
    ends = _QuickEnd()
    if getattr(sys.modules["__main__"], "main", None) is main:  # not called by a program that goes on
        atexit.register(ends)  # before anybody else, so that it is called after all others
    try:
        _invoke()
    except SystemExit as end:
        ends.code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def _of_rank(text: str) -> str:
    """Return what a process says, with its rank if it is another than the first."""
    return f"rank {rank}: {text}" if (rank := this_process().rank) else text


class _QuickEnd:
    """Ends this process with the code that its command has ended with; 1: by an exception that nobody has caught."""

    def __init__(self) -> None:
        self.code = 1

    def __call__(self) -> None:
        end_at_once(self.code)


def _invoke() -> None:
    try:
        with ended_by_signals(), storage_errors(Path.cwd()):
            app(prog_name="clsim")
    except ClsimError as error:
        say(_of_rank(str(error)), err=True)
        sys.exit(2)
    except SystemExit as end:
        if not end.code and (reason := lost_output()) is not None:
            say(f"standard output: {reason}", err=True)
            sys.exit(2)
        raise
