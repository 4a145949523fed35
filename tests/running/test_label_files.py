"""Files with labels that are opened while a run trains are noted in its log, each once; images are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from clsim.data.cache import cache_folder
from clsim.running.label_files import label_files_noted
from clsim.scenario import load_scenario


def test_annotations_cached_labels_and_plans_are_noted_and_images_are_not(
    voc_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = voc_folder / "VOCdevkit"
    config = load_scenario("voc2007-b10c2", {"dataset.root": str(root)}).config
    annotation, image = (next(root.rglob(pattern)) for pattern in ("*.xml", "*.jpg"))
    cached, plan, other = cache_folder() / "labels" / "one.npz", tmp_path / "plan.json.gz", tmp_path / "notes.txt"
    cached.parent.mkdir(parents=True, exist_ok=True)
    for path in (cached, plan, other):
        path.write_bytes(b"")
    with label_files_noted(config):
        for path in (annotation, annotation, image, cached, plan, other):
            path.read_bytes()
    plan.read_bytes()
    told = [message.partition("opened ")[2].partition(",")[0] for message in caplog.messages]
    assert told == [str(annotation), str(cached), str(plan)]
    assert all(message.startswith(f"{__file__}:") for message in caplog.messages)
    assert caplog.messages[0].endswith("which holds labels or a plan, while the run trained")


def test_what_a_machine_says_of_images_and_lists_that_tell_their_tasks_are_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    confidences, tasks, scored, kept = (tmp_path / name for name in ("machine.csv", "tasks.csv", "scored.csv", "kept"))
    keys = {
        "labels.visible": {"confidences": str(confidences), "present": 0.7, "absent": 0.4},
        "stream.assignment": {"given": str(tasks)},
        "evaluation.images": {"given": str(scored)},
        "labels.long_tail": {"ids": str(kept)},
    }
    config = load_scenario("digits-b0c2", keys).config
    weights = tmp_path / "weights.pth"
    for path in (confidences, tasks, scored, kept, weights):
        path.write_bytes(b"")
    with label_files_noted(config):
        for path in (confidences, tasks, scored, kept, weights):
            path.read_bytes()
    told = [Path(message.partition("opened ")[2].partition(",")[0]).name for message in caplog.messages]
    assert told == ["machine.csv", "tasks.csv", "scored.csv", "kept"]
