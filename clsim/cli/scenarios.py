"""Commands about streams: plan, schema and scenarios."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clsim.cli.options import ScenarioArgument, SetOption, scenario_settings
from clsim.cli.tables import print_table, say
from clsim.errors import ClsimError
from clsim.vocabulary import GROUPS


def plan(
    scenario: ScenarioArgument,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    settings: SetOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", help="also write the whole plan to this .json.gz file")] = None,
) -> None:
    """Show what a scenario streams: tasks, classes, images, missing labels, groups and the plan's hash."""
    from clsim.evaluation.kept_scores import kept_bytes
    from clsim.files import write_atomically
    from clsim.scenario import load_scenario
    from clsim.scenario.plan.planning import describe

    loaded = load_scenario(scenario, scenario_settings(settings))
    stream = loaded.plan()
    keep = loaded.config.evaluation.keep_scores
    scores = {"keep": keep, "bytes": kept_bytes(stream, keep)}
    content = {"scenario": loaded.name, **describe(stream, loaded.truth()), "kept_scores": scores}
    if out is not None:
        write_atomically(out, stream.to_bytes())
    if as_json:
        say(json.dumps(content, indent=1))
    else:
        _print_plan(content)


def init(
    folder: Annotated[Path, typer.Argument(help="folder of your images and labels", metavar="FOLDER")],
    out: Annotated[
        Path | None, typer.Option("--out", help="file to write; default: the folder's name and .yaml, here")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file that is there")] = False,
) -> None:
    """Write a commented scenario for your own images: VOC, COCO, a table, or one folder per class."""
    from clsim.scenario.new_scenario import draft, write

    target = out or Path(f"{folder.resolve().name or 'mine'}.yaml")
    if os.path.lexists(target) and not overwrite:
        raise ClsimError(f"{target}: there already; use --overwrite to replace, or another --out")
    scenario = draft(folder, target)
    write(scenario, target)
    say(f"found: {scenario.summary}")
    say(f"written: {target}; see what it streams: clsim plan {target}")


def schema() -> None:
    """Print the JSON Schema of scenario files, for editors: with the options of all parts that come with clsim."""
    from clsim.scenario.json_schema import scenario_schema

    say(json.dumps(scenario_schema(), indent=1))


def scenarios() -> None:
    """List the scenarios that come with clsim."""
    from clsim.scenario import load_scenario, shipped_scenarios

    rows = []
    for name in shipped_scenarios():
        config = load_scenario(name).config
        stream = f"B{config.stream.base}-C{config.stream.increment}"
        rows.append((name, config.dataset.name, stream, str(config.labels.visible), config.source))
    print_table(("name", "data", "stream", "visible labels", "source"), rows)


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
    print_table(("task", "classes", "images", "test images", "positives", "missing labels: positive of all"), rows)
    groups = content["groups"]
    for name in GROUPS:
        say(f"{name}: {', '.join(groups[name])}")
    say(f"positives of the commonest class / of the rarest: {groups['imbalance'] or 'a class has none'}")
    say(f"groups by {groups['rule']}; {content['train_images']} training images in {content['train_rows']} rows")
    for note in content["notes"]:
        say(f"note: {note}")
    scores = content["kept_scores"]
    say(f"kept scores: {scores['keep']}, {scores['bytes'] / 1e6:.2f} MB per run")
    say(f"sha256: {content['sha256']}")
