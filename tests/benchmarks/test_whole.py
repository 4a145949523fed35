"""The peers of the whole job do what clsim's run does: every task trained, scored and written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks import whole


@pytest.mark.parametrize("way", [whole.plain, whole.avalanche])
def test_a_peer_trains_and_scores_each_task(way, tmp_path: Path) -> None:
    size = whole.settings(train=60, test=30, epochs=1)
    job = whole.Job(tmp_path, [f"{key}={value}" for key, value in size.items()])
    before = [parameter.clone() for parameter in job.network.parameters()]
    way(job)
    job.writer.close()
    assert not any(old.equal(new) for old, new in zip(before, job.network.parameters(), strict=True))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert len(events.Scalars("mAP")) == len(job.tasks) == 5
    assert len(events.Scalars("mAP/task0")) == 5
    assert len(events.Scalars("recall@0.8")) == 5
    assert all(0 <= event.value <= 1 for event in events.Scalars("mAP"))
