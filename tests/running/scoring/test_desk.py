"""The desk says how good what is handed in is, and tells nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clsim.evaluation.history import History
from clsim.evaluation.loggers import MetricsFile
from clsim.running.scoring.desk import Desk
from clsim.running.scoring.messages import Beginning, Event, Pass
from clsim.scenario import Scenario
from clsim.training.learner import Position


def test_labels_that_a_part_has_written_are_held_against_the_truth(tiny: Scenario, tmp_path: Path) -> None:
    plan, truth = tiny.plan(), tiny.truth()[tiny.plan().row_samples]
    desk = Desk(History(plan), [MetricsFile(tmp_path / "metrics.jsonl")], truth)
    desk.begin(Beginning(0, 2, "task"))
    present, absent = (np.argwhere(truth[:20] == value) for value in (1, 0))
    rows, columns = np.concatenate([present[:6], absent[:4]]).T
    written = rows, columns, np.array([0.9] * 3 + [0.1] * 3 + [1.0] + [0.0] * 3, dtype=np.float32)
    logits = np.zeros((len(plan.test_samples), plan.tasks[0].classes[1]), dtype=np.float32)
    scored = Pass(plan.test_rows(), logits, [("memory/rows", 3, 1)], [("own", 0.5, 1)], written={"Filler": written})
    values = {name: value for name, value, _ in desk.take(Event("after_eval_exp", Position(1), scored=scored))}
    tags = [f"written/Filler_{name}" for name in ("entries", "precision", "FPR", "FNR")]
    assert [values[tag] for tag in tags] == pytest.approx([10, 75.0, 25.0, 50.0])
    assert list(values)[-6:] == ["memory/rows", *tags, "own"]
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (line["phase"], line["task"], line["step"]) == ("eval", 0, 1)
    assert line["values"]["written/Filler_precision"] == 75.0
