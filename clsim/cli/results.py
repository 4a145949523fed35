"""Commands that show finished runs: report and tensorboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clsim.cli.options import BaselineOption
from clsim.cli.tables import say


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="folder of a comparison, such as runs/digits-b0c2, or several of the same stream", metavar="DIR..."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to write to; default: DIR; required for several")
    ] = None,
    baseline: BaselineOption = None,
    sections: Annotated[list[str], typer.Option("--section", help="add your own section", metavar="FILE.py:NAME")] = [],  # noqa: B006
) -> None:
    """Write report.html of the runs in a folder, and its tables as CSV, Markdown and LaTeX.

    The runs of several folders go into one report if they have the same stream.
    """
    from clsim.report.writing import write_report

    say(f"report: {write_report(folders, out, baseline=baseline, sections=sections)}")


def tensorboard(
    folder: Annotated[Path, typer.Argument(help="folder of runs, a comparison or a run", metavar="DIR")] = Path("runs"),
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="port; default: the first free one from 6006 on")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="address to listen on; 0.0.0.0 admits other machines")
    ] = "localhost",
) -> None:
    """Show the curves of the runs in a folder in TensorBoard, until Ctrl-C."""
    from threading import Event

    from clsim.report.tensorboard_server import FIRST_PORT, links, port_of, runs_below, start

    runs = runs_below(folder)
    address = start(folder, host, port)
    if port is None and port_of(address) != FIRST_PORT:
        say(f"port {FIRST_PORT} is in use; the next free one is {port_of(address)}", err=True)
    say(f"TensorBoard on {len(runs)} runs in {folder}: {address} (Ctrl-C ends it)")
    for name, link in links(address, folder, runs).items():
        say(f"{name}: {link}")
    try:
        Event().wait()
    except KeyboardInterrupt:
        say("ended", err=True)
