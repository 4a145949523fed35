"""Commands about data sets on disk: make-dataset and data check."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clsim.cli.options import ScenarioArgument, SetOption, overrides, scenario_settings
from clsim.cli.tables import print_table, say
from clsim.errors import ClsimError, did_you_mean, printable

if TYPE_CHECKING:
    from clsim.data.check import SplitCheck
    from clsim.data.copies import Copies


def _list_formats(asked: bool) -> None:
    if not asked:
        return
    from clsim.data.importers.registry import all_formats

    for one in all_formats().values():
        say(f"{one.name}: {one.description}")
        for key, field in one.options.model_fields.items():
            say(f"  {key}={'' if field.default is None else field.default}: {field.description}")
    raise typer.Exit


def make_dataset(
    name: Annotated[
        str,
        typer.Argument(
            help="digits, or a data set you have: voc, coco, nuswide, openimages, manifest, folder", metavar="NAME"
        ),
    ],
    format: Annotated[str, typer.Option("--format", help="layout to write: voc, coco or manifest")],
    out: Annotated[Path, typer.Option("--out", help="folder to write; it must be empty or new")],
    size: Annotated[int, typer.Option("--size", help="width and height of the images in pixels")] = 32,
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
    say(f"written: {written}; to use it in a scenario:")
    say(f"dataset: {json.dumps(_as_dataset(format, written, source.class_names))}")


def _as_dataset(format: str, written: Path, class_names: Sequence[str]) -> dict[str, Any]:
    if format == "manifest":
        return {"name": format, "file": str(written.absolute()), "label_columns": "rest"}
    own = {"class_names": list(class_names)} if format == "voc" else {}
    return {"name": format, "root": str(written.absolute()), **own}


def import_export(
    format: Annotated[str, typer.Argument(help="format of the export; --list shows all", metavar="FORMAT")],
    source: Annotated[Path, typer.Argument(help="folder of the export", metavar="SRC")],
    folder: Annotated[Path, typer.Argument(help="folder to write; it must be empty or new", metavar="DIR")],
    settings: Annotated[
        list[str], typer.Option("--set", help="option of the format: images=FOLDER", metavar="KEY=VALUE")
    ] = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder that an import wrote")] = False,
    via: Annotated[
        str | None,
        typer.Option("--via", help="read the export with another tool: datumaro; needs --python", metavar="READER"),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            help="Python of an environment with datumaro; docs/data.md has the command that makes one",
            envvar="CLSIM_DATUMARO_PYTHON",
            metavar="FILE",
        ),
    ] = None,
    formats: Annotated[
        bool,
        typer.Option("--list", help="list the formats and their options", is_eager=True, callback=_list_formats),
    ] = False,
) -> None:
    """Write a table, a scenario and a report from an export of CVAT, Label Studio, YOLO and others."""
    from clsim.scenario.import_dataset import import_dataset

    written = import_dataset(format, source, folder, overrides(settings), overwrite, via, python)
    say(written.report)
    say(f"written: {written.folder}; look at its tasks: clsim plan {written.scenario}")


def check_data(
    scenario: ScenarioArgument,
    settings: SetOption = [],  # noqa: B006
    decode: Annotated[bool, typer.Option(help="decode every image, or only check that the files exist")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Read all labels and images of a scenario's data set and report problems; exit code 2 if a run would fail."""
    from clsim.data.check import check_source, copies_of, first_problem
    from clsim.scenario import load_scenario
    from clsim.scenario.plan.description import plan_notes

    loaded = load_scenario(scenario, scenario_settings(settings))
    with loaded.located():
        checks = check_source(loaded.source, decode)
        problem = first_problem(loaded.source, checks)
        names = loaded.source.class_names
        if as_json:
            content = {"scenario": loaded.name, "dataset": loaded.config.dataset.name}
            notes = [] if problem else plan_notes(loaded.plan(), loaded.data_notes())
            splits = {check.split: check.summary(names) for check in checks}
            say(json.dumps(content | splits | {"copies": copies_of(checks).summary(), "notes": notes}, indent=1))
        else:
            _print_checks(names, checks)
            _print_copies(copies_of(checks))
            for note in [] if problem else plan_notes(loaded.plan(), loaded.data_notes()):
                say(f"note: {note}")
        if problem is not None:
            raise problem


def _print_checks(class_names: Sequence[str], checks: Sequence[SplitCheck]) -> None:
    from clsim.data.check import MOST_SHOWN

    headings = [f"{check.split}: {what}" for check in checks for what in ("positive", "not annotated")]
    counts = [count for check in checks for count in (check.positives, check.not_annotated)]
    rows = [(name, *(str(count[column]) for count in counts)) for column, name in enumerate(class_names)]
    print_table(("class", *headings), rows)
    for check in checks:
        say(f"{check.split}: {check.images} images, {check.without_positive} without any class")
        if check.ignored:
            elements = ", ".join(f"{count} <{tag}>" for tag, count in check.ignored.items())
            say(f"{check.split}: elements of the annotations that are ignored: {elements}")
        if not check.files:
            say(f"{check.split}: no image files; clsim makes the images itself")
            continue
        found = check.files - len(check.missing)
        say(f"{check.split}: {found} of {check.files} image files found, {check.bytes / 1e6:.1f} MB")
        if len(check.sizes):
            (left, low), (right, high) = check.sizes.min(axis=0), check.sizes.max(axis=0)
            say(f"{check.split}: {len(check.sizes)} decoded, {left} to {right} px wide, {low} to {high} px high")
        if check.skipped:
            say(f"{check.split}: {len(check.skipped)} cannot be decoded and are left out of the stream:")
            shown, rest = check.skipped[:MOST_SHOWN], len(check.skipped) - MOST_SHOWN
            say("\n".join([*(f"  {problem}" for problem in shown), *[f"  and {rest} more images"] * (rest > 0)]))


def _print_copies(copies: Copies) -> None:
    from clsim.data.check import MOST_SHOWN

    if copies.count:
        say(f"copies: {copies.count} images show the same pixels as an earlier one")
    for what, pairs in (("in training and test", copies.in_both), ("with other labels", copies.contradicting)):
        if pairs:
            say(f"copies {what}: {len(pairs)}")
            rest = len(pairs) - MOST_SHOWN
            shown = [printable(f"  {first} = {second}") for first, second in pairs[:MOST_SHOWN]]
            say("\n".join([*shown, *[f"  and {rest} more pairs"] * (rest > 0)]))
