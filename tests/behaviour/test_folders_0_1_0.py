"""Run folders that clsim 0.1.0 has written are read, and their report holds the same numbers.

`folders_0_1_0/digits-b0c2` was made by version 0.1.0, `clsim compare digits-b0c2 --strategies finetune,rebll+more --set
training.epochs=1 --set dataset.train=200 --set dataset.test=100`, without its checkpoints and event files; so were
results.csv and statistics.csv.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clsim.report.results import Results, load_results
from clsim.report.writing import write_report

FOLDER = Path(__file__).parent / "folders_0_1_0" / "digits-b0c2"


@pytest.fixture(scope="module")
def results() -> Results:
    return load_results(FOLDER)


def test_the_report_has_the_numbers_of_then_and_every_section(tmp_path: Path) -> None:
    page = write_report(FOLDER, tmp_path).read_text(encoding="utf-8")
    for name in ("results.csv", "statistics.csv"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
    for section in ("final", "differences", "thresholds", "imbalances", "groups", "memory", "more", "classes", "cost"):
        assert f'id="{section}"' in page


def test_what_a_run_did_not_record_is_known_by_name_or_absent(results: Results) -> None:
    assert (results.lower, results.upper) == ("finetune", None)
    finetune, more = results.runs
    assert (finetune.record.first_task, finetune.record.accuracy, finetune.record.memory) == (None, None, None)
    assert more.record.options["more"]["amplitude"] == 0.5
    assert more.memory_labels is not None
    assert more.memory_labels.blocks is not None
