"""Import an export of an annotation tool: a folder with a table, a scenario that reads it and a report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clsim.data.importers.contract import Format, Options
from clsim.data.importers.registry import format_called
from clsim.data.importers.table import LabelTable, make_table
from clsim.data.importers.via_datumaro import datumaro_format
from clsim.data.problems import Problems
from clsim.data.recognise import Recognised
from clsim.errors import ClsimError, did_you_mean
from clsim.files import part_folder
from clsim.scenario.new_scenario import draft_of, write

TABLE, SCENARIO, REPORT = "labels.csv", "scenario.yaml", "report.txt"
"""Names of the files that an import writes."""


@dataclass(frozen=True)
class ImportedFolder:
    """What an import has written.

    Attributes:
        folder: that was made.
        scenario: the file in it, to be given to `clsim plan` or `clsim.load_scenario`.
        report: the text of the report.
    """

    folder: Path
    scenario: Path
    report: str


def import_dataset(
    format: str,
    source: str | Path,
    folder: str | Path,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    via: str | None = None,
    python: str | None = None,
) -> ImportedFolder:
    """Convert an export of an annotation tool into a table of images and labels and a scenario.

    Image files are not moved. The folder is written completely or not at all.

    Args:
        format: name of one, see `clsim.data.importers.registry.all_formats`.
        source: folder of the export.
        folder: to write; it must be new or empty.
        options: of the format.
        overwrite: replace a folder that an import has written.
        via: "datumaro": the format is one of datumaro's, which reads it in a process of its own.
        python: of the environment that has it.

    Raises:
        ClsimError: no such format or option, or problems of the export: their number and the first ten; or what
            `clsim plan` would say of the scenario.
    """
    if via not in (None, "datumaro"):
        raise ClsimError(f"via: given {via!r}, allowed: datumaro")
    of_format = format_called(format) if via is None else datumaro_format(format, python)
    chosen = _options(of_format, options or {})
    source, target = (Path(os.path.abspath(path)) for path in (source, folder))
    if not source.is_dir():
        raise ClsimError(f"{source}: no such folder")
    _refuse_taken(target, overwrite)
    problems = Problems()
    images = Path(os.path.abspath(chosen.images)) if chosen.images is not None else source
    if not images.is_dir():
        raise ClsimError(f"images: {images}: no such folder")
    table = make_table(of_format.read(source, chosen, problems), chosen, images, problems)
    report = _report(of_format, source, chosen, table)
    try:
        with part_folder(target) as part:
            try:
                (part / TABLE).write_text(table.text, encoding="utf-8")
                (part / REPORT).write_text(report, encoding="utf-8")
                dataset = {"name": "manifest", "file": str(part / TABLE), **table.dataset}
                found = Recognised(of_format.description, dataset, (f"{REPORT} says how the labels were understood",))
                write(draft_of(found, source, part / SCENARIO, target.name), part / SCENARIO)
                _put_in_place(part, target)
            except ClsimError as error:
                raise ClsimError(str(error).replace(str(part), str(target))) from None
    except OSError as error:
        raise ClsimError(f"{target}: cannot be written: {error.strerror or error}") from None
    return ImportedFolder(target, target / SCENARIO, report)


def _options(of_format: Format, given: Mapping[str, Any]) -> Options:
    try:
        return of_format.options(**given)
    except ValidationError as error:
        fields = of_format.options.model_fields
        texts = []
        for problem in error.errors():
            key = ".".join(map(str, problem["loc"]))
            if problem["type"] == "extra_forbidden":
                texts.append(
                    f"no option {key!r} of {of_format.name}{did_you_mean(key, fields)}; allowed: {_names(fields)}"
                )
            else:
                texts.append(f"{key}: given {problem['input']!r}: {problem['msg']}")
        raise ClsimError("\n".join(dict.fromkeys(texts))) from None


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(sorted(fields))


def _refuse_taken(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return
    written = target.is_dir() and {path.name for path in target.iterdir()} == {TABLE, SCENARIO, REPORT}
    if not written:
        raise ClsimError(f"{target}: there already, and not what an import wrote; name another folder")
    if not overwrite:
        raise ClsimError(f"{target}: there already; use --overwrite to replace, or name another folder")


def _put_in_place(part: Path, target: Path) -> None:
    """Rename a folder to its name; an old one stays until then, and returns if that fails."""
    if not target.exists():
        os.rename(part, target)
        return
    old = part.with_suffix(".replaced")
    os.rename(target, old)
    try:
        os.rename(part, target)
    except OSError:
        with suppress(OSError):
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _report(of_format: Format, source: Path, options: Options, table: LabelTable) -> str:
    total = sum(table.images.values())
    splits = [f"{split or 'no split'} {count}" for split, count in table.images.items()]
    names = next(iter(table.counts.values()))
    lines = [
        f"Imported as {of_format.name}: {of_format.description}",
        f"from {_printable(str(source))}",
        *(f"option {key}: {value}" for key, value in options.model_dump(exclude_unset=True).items()),
        "",
        f"{total} images: {_printable(', '.join(splits))}",
        f"{len(names)} classes; images that show each:",
    ]
    for name in names:
        counts = [f"{split} {of_split[name]}".strip() for split, of_split in table.counts.items()]
        lines.append(f"  {name}: {_printable(', '.join(counts))}")
    lines += ["", "Understood:", *(f"- {_printable(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
