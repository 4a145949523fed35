"""Text and tables on the console."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from clsim.errors import printable


def say(text: str, err: bool = False) -> None:
    """Print a text to standard output or error.

    Escape sequences, as in names from data, are shown and not obeyed. No-break spaces of tables become spaces.
    """
    typer.echo(printable(text.replace("\u00a0", " "), longest=None), err=err)


def print_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of text below their headings; 200 characters wide where standard output is no terminal.

    Names from data and files may hold escape sequences, which are shown, not obeyed.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
