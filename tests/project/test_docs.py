"""The documentation is what the code says: generated parts, worked examples, links, and scripts that run."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import clsim
from clsim.evaluation.history import ACCURACIES
from clsim.report.results import load_results
from clsim.scenario import shipped_scenarios
from clsim.vocabulary import AT_THRESHOLD, BLOCKS, BY_BLOCK
from tests.fixtures.logged import lines_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["scenarios.md", "strategies.md", "kit.md"])
def test_generated_parts_are_up_to_date(generate: Any, name: str) -> None:
    assert generate.page(name) == (DOCS / name).read_text(encoding="utf-8"), "run python -m docs.generate"


@pytest.mark.parametrize("key", ["false_negative", "per_class", "later_lr", "magnitude", "tolerance", "split_column"])
def test_keys_at_every_depth_are_there(generate: Any, key: str) -> None:
    assert f"| `{key}` |" in generate.scenario_keys()


def test_the_worked_example_of_the_metrics_is_right() -> None:
    failed, tried = doctest.testfile(str(DOCS / "metrics.md"), module_relative=False)
    assert tried > 5
    assert not failed


def test_every_metric_of_a_threshold_is_defined() -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    for name in AT_THRESHOLD:
        assert f"`threshold_<p>/{name}`" in text
    for name in BY_BLOCK:
        assert f"`threshold_<p>/{name}_<{', '.join(BLOCKS)}>`" in text
    assert f"`accuracy/<{', '.join(ACCURACIES)}>`" in text


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, tiny_overrides: dict[str, object]) -> set[str]:
    """Every tag of a run that has a memory, a teacher, relabelling, MORE and scores inside tasks."""
    own = {**tiny_overrides, "evaluation.every": "epoch"}
    folder = clsim.run("digits-b0c2", "rebll+more", overrides=own, out=tmp_path_factory.mktemp("logged")).folder
    return {tag for line in lines_of(folder) for tag in line["values"]}


def test_every_tag_that_a_run_logs_is_defined(logged: set[str]) -> None:
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
    defined = [_as_pattern(tag) for row in rows for tag in re.findall("`(.*?)`", row)]
    assert len(logged) > 50
    assert [tag for tag in sorted(logged) if not any(re.fullmatch(pattern, tag) for pattern in defined)] == []


def _as_pattern(tag: str) -> str:
    """`a/<b, c>_<k>` as an expression: one of b and c, and anything for k."""
    parts = re.split("<(.*?)>", tag)
    chosen = ["(" + "|".join(part.split(", ")) + ")" if ", " in part else ".+" for part in parts[1::2]]
    fixed = [re.escape(part) for part in parts[::2]]
    return "".join(a + b for a, b in zip(fixed, [*chosen, ""], strict=True))


def test_every_published_protocol_is_listed() -> None:
    text = (DOCS / "protocols.md").read_text(encoding="utf-8")
    for name in shipped_scenarios():
        if name.startswith(("voc", "coco")):
            base, _, rest = name.partition("-")
            assert f"`{name}`" in text or (f"`{base}-" in text and f"`-{rest}`" in text), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def run(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_own_scenario_plans_and_runs(tmp_path: Path) -> None:
    told = run("docs/examples/own_scenario.py", "--out", str(tmp_path), "--train", "60", "--epochs", "1")
    assert "last mAP" in told
    assert (tmp_path / "own" / "lwf+er" / "seed0" / "result.json").is_file()


def test_own_data_plans(tmp_path: Path) -> None:
    assert "2 tasks" in run("docs/examples/own_data.py", str(tmp_path))


@pytest.mark.slow
def test_own_metrics_and_loggers_run(tmp_path: Path, tiny_overrides: dict[str, object]) -> None:
    metrics = [f"{DOCS}/examples/own_metric.py:{name}" for name in ("micro_auc", "calibration")]
    overrides = tiny_overrides | {
        "evaluation.metrics": metrics,
        "loggers": [f"{DOCS}/examples/own_logger.py:Watch"],
    }
    run = clsim.run("digits-b0c2", "er", overrides=overrides, out=tmp_path)
    (columns,) = (
        load_results(tmp_path / "digits-b0c2").frame[["micro_auc", "calibration/ECE", "calibration/absent"]].values
    )
    assert ((columns > 0) & (columns < 100)).all()
    told = (run.folder / "watch.txt").read_text().splitlines()
    assert (told[0], len(told), told[-1][:8]) == ("er/seed0 begins", 5, "finished")
    assert told[1].startswith("task 0: mAP ")


def test_a_model_is_used_with_clsim_and_without(finished_run: Path, tmp_path: Path) -> None:
    images = clsim.load_scenario(finished_run / "config.yaml").source.images("test", 40)[:3].transpose(0, 2, 3, 1)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    copied, graph = shutil.copytree(finished_run, tmp_path / "run"), str(tmp_path / "model.onnx")
    (tmp_path / "photos").mkdir()
    photos = [str(file.rename(tmp_path / "photos" / file.name)) for file in sorted(tmp_path.glob("*.png"))]
    told = run("docs/examples/use_a_model.py", str(copied), str(tmp_path / "photos"), graph)
    assert "of digits-b0c2 after task 2, images of 28 px, 10 classes" in told
    lines = told.partition("visible training labels:\n")[2].splitlines()[:3]
    assert run("docs/examples/use_onnx.py", graph, *photos).splitlines() == [line.strip() for line in lines]


def test_results_are_read_back(comparison: Any) -> None:
    assert run("docs/examples/read_results.py", str(comparison.folder)).count("mAP after each task") == 4
