from __future__ import annotations

import json
from pathlib import Path

from clsim.experiment.progress import read_state

LINES = [
    {"phase": "train", "step": 3, "values": {"loss/total": 1.0}},
    {"phase": "eval", "step": 1, "values": {"mAP/seen": 40.0}},
    {"phase": "train", "step": 4, "values": {"loss/total": 1.0}},
    {"phase": "epoch-eval", "step": 4, "values": {"epoch/mAP_seen": 30.0}},
]


def test_a_pass_inside_a_task_is_neither_progress_nor_a_result(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES) + '{"phase": "tr')
    state = read_state(tmp_path, 6)
    assert (state.done, state.total, state.seen_map) == (4, 6, 40.0)
