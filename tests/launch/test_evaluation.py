"""Metrics of finished runs from the scores that they kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clsim
from clsim.errors import ClsimError, RunError
from clsim.evaluation.kept_scores import describe_scores, read_scores
from clsim.evaluation.thresholds import cf1, confusion
from clsim.launch.evaluation import read_plan
from clsim.report.run_result import read_run
from clsim.report.writing import write_report
from clsim.running.run_folder import RunFolder
from tests.fixtures.logged import lines_of

METRICS = """\
def margin(scores, targets, images, task):
    return {"last": float(scores.max()), "images": len(images)}


def other(scores, targets, images, task):
    return task


def broken(scores, targets, images, task):
    return scores.nothing


def last_mAP(scores, targets, images, task):
    return 0
"""


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run, without the network, that one may evaluate."""
    folder = tmp_path / "runs" / "lwf+er" / "seed3"
    shutil.copytree(finished_run, folder)
    RunFolder(folder).trained_model.unlink()
    shutil.rmtree(RunFolder(folder).checkpoint)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(METRICS)
    return path


def keep_only_the_last(run: Path) -> None:
    """Leave the scores that `keep_scores: last` would have kept."""
    files, plan = RunFolder(run), read_plan(RunFolder(run))
    scores = read_scores(files.scores, files.about_scores, plan.sha256)[2].tobytes()
    files.scores.write_bytes(scores)
    files.about_scores.write_text(json.dumps(describe_scores(plan, "last", list(map(str, range(40))))))


def test_every_metric_is_equal_to_the_last_bit(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    (found,) = clsim.evaluate(run)
    recorded = {line["task"]: line["values"] for line in lines_of(run) if line["phase"] == "eval"}
    assert list(found.values) == found.tasks == list(recorded) == [0, 1, 2]
    for task, values in recorded.items():
        of_scores = {tag: value for tag, value in values.items() if not tag.startswith("memory/")}
        assert found.values[task] == of_scores
    result = json.loads((run / "result.json").read_text())
    assert found.summary == {key: result[key] for key in found.summary}
    assert {"last_mAP", "R", "AP", "groups", "thresholds", "present"} <= set(found.summary)
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert set(after) - set(before) == {"evaluation.json"}
    assert {name: after[name] for name in before} == before
    assert json.loads(after["evaluation.json"])["summary"] == found.summary


def test_runs_on_derived_plans_and_with_a_shared_first_task_too(comparison: clsim.Comparison) -> None:
    found = clsim.evaluate(comparison.folder, write=False)
    assert [each.name for each in found] == ["finetune/seed0", "finetune/seed1", "joint/seed0", "joint/seed1"]
    for each in found:
        result = json.loads(RunFolder(each.folder).result.read_text())
        assert each.summary == {key: result[key] for key in each.summary}


def test_what_was_added_later_is_in_the_report_without_training(run: Path, own: Path) -> None:
    clsim.evaluate([run], metrics=[f"{own}:margin"], thresholds=[0.3])
    clsim.evaluate(run.parents[1], metrics=[f"{own}:other"])
    assert list(json.loads((run / "evaluation.json").read_text())["summary"]["metrics"]) == ["margin", "other"]
    frame = clsim.Comparison(run.parents[1], ("lwf+er",)).frame
    assert frame.loc[0, "other"] == 2
    assert frame.loc[0, "margin/images"] == 40
    recorded = json.loads((run / "result.json").read_text())
    assert frame.loc[0, "CF1@0.5"] == recorded["thresholds"]["0.5"]["last_CF1"]
    assert not np.isnan(frame.loc[0, "CF1@0.3"])
    page = write_report(run.parents[1]).read_text(encoding="utf-8")
    assert f"margin ({own}:margin)" in page
    code = read_run(run).record.metrics["other"].code
    own.write_text(METRICS.replace("return task", "return task + 1"))
    clsim.evaluate(run, metrics=[f"{own}:other"])
    changed = read_run(run).record.metrics["other"]
    assert changed.courses["other"] == [1, 2, 3]
    assert changed.code != code


def test_another_convention_for_empty_classes_never_mixes_with_the_runs_own(run: Path) -> None:
    files, plan = RunFolder(run), read_plan(RunFolder(run))
    (found,) = clsim.evaluate(run, empty_classes="zero", thresholds=[0.3])
    scores = read_scores(files.scores, files.about_scores, plan.sha256)[2]
    counts = confusion(scores, plan.test_truth, 0.3)
    assert found.summary["thresholds"]["0.3"]["last_CF1"] == 100 * cf1(counts, "zero")
    assert list(read_run(run).record.thresholds) == ["0.5", "0.8"]
    clsim.evaluate(run, thresholds=[0.4])
    assert list(read_run(run).record.thresholds) == ["0.4", "0.5", "0.8"]


def test_scores_of_the_last_task_alone_give_what_needs_no_others(run: Path) -> None:
    keep_only_the_last(run)
    (found,) = clsim.evaluate(run, write=False)
    result = json.loads((run / "result.json").read_text())
    assert found.tasks == [2]
    for name in ("last_mAP", "avg_mAP", "forgetting", "backward_transfer"):
        assert found.summary[name] == (result[name] if name == "last_mAP" else None), name
    assert found.summary["R"] == [[None] * 3, [None] * 3, result["R"][2]]
    assert found.summary["thresholds"]["0.8"]["last_FNR"] == result["thresholds"]["0.8"]["last_FNR"]
    assert not (run / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": [1.5]}, r"evaluation\.thresholds\.0: given 1\.5"),
        ({"thresholds": 0.5}, r"evaluation\.thresholds: given 0\.5"),
        ({"empty_classes": "zer"}, r"given 'zer', allowed: skip, zero, did you mean 'zero'\?"),
        ({"metrics": ["nowhere.py:f"]}, r"no file '.*nowhere\.py' is there"),
        ({"metrics": ["{}:margn"]}, r"did you mean 'margin'\?"),
        ({"metrics": ["{}:broken"]}, r"own\.py:\d+: metric broken failed after task 0: AttributeError"),
        ({"metrics": ["{}:last_mAP"]}, "clsim itself measures last_mAP"),
        ({"errors": 49}, r"errors: given 49, must be within 0\.\.48"),
        ({"errors": "three"}, "errors: given 'three', expected a whole number"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_one_line_and_writes_nothing(
    options: dict[str, Any], message: str, run: Path, own: Path
) -> None:
    if "metrics" in options:
        options = {"metrics": [text.format(own) for text in options["metrics"]]}
    with pytest.raises(ClsimError, match=message) as error:
        clsim.evaluate(run, **options)
    assert "\n" not in str(error.value)
    assert not (run / "evaluation.json").exists()


def spoil_scores(run: Path) -> None:
    path = RunFolder(run).scores
    path.write_bytes(b"\xff" * path.stat().st_size)  # NaN


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: RunFolder(run).about_scores.unlink(), "keeps no scores; a run does with evaluation.keep_scores"),
        (lambda run: RunFolder(run).result.unlink(), r"the run is not finished \(no result.json\)"),
        (lambda run: RunFolder(run).plan.write_bytes(b"x"), r"plan\.json\.gz: cannot be read: not a plan"),
        (spoil_scores, r"scores\.f32: damaged, at task 0: scores contain NaN"),
        (lambda run: RunFolder(run).config.write_text("[}"), r"config\.yaml: cannot be read"),
        (lambda run: RunFolder(run).evaluation.write_text("{}"), r"evaluation\.json: format is None"),
    ],
    ids=["no scores", "unfinished", "plan", "NaN", "config", "evaluation"],
)
def test_a_run_that_cannot_be_evaluated_says_why(spoil: Callable[[Path], Any], message: str, run: Path) -> None:
    spoil(run)
    with pytest.raises(RunError, match=message):
        clsim.evaluate(run)
    with pytest.raises(RunError, match="no run folder, and no finished run below it"):
        clsim.evaluate(run.parent / "nothing")


