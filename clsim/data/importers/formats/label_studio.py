"""Label Studio's JSON: a list of tasks, each with its image and the results of its annotators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field

from clsim.data.folder import SUFFIXES
from clsim.data.importers.contract import ABSENT, PRESENT, Export, Format, LabelledImage, ObjectOptions
from clsim.data.importers.reading import beginning, read_json
from clsim.data.list_cells import LABEL_STUDIO_KEYS
from clsim.data.problems import Problems

NO_LABELS = (
    "rectangle",
    "polygon",
    "ellipse",
    "keypoint",
    "brush",
    "textarea",
    "rating",
    "number",
    "relation",
    "pairwise",
)
"""Types of a result that name none."""
PREFIX = 8
"""Characters and a dash that Label Studio puts before the name of a file that is uploaded."""


class LabelStudioOptions(ObjectOptions, frozen=True):
    """Options of Label Studio."""

    image_key: str | None = Field(
        None, description="key of `data` that names the image; default: image, or the only one"
    )
    from_name: str | None = Field(None, description="the control whose labels are the classes, if there are several")
    annotators: Literal["error", "any", "majority"] = Field(
        "error",
        description="if annotators disagree: error; any: present if one says so; majority: present if more than "
        "half say so",
    )


def recognise(folder: Path) -> bool:
    """Return whether a JSON file in a folder begins as a list of tasks."""
    heads = map(beginning, folder.glob("*.json"))
    return any(head.lstrip()[:1] == b"[" and b'"annotations"' in head and b'"id"' in head for head in heads)


def read(folder: Path, options: LabelStudioOptions, problems: Problems) -> Export:
    """Read the JSON files with lists of tasks in a folder; tasks that nobody has annotated are left out."""
    export = Export([], [], bare_names=True)
    controls: dict[str, None] = {}
    counts: Counter[str] = Counter()
    tasks = 0
    for path in sorted(folder.glob("*.json")):
        content = read_json(path, problems)
        if not isinstance(content, list):
            continue
        for number, task in enumerate(content):
            tasks += 1
            where = f"{path}, task {task.get('id', number) if isinstance(task, dict) else number}"
            image = _task(where, task, options, controls, counts, problems)
            if image is not None:
                export.images.append(image)
    if not tasks:
        problems.stop(folder, "no JSON file with a list of tasks; export as JSON")
    if len(controls) > 1 and options.from_name is None:
        names = ", ".join(controls)
        problems.stop(folder, f"labels of several controls: {names}; --set from_name=NAME says which are the classes")
    if options.from_name is not None and options.from_name not in controls:
        problems.stop(folder, f"from_name: given {options.from_name!r}, allowed: {', '.join(controls) or 'none'}")
    export.class_names = list(dict.fromkeys(name for image in export.images for name in image.labels))
    for image in export.images:
        image.labels = {name: label for name, label in image.labels.items() if label == PRESENT}
    export.notes.append(f"{tasks} tasks; a class is present where a result of {', '.join(controls)!r} names it")
    export.notes.append("folders and servers in the addresses of images are passed over: file names are looked up")
    export.notes += [f"{count} {what}" for what, count in sorted(counts.items())]
    return export


def _task(
    where: str,
    task: Any,
    options: LabelStudioOptions,
    controls: dict[str, None],
    counts: Counter[str],
    problems: Problems,
) -> LabelledImage | None:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        problems.add(where, 'no object "data"; export as JSON, not as JSON-MIN')
        return None
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        problems.add(where, 'no list "annotations"; export as JSON, not as JSON-MIN')
        return None
    address = _address(where, task["data"], options.image_key, problems)
    if address is None:
        return None
    done = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    if not done:
        counts["tasks that nobody has annotated, or that were skipped, are left out"] += 1
        return None
    answers = [_classes(where, one.get("result"), options.from_name, controls, counts, problems) for one in done]
    if options.annotators == "error" and any(answer != answers[0] for answer in answers):
        text = f"{len(answers)} annotations disagree: {'; '.join(', '.join(sorted(one)) or 'none' for one in answers)}"
        problems.add(where, f"{text}; --set annotators=any or annotators=majority")
    votes = Counter(name for answer in answers for name in answer)
    enough = len(answers) // 2 + 1 if options.annotators == "majority" else 1
    labels = {name: PRESENT if count >= enough else ABSENT for name, count in votes.items()}
    last = address.replace("\\", "/").rpartition("/")[2]
    uploaded = last[PREFIX : PREFIX + 1] == "-" and last[:PREFIX].isalnum()
    return LabelledImage(last, labels, where, other_names=(last[PREFIX + 1 :],) if uploaded else ())


def _address(where: str, data: dict[str, Any], key: str | None, problems: Problems) -> str | None:
    """Return the path in the address of a task's image: of a file, a server, a bucket or Label Studio's own folder."""
    paths = {name: _path(value) for name, value in data.items() if isinstance(value, str)}
    if key is None:
        of_images = [name for name, path in paths.items() if path.lower().endswith(SUFFIXES)]
        key = "image" if "image" in paths else of_images[0] if len(of_images) == 1 else None
    if key is None or key not in paths:
        problems.add(where, f"data names no image under a known key: {', '.join(data)}; --set image_key=KEY")
        return None
    return paths[key]


def _path(address: str) -> str:
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return address
    local = parse_qs(parts.query).get("d")
    return unquote(local[0]) if local else unquote(parts.path)


def _classes(
    where: str,
    results: Any,
    from_name: str | None,
    controls: dict[str, None],
    counts: Counter[str],
    problems: Problems,
) -> frozenset[str]:
    found: set[str] = set()
    for result in results if isinstance(results, list) else []:
        kind = result.get("type") if isinstance(result, dict) else None
        if kind in NO_LABELS:
            counts[f"results of type {kind}, which name no class"] += 1
            continue
        value = result.get("value") if kind in LABEL_STUDIO_KEYS else None
        names = value.get(kind) if isinstance(value, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            problems.add(where, f"a result of type {kind!r} is not understood; allowed: {', '.join(LABEL_STUDIO_KEYS)}")
            continue
        control = str(result.get("from_name"))
        controls.setdefault(control)
        if from_name in (None, control):
            found.update(names)
    return frozenset(found)


FORMAT = Format("label-studio", "Label Studio (JSON)", LabelStudioOptions, recognise, read)
