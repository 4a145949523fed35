"""The commands about what a run is made of: strategies, parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clsim.cli import completion
from clsim.cli.tables import print_table, say

if TYPE_CHECKING:
    from clsim.launch.part_listing import Listing


def strategies(
    name: Annotated[
        str | None,
        typer.Argument(
            help="show the options of this strategy: a name, lwf+er, or path/to/file.py:Class",
            autocompletion=completion.strategies,
        ),
    ] = None,
    bib: Annotated[bool, typer.Option("--bib", help="print the BibTeX entries of their papers")] = False,
) -> None:
    """List the strategies (methods) by family, or show the options of one."""
    from clsim.launch.part_listing import bibliography, list_parts, list_strategies

    if bib:
        say("\n\n".join(bibliography(name)) or "no source is stated")
        return
    _print(list_strategies() if name is None else list_parts("strategy", name))


def parts(
    kind: Annotated[
        str | None,
        typer.Argument(help="list the names of this kind: backbone, loss, ...", autocompletion=completion.kinds),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(help="show the options of this part: a name, or path/to/file.py:Name")
    ] = None,
) -> None:
    """List the kinds of parts that you can replace, the names of one kind, or the options of one part."""
    from clsim.launch.part_listing import list_parts

    _print(list_parts(kind, name))


def _print(shown: Listing) -> None:
    for line in shown.lines:
        say(line)
    if shown.rows:
        print_table(shown.headings, shown.rows)
    elif shown.headings:
        say("no options")
