"""Real photographs end to end: labels from VOC's own files, a frozen ImageNet backbone, replay and RebLL."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import clsim
from clsim.scenario.plan.stream_plan import StreamPlan

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "benchmarks" / "studies" / "voc-mini.yaml"
DATA = ROOT.parent / "shared" / "data" / "voc-mini"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/voc-mini, which is not part of the project"),
]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> clsim.Comparison:
    """er and rebll over features of small images."""
    return clsim.compare(
        SCENARIO,
        ["er", "rebll"],
        overrides={"training.model.image_size": 96, "training.epochs": 4, "threads": 1},
        out=tmp_path_factory.mktemp("voc-mini"),
        workers=2,
    )


def test_both_methods_finish_and_see_the_same_stream(comparison: clsim.Comparison) -> None:
    assert not comparison.failed
    assert set(comparison.frame.strategy) == {"er", "rebll"}
    assert comparison.frame.plan_sha256.nunique() == 1


def test_what_they_learn_is_far_above_chance(comparison: clsim.Comparison) -> None:
    for run in comparison.results.runs:
        plan = StreamPlan.from_bytes((run.folder / "plan.json.gz").read_bytes())
        truth = plan.test_truth
        chance = 100 * np.mean([(column == 1).sum() / (column >= 0).sum() for column in truth.T])
        assert run.result["last_mAP"] > 1.5 * chance


def test_entries_of_difficult_objects_only_count_nowhere(comparison: clsim.Comparison) -> None:
    plan = StreamPlan.from_bytes((comparison.results.runs[0].folder / "plan.json.gz").read_bytes())
    assert (plan.test_truth == -1).any()


def test_the_memory_holds_features(comparison: clsim.Comparison) -> None:
    for run in comparison.results.runs:
        memory = json.loads((run.folder / "result.json").read_text())["memory"]
        assert memory["rows"] == 4 * 12
        assert memory["bytes"] > 48 * 1280 * 4