def test_an_interrupted_write_leaves_the_evaluation_before(
    run: Path, full_for: Callable[[str], AbstractContextManager[None]]
) -> None:
    clsim.evaluate(run)
    before = (run / "evaluation.json").read_bytes()
    with full_for("evaluation.json"), pytest.raises(RunError, match=r"evaluation\.json: No space left on device$"):
        clsim.evaluate(run, thresholds=[0.2])
    assert (run / "evaluation.json").read_bytes() == before
    assert not list(run.glob("*.part")) + list(run.glob(".*.part"))


def test_errors_are_a_picture_for_each_seen_class(run: Path) -> None:
    clsim.evaluate(run, errors=2)
    pictures = sorted(path.name for path in RunFolder(run).error_sheets.iterdir())
    assert pictures == [f"{column:03d}-{column}.png" for column in range(10)]


def test_results_of_classes_are_a_tidy_table(run: Path) -> None:
    keep_only_the_last(run)
    write_report(run.parents[1])
    table = pd.read_csv(run.parents[1] / "classes.csv")
    result, plan = json.loads((run / "result.json").read_text()), read_plan(RunFolder(run))
    assert len(table) == 4 + 8 + 10
    last = table[table["task"] == 2]
    np.testing.assert_array_equal(last["AP"].to_numpy(), np.array(result["AP"][2], dtype=float))
    assert last["positives"].tolist() == (plan.test_truth == 1).sum(axis=0).tolist()
    np.testing.assert_allclose(last["chance"], 100 * plan.test_truth.mean(axis=0))
    assert last["F1@0.5"].mean() == pytest.approx(result["thresholds"]["0.5"]["last_CF1"])
    assert table[table["task"] < 2]["recall@0.5"].isna().all()
    assert set(table["run"]) == {"lwf+er/seed3"}
