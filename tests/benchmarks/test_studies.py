"""The numbers and tables of the studies, from made-up runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.studies import more, rebll
from benchmarks.studies.runs import Job, Stream, Variant, interval, table, write_tables

RUNS = pd.DataFrame(
    [
        {"variant": name, "seed": seed, "last_mAP": value, "memory_KL": 0.0123}
        for name, values in {"base": [50.0, 60.0, 70.0], "other": [52.0, 61.0, 75.0]}.items()
        for seed, value in enumerate(values)
    ]
)

COLUMNS = {"last_mAP": "mAP", "memory_KL": "KL"}


def test_an_interval_is_students() -> None:
    values = pd.Series(np.random.default_rng(0).normal(50, 5, 5))
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_missing_ones_do_not_count() -> None:
    mean, half = interval(pd.Series([3.0, np.nan]))
    assert mean == 3
    assert np.isnan(half)


def test_differences_are_paired_by_seed_whatever_the_order_of_the_runs() -> None:
    shuffled = RUNS.iloc[[3, 5, 4, 0, 2, 1]]
    for runs in (RUNS, shuffled):
        (row,) = [
            line for line in table(runs, "base", {"last_mAP": "mAP"}).splitlines() if line.startswith("| `other`")
        ]
        mean, half = interval(pd.Series([2.0, 1.0, 5.0]))
        assert row.endswith(f"| {mean:+.1f} ± {half:.1f} |")


def test_the_baseline_has_no_difference_to_itself_and_small_numbers_have_more_digits() -> None:
    row = table(RUNS, "base", COLUMNS).splitlines()[2]
    assert row.startswith("| `base` | 3 | 60.0 ± ")
    assert "| 0.012 ± 0.000 |" in row
    assert row.endswith("| \N{EN DASH} |")


def test_a_job_finds_the_result_of_its_own_seed(tmp_path: Path) -> None:
    job = Job(Stream("s", "digits-b0c2"), Variant("v", "er"), 1, tmp_path)
    assert job.result() is None
    for seed in (0, 1, 11):
        folder = job.home / "digits-b0c2" / "er" / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"seed": seed}))
        lines = [{"phase": phase, "values": {"x": seed + step}} for step, phase in enumerate(["eval", "train", "eval"])]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert job.result() == {"seed": 1, "last": {"x": 3}}


def test_tables_go_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n")
    write_tables(page, {"one": r"| new \1 |", "three": "| lost |"})
    assert (
        page.read_text() == "a\n<!-- table: one -->\n| new \\1 |\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n"
    )


def test_each_variant_may_have_a_baseline_of_its_own() -> None:
    row = table(RUNS, {"other": "base"}, COLUMNS, ("last_mAP", "memory_KL")).splitlines()[3]
    assert row.endswith("| +2.7 ± 5.2 | +0.0 ± 0.0 |")
    assert table(RUNS, {}, COLUMNS).count("| \N{EN DASH} |") == 2


REPORTED = [(rebll.TUNING, rebll.LADDER_STREAMS), (more.TUNING, more.REPORTED)]


@pytest.mark.parametrize(("tuning", "reported"), REPORTED, ids=["rebll", "more"])
def test_defaults_are_chosen_on_other_streams_than_those_reported_and_on_validation_images(
    tuning: list[Stream], reported: list[Stream]
) -> None:
    assert not {stream.name for stream in tuning} & {stream.name for stream in reported}
    assert all(stream.overrides["evaluation.on"] == "validation" for stream in tuning)
    assert all("evaluation.on" not in stream.overrides for stream in reported)
