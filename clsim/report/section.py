"""Sections of the report that do not belong to it: of a strategy, of another package, or of a file.

A section is made by a function of `Results`, which returns a `Section`, or None where the runs have nothing to show.
The report asks the functions that the strategies of the runs name, those of the entry points in GROUP, and those that
the user names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

from markupsafe import Markup

from clsim.errors import ClsimError, RunError
from clsim.part_kinds import KINDS
from clsim.parts import entry_points_of, find, is_file
from clsim.report.results import Results
from clsim.report.tables import Rows
from clsim.training.strategy_specs import registered, report_section, strategy_class

KIND = "report-section"
GROUP = KINDS[KIND].group

log = logging.getLogger("clsim")


@dataclass(frozen=True)
class Table:
    """A table of a section; it is in the page, in results.md and in results.tex.

    Attributes:
        title: names the table.
        rows: heading first; the first cell of a row may be the name of a strategy.
        caption: what is needed to read it.
    """

    title: str
    rows: Rows
    caption: str = ""

    def __post_init__(self) -> None:
        if len(self.rows) < 1 or len({len(row) for row in self.rows}) != 1:
            raise ValueError(f"table {self.title!r}: expected a heading and rows of as many cells")
        if not all(isinstance(cell, str) for row in self.rows for cell in row):
            raise ValueError(f"table {self.title!r}: every cell must be text")


@dataclass(frozen=True)
class Figures:
    """Pictures that stand beside each other over one caption.

    Attributes:
        name: identifies them in the page: letters, digits and -.
        drawn: heading, which may be the name of a strategy, and SVG, as `clsim.report.figures.as_svg` returns it.
        caption: what is needed to read them.
        strategies: the strategies of a legend above them; empty: no such legend.
        marks: further entries of the legend: name, glyph and CSS colour.
        wide: fewer stand in a line.
    """

    name: str
    drawn: Sequence[tuple[str, Markup]]
    caption: str = ""
    strategies: Sequence[str] = ()
    marks: Sequence[tuple[str, str, str]] = ()
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """What a section shows; text is shown as it is, not as HTML.

    Attributes:
        name: identifies it in the page: letters, digits and -.
        title: its heading.
        parts: text, tables and figures, in their order.
        link: its name in the list of sections at the top; "": the title.
        alarms: sentences on what went wrong in runs, which stand out.
        alarm: what the top of the page says if there are any.
    """

    name: str
    title: str
    parts: Sequence[str | Table | Figures] = ()
    link: str = ""
    alarms: Sequence[str] = ()
    alarm: str = ""

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum() or not self.title:
            raise ValueError(f"section {self.name!r}: expected a name of letters, digits and -, and a title")
        for part in self.parts:
            if not isinstance(part, str | Table | Figures):
                raise ValueError(f"section {self.name!r}: {type(part).__name__} is no text, Table or Figures")

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [part for part in self.parts if isinstance(part, Table)]


Maker = Callable[[Results], Section | None]


@dataclass(frozen=True)
class Sections:
    """The sections of one report.

    Attributes:
        shown: those that have something to show.
        problems: a sentence for each section that could not be made, which must not cost the rest of the report.
    """

    shown: list[Section] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def load_makers(given: Sequence[str]) -> dict[str, Maker]:
    """Return the function behind each reference: `path/to/file.py:name`, a name, or `package.module:name`.

    Raises:
        ClsimError: there is none.
    """
    return {reference: _loaded(reference) for reference in given}


def make_sections(results: Results, given: Mapping[str, Maker]) -> Sections:
    """Make the sections of installed packages and strategies, then those that were given; each function once."""
    shown: dict[str, Section] = {}
    problems = []
    for reference, make in {**_installed(results), **given}.items():
        try:
            found = make(results)
            if found is not None and not isinstance(found, Section):
                raise TypeError(f"returned {type(found).__name__}, expected clsim.report.section.Section or None")
            if found is not None and found.name in shown:
                raise ValueError(f"another section is named {found.name!r}")
        except ClsimError:  # a damaged run
            raise
        except Exception as error:
            problems.append(f"section {reference} is left out: {type(error).__name__}: {error}")
            log.warning("%s", problems[-1])
        else:
            shown |= {found.name: found} if found is not None else {}
    return Sections(list(shown.values()), problems)


def _installed(results: Results) -> dict[str, Maker]:
    """The functions that entry points name, and those of the installed strategies that the runs are made of."""
    points = {point.value: point for point in entry_points_of(KIND).values()}
    for part in dict.fromkeys(part for run in results.runs for part in run.record.options):
        if part in registered() and (reference := report_section(strategy_class(part))):
            points.setdefault(reference, EntryPoint(part, reference, GROUP))
    return {reference: point.load() for reference, point in points.items()}


def _loaded(reference: str) -> Maker:
    named_module = ":" in reference and not is_file(reference)  # as strategies of installed packages name theirs
    found = EntryPoint("section", reference, GROUP).load() if named_module else find(KIND, reference)
    if not callable(found):
        raise RunError(f"section {reference}: {found!r} is not a function of the results")
    maker: Maker = found
    return maker
