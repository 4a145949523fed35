"""A first scenario for somebody's own data: written with comments after a look at the folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clsim.data.image_files import ImageFiles
from clsim.data.recognise import SHARE, Recognised, recognise
from clsim.errors import ClsimError, ScenarioError
from clsim.files import written_whole
from clsim.scenario.scenario import Scenario, load_scenario

MOST_TASKS = 5
LOOKED_AT = 64
"""Images whose size is read."""
PATHS = ("root", "file", "train_file", "test_file", "image_folder")
SIZES = ((48, 32), (96, 64))
"""(images up to this side in pixels, image_size); larger ones are seen at 224 px."""
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")


@dataclass(frozen=True)
class NewScenario:
    """A scenario file as it would be written.

    Attributes:
        text: of the file.
        summary: what was found in the folder, in a line.
    """

    text: str
    summary: str


def draft(folder: Path, target: Path) -> NewScenario:
    """Return a scenario for the data in a folder; every value in it is a first guess that its comment explains.

    Args:
        folder: of the images and labels.
        target: where the file will stand; its paths are relative if the folder is below it. Its name is the scenario's.

    Raises:
        ClsimError: a layout that is not known, data that cannot be read, or that make no stream.
    """
    return draft_of(recognise(folder), folder, target, target.stem)


def draft_of(found: Recognised, folder: Path, target: Path, name: str) -> NewScenario:
    """Return a scenario for data whose layout is known, see `draft`.

    Args:
        found: the layout.
        folder: in which it was found, for a comment.
        target: where the file will stand.
        name: of the scenario; characters that it may not have become dashes.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-_") or "mine"
    training = {"epochs": 1, "optimizer": {"lr": 1.0}}
    content = {"name": name, "dataset": found.dataset, "stream": {"increment": 1}, "training": training}
    scenario = load_scenario(content)
    with scenario.located():
        classes = scenario.source.class_names
        labels = {"train": scenario.source.labels("train"), "test": scenario.source.labels("test")}
    if len(classes) < 2:
        raise ClsimError(f"{folder}: {len(classes)} class in {found.layout}; a stream needs two or more")
    positives = (labels["train"] == 1).sum(axis=0)
    single = all(((one == 1).sum(axis=1) == 1).all() and (one >= 0).all() for one in labels.values())
    increment = -(-len(classes) // min(MOST_TASKS, len(classes)))
    side = _side(scenario)
    small = next((size for most, size in SIZES if side is not None and side <= most), None)
    rarest, commonest = int(positives.argmin()), int(positives.argmax())
    summary = _line(
        f"{found.layout}; {len(classes)} classes, {len(labels['train'])} training and {len(labels['test'])} test "
        f"images; rarest class: {classes[rarest]} ({positives[rarest]}), commonest: {classes[commonest]} "
        f"({positives[commonest]})"
    )
    lines = [
        f"# Written by clsim init. Found in {_line(str(folder))}:",
        f"# {summary}",
        f"# clsim plan {target.name}              what each task holds",
        f"# clsim data check {target.name}        decode every image once",
        f"# clsim compare {target.name} --strategies finetune,er,lwf+er,joint",
        "# All keys: docs/scenarios.md, and clsim schema for editors.",
        f"name: {_value(name)}",
        "source: own",
        *_dataset(found, target),
        "stream:",
        *_commented(f"  increment: {increment}", f"classes in each task, {-(-len(classes) // increment)} tasks"),
        *_commented("  base: 0", "classes in the first task; 0: as many as increment"),
        *_commented("  order: alphabetical", "or seed, frequency, or a list of the classes"),
        *_commented(
            "  assignment: overlap", "an image comes back in each task with one of its classes; or {disjoint: random}"
        ),
        "labels:",
        *(
            _commented("  visible: full", "each image shows one class, which says that it shows no other")
            if single
            else _commented(
                "  visible: task", "only labels of the task's own classes are annotated; or full, {keep: 0.5}"
            )
        ),
        *_commented(
            "memory: {budget: {per_class: 10}}", "images kept for replay, by er and others; or {total: 500}, none"
        ),
        "training:",
        *_model(small),
        *_commented("  epochs: 10", "in each task"),
        *_commented("  batch_size: 32", "new images in a step"),
        *_commented(
            f"  optimizer: {{name: adamw, lr: {'3e-3' if small else '3e-4'}, weight_decay: 1e-4}}",
            "lr: try three values",
        ),
    ]
    return NewScenario("\n".join(lines) + "\n", summary)


def write(scenario: NewScenario, target: Path) -> None:
    """Write a scenario file, unless a stream cannot be planned from it; then nothing is written.

    Raises:
        ScenarioError: what `clsim plan` would say.
    """
    try:
        with written_whole(target) as file:
            file.write(scenario.text.encode())
            file.flush()
            load_scenario(Path(file.name)).plan()
    except UnicodeEncodeError as error:
        raise ClsimError(
            f"{error.object[error.start : error.end]!r}: a scenario is in UTF-8, this name is not"
        ) from None
    except ScenarioError as error:
        part = re.compile(rf"{re.escape(str(target.parent / f'.{target.name}.'))}[^:]*\.part")
        raise ScenarioError([part.sub(str(target), problem) for problem in error.problems]) from None


def _dataset(found: Recognised, target: Path) -> Iterator[str]:
    yield "dataset:"
    for key, value in found.dataset.items():
        shown = _relative(value, target) if key in PATHS else value
        yield f"  {key}: {_value(shown)}"
    yield from (f"  # {_line(note)}" for note in found.notes)
    if found.dataset.get("test") == SHARE:
        yield "  # test: a fifth of the images, as nothing there is named test; the choice is stratified by class"


def _value(value: Any) -> str:
    """Return a value as YAML, in one line, a simple text without quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_value(below)}' for key, below in value.items())}}}"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "null"):
        return value
    return json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    """Return a text in one line that can stand in a comment."""
    return "".join(character if character.isprintable() else " " for character in text)


def _relative(path: str, target: Path) -> str:
    """Return a path relative to the scenario file if it is below the file's folder; else as it is."""
    home = Path(os.path.abspath(target)).parent
    return Path(path).relative_to(home).as_posix() if Path(path).is_relative_to(home) else path


def _model(small: int | None) -> Sequence[str]:
    if small is not None:
        comment = "a small network that learns in minutes on a CPU; or resnet18"
        return _commented(f"  model: {{name: tiny-resnet, image_size: {small}}}", comment)
    return [
        "  model:",
        *_commented("    name: resnet18", "any of clsim parts backbone"),
        *_commented("    weights: none", "{torchvision: IMAGENET1K_V1} downloads ImageNet's, which learns far faster"),
        *_commented("    image_size: 224", "side in pixels; 112 takes a quarter of the time"),
        "    mean: [0.485, 0.456, 0.406]",
        "    std: [0.229, 0.224, 0.225]",
    ]


def _commented(line: str, comment: str) -> list[str]:
    return [f"{line.ljust(36)} # {comment}"]


def _side(scenario: Scenario) -> float | None:
    """Return the median of the shorter sides of some training images, in pixels; None: none can be read."""
    from PIL import Image

    source = scenario.source
    assert isinstance(source, ImageFiles)  # all layouts are files
    files = source.files("train")
    sides = []
    for file in files[:: max(1, len(files) // LOOKED_AT)]:
        try:
            with Image.open(file) as image:
                sides.append(min(image.size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # `clsim data check` names them
    return float(np.median(sides)) if sides else None
