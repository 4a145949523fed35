"""Commands about streams: plan, schema and scenarios."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clsim.cli import completion
from clsim.cli.options import ScenarioArgument, SetOption, scenario_settings
from clsim.cli.tables import print_table, say
from clsim.errors import ClsimError, did_you_mean
from clsim.vocabulary import GROUPS

if TYPE_CHECKING:
    from clsim.scenario import StreamPlan

_MOST_AGAIN = 4
"""Classes that come back which the table of a plan names; more are counted."""


def plan(
    scenario: ScenarioArgument,
    other: Annotated[
        str | None,
        typer.Argument(
            help="a second scenario: show the differences; --set changes both",
            metavar="OTHER",
            autocompletion=completion.scenarios,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    settings: SetOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", help="also write the whole plan to this .json.gz file")] = None,
) -> None:
    """Show the tasks of a scenario: classes, images, hidden labels, groups of classes and the plan's hash.

    SCENARIO and OTHER may also be written plans, PLAN.json.gz.
    """
    from clsim.evaluation.kept_scores import kept_bytes
    from clsim.files import write_atomically
    from clsim.scenario import load_scenario
    from clsim.scenario.plan.description import describe

    if other is not None:
        if out is not None:
            raise ClsimError("--out: one plan is written, and two are compared here")
        _compare_plans(scenario, other, scenario_settings(settings), as_json)
        return
    loaded = load_scenario(scenario, scenario_settings(settings))
    stream = loaded.plan()
    keep = loaded.config.evaluation.keep_scores
    scores = {"keep": keep, "bytes": kept_bytes(stream, keep)}
    content = {"scenario": loaded.name, **describe(stream, loaded.truth(), loaded.data_notes()), "kept_scores": scores}
    if out is not None:
        write_atomically(out, stream.to_bytes())
    if as_json:
        say(json.dumps(content, indent=1))
    else:
        _print_plan(content)


def init(
    folder: Annotated[Path, typer.Argument(help="folder of your images and labels", metavar="FOLDER")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="file to write; default: FOLDER's name with .yaml, in the current folder"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
) -> None:
    """Write a commented scenario for your own images: VOC, COCO, NUS-WIDE, Open Images, a table, or class folders."""
    from clsim.scenario.new_scenario import draft, write

    target = out or Path(f"{folder.resolve().name or 'mine'}.yaml")
    if os.path.lexists(target) and not overwrite:
        raise ClsimError(f"{target}: there already; use --overwrite to replace, or another --out")
    scenario = draft(folder, target)
    write(scenario, target)
    say(f"found: {scenario.summary}")
    say(f"written: {target}; look at its tasks: clsim plan {target}")


def _shipped(incomplete: str) -> list[str]:
    from clsim.scenario import shipped_scenarios

    return list(shipped_scenarios())


def _text_of(name: str) -> str:
    """Return the file of a shipped scenario."""
    from clsim.scenario import shipped_scenarios

    shipped = shipped_scenarios()
    if name not in shipped:
        raise ClsimError(f"{name}: no such scenario{did_you_mean(name, shipped)}; shipped: {', '.join(shipped)}")
    return shipped[name].read_text(encoding="utf-8")


def schema() -> None:
    """Print the JSON Schema of scenario files, for editors; it has the options of all shipped parts."""
    from clsim.scenario.json_schema import scenario_schema

    say(json.dumps(scenario_schema(), indent=1))


def _compare_plans(first: str, second: str, settings: list[str], as_json: bool) -> None:
    from clsim.scenario.plan.difference import difference

    content = difference(_plan_of(first, settings), _plan_of(second, settings))
    if as_json:
        say(json.dumps(content, indent=1))
    elif content["equal"]:
        say("the plans are equal")
    else:
        _print_difference(content)


def _plan_of(scenario: str, settings: list[str]) -> StreamPlan:
    """Return the plan of a scenario, or the one in a file that `--out` or a run has written."""
    from clsim.scenario import StreamPlan, load_scenario

    if not scenario.endswith(".json.gz"):
        return load_scenario(scenario, settings).plan()
    try:
        return StreamPlan.from_bytes(Path(scenario).read_bytes())
    except (OSError, ValueError) as error:
        raise ClsimError(f"{scenario}: {getattr(error, 'strerror', None) or error}") from None


def _print_difference(content: dict[str, Any]) -> None:
    rows = [
        (
            str(task["index"]),
            ", ".join(f"-{name}" for name in task["classes_only_first"]),
            ", ".join(f"+{name}" for name in task["classes_only_second"]),
            f"-{task['images_only_first']} +{task['images_only_second']} ={task['images_of_both']}",
            f"-{task['shown_first']} +{task['shown_second']} ~{task['changed']}",
        )
        for task in content["tasks"]
    ]
    headings = (
        "task",
        "classes only in the first",
        "only in the second",
        "images",
        "visible labels of shared images",
    )
    print_table(headings, rows)
    classes, test = content["classes"], content["test"]
    for what, names in (("first", classes["only_first"]), ("second", classes["only_second"])):
        if names:
            say(f"classes only in the {what}: {', '.join(names)}")
    if not classes["same_order"]:
        say("the shared classes have different orders")
    if len(set(content["online"])) > 1:
        told = (f"{batch} images at a time, each once" if batch else "whole tasks" for batch in content["online"])
        say(f"online: {' and '.join(told)}")
    images = f"-{test['images_only_first']} +{test['images_only_second']} ={test['images_of_both']}"
    changed = test["true_labels_changed"]
    splits = " and ".join(dict.fromkeys(test["splits"]))
    say(f"scored images ({splits}): {images}" + (f", {changed} true labels changed" if changed else ""))
    if len(set(test["scopes"])) > 1:
        say(f"images that count for mAP: {' and '.join(test['scopes'])}")
    say("- only in the first, + only in the second, = in both, ~ visible in both with different values")


def scenarios(
    show: Annotated[
        str | None,
        typer.Option("--show", help="print the file of this scenario", metavar="NAME", autocompletion=_shipped),
    ] = None,
    copy: Annotated[
        tuple[str, Path] | None,
        typer.Option("--copy", help="copy the file of this scenario, to edit it", metavar="NAME FILE"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
) -> None:
    """List the shipped scenarios, or show or copy the file of one."""
    from clsim.files import write_atomically
    from clsim.scenario import load_scenario, shipped_scenarios

    if show is not None:
        typer.echo(_text_of(show), nl=False)
        return
    if copy is not None:
        name, target = copy
        text = _text_of(name)
        if os.path.lexists(target) and not overwrite:
            raise ClsimError(f"{target}: there already; use --overwrite to replace, or another name")
        write_atomically(target, text)
        say(f"written: {target}; look at its tasks: clsim plan {target}")
        return
    rows = []
    for name in shipped_scenarios():
        config = load_scenario(name).config
        stream = config.stream.summary
        rows.append((name, config.dataset.name, stream, str(config.labels.visible), config.source))
    print_table(("name", "data", "stream", "visible labels", "source"), rows)


def _classes_of(task: dict[str, Any]) -> str:
    """Return the new classes of a task, and the first of those that come back with the number of the others."""
    again: list[str] = task.get("returning", [])
    if not again:
        return ", ".join(task["classes"])
    shown = again[:_MOST_AGAIN]
    rest = [f"and {len(again) - len(shown)} more"] if len(again) > len(shown) else []
    return "; ".join([*[", ".join(task["classes"])] * bool(task["classes"]), f"again {', '.join([*shown, *rest])}"])


def _print_plan(content: dict[str, Any]) -> None:
    rows = [
        (
            str(task["index"]),
            _classes_of(task),
            str(task["train_images"]),
            str(task["test_images"]),
            " ".join(f"{name}:{count}" for name, count in task["positives"].items()),
            f"{task['hidden_positives']} of {task['hidden_labels']}",
        )
        for task in content["tasks"]
    ]
    print_table(("task", "classes", "images", "test images", "positives", "hidden labels: positive of all"), rows)
    groups = content["groups"]
    for name in GROUPS:
        say(f"{name}: {', '.join(groups[name])}")
    say(f"imbalance (positives of the most common class / of the rarest): {groups['imbalance'] or 'a class has none'}")
    train = f"{content['train_images']} training images in {content['train_rows']} rows"
    say(f"groups by {groups['rule']}; {train} (a row: an image in a task)")
    if online := content.get("online"):
        say(f"online: {online} new images per step, each image of a task once")
    for note in content["notes"]:
        say(f"note: {note}")
    scores = content["kept_scores"]
    say(f"kept scores (evaluation.keep_scores): {scores['keep']}, {scores['bytes'] / 1e6:.2f} MB per run")
    say(f"sha256: {content['sha256']}")
