"""The benchmark of watching, on a stream of seconds."""

from __future__ import annotations

from benchmarks import watching


def test_the_cost_of_each_logger_and_its_bytes_are_measured() -> None:
    found = watching.run(4, 2, per_task=32, test=20)
    assert {"MetricsFile", "MemoryFile", "TensorBoardCurves", "SamplePictures", "TimingFile"} <= set(found["loggers"])
    spent = sum(found["loggers"].values()) + found["metrics"]
    assert 0 < spent < found["total"]
    assert found["events"] > 1000
    assert found["logged"] > 100
    assert found["files"] > 100
    row = dict(zip(watching.HEADINGS, watching.row(4, 2, found), strict=True))
    assert (row["classes"], row["tasks"]) == ("4", "2")
    assert row["share"].endswith("%")
