"""Scripts as names, in a real browser: no page of clsim runs them, and none asks another server for anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import summary

from clsim.evaluation import tensorboard as curves
from clsim.evaluation.event_file import EventFile
from clsim.report.results import load_results
from clsim.report.tensorboard_server import links, runs_below, start
from clsim.report.writing import write_report
from clsim.running.run_folder import RunFolder
from clsim.vocabulary import GROUPS

SCRIPTS = (
    "<script>alert(1)</script>",
    "\"'><img src=http://other.invalid/x.png onerror=alert(2)>",
    "</style></title></svg><svg onload=alert(3)>![x](http://other.invalid/y.png)[z](javascript:alert(4))",
)
STRATEGY = "<img src=http:other.invalid onerror=alert(5)>"
"""Names a folder, and so holds no slash."""
CONFIG = f"""\
name: toy
source: {json.dumps(SCRIPTS[1])}
training: {{epochs: {json.dumps(SCRIPTS[0])}}}
expected:
- {{strategy: er, metric: {json.dumps(SCRIPTS[2])}, value: 47.2, source: {json.dumps(SCRIPTS[0])}}}
"""
PATIENCE = 60_000


@dataclass
class Watched:
    """A page, and what a script in a name would have done."""

    page: Any
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def elsewhere(self, home: str) -> list[str]:
        """Return the addresses that were asked for and do not begin so."""
        return [url for url in self.requests if not url.startswith((home, "data:", "blob:"))]


@pytest.fixture
def watched(chromium: Any) -> Iterator[Watched]:
    found = Watched(chromium.new_page(viewport={"width": 1280, "height": 900}))

    def dismiss(dialog: Any) -> None:
        found.dialogs.append(dialog.message)
        dialog.dismiss()

    found.page.on("dialog", dismiss)
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.set_default_timeout(PATIENCE)
    yield found
    found.page.close()


@pytest.fixture(scope="module")
def home(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of somebody else, with scripts wherever a name or a text may stand, and their report."""
    root = tmp_path_factory.mktemp("scripts") / "toy"
    members = {group: [name] for group, name in zip(GROUPS, SCRIPTS, strict=True)}
    groups = {"rule": SCRIPTS[0], "positives": [3, 2, 1], "members": members}
    tasks = [{"index": t, "classes": [SCRIPTS[t]], "columns": [t, t + 1], "train_images": 9} for t in range(3)]
    names = {
        "class_names": list(SCRIPTS),
        "tasks": tasks,
        "scenario": SCRIPTS[1],
        "groups": groups,
        "options": {SCRIPTS[0]: {SCRIPTS[1]: SCRIPTS[2]}},
        "control": SCRIPTS[2],
    }
    for strategy in ("er", STRATEGY):
        for seed in range(2):
            folder = make_run(root, strategy, seed, CONFIG, torch=SCRIPTS[1], **names)
            (folder / "command.txt").write_text(SCRIPTS[0])
            _write_curves(RunFolder(folder), strategy, seed)
    (root / "lwf" / "seed0").mkdir(parents=True)
    (root / "lwf" / "seed0" / "error.txt").write_text(SCRIPTS[2])
    write_report(root)
    return root


def _write_curves(files: RunFolder, strategy: str, seed: int) -> None:
    tags = {"mAP/seen": 30.0, **{f"AP/{name}": 20.0 for name in SCRIPTS}}
    rows = [{"phase": "eval", "task": 0, "step": step, "values": tags} for step in (1, 2)]
    files.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    events = EventFile(files.events)
    events.begin()
    for head in curves._hparams({"scenario": SCRIPTS[1], "strategy": strategy, "seed": seed}):
        events.add(head)
    for step in (1, 2):
        for tag, value in tags.items():
            events.add(summary.scalar(tag, value), step)


def test_the_report_shows_scripts_as_text(home: Path, watched: Watched) -> None:
    watched.page.goto((home / "report.html").as_uri())
    watched.page.evaluate("() => document.querySelectorAll('details').forEach(e => { e.open = true; })")
    text = watched.page.inner_text("body")
    for name in (*SCRIPTS, STRATEGY):
        assert name in text
    assert watched.page.locator("script, img, iframe").count() == 0
    assert watched.elsewhere((home / "report.html").as_uri()) == watched.dialogs == []


def test_markdown_and_a_notebook_show_scripts_as_text(home: Path, watched: Watched, tmp_path: Path) -> None:
    from markdown import markdown  # of TensorBoard, which brings it

    results = load_results(home)
    bodies = [
        markdown((home / "results.md").read_text(), extensions=["tables"]),
        results.runs[0]._repr_html_(),
    ]
    page = tmp_path / "page.html"
    page.write_text("<meta charset=utf-8>" + "<hr>".join(bodies), encoding="utf-8")
    watched.page.goto(page.as_uri())
    text = watched.page.inner_text("body")
    assert SCRIPTS[0] in text
    assert SCRIPTS[1] in text
    assert watched.page.locator("script, img, a").count() == 0
    assert watched.elsewhere(page.as_uri()) == watched.dialogs == []


def test_tensorboard_shows_scripts_as_text(home: Path, watched: Watched) -> None:
    address = start(home)
    shown = links(address, home, runs_below(home))
    watched.page.goto(shown["curves"])
    watched.page.get_by_text("mAP/seen").first.wait_for()
    watched.page.get_by_text(SCRIPTS[0]).first.wait_for()
    watched.page.goto(shown["hparams"])
    watched.page.get_by_text("er/seed1").first.wait_for()
    watched.page.wait_for_load_state("networkidle")
    watched.requests = [url for url in watched.requests if "fonts.g" not in url]  # TensorBoard's own style sheet
    assert watched.elsewhere(address.partition("#")[0].rstrip("/")) == watched.dialogs == []
