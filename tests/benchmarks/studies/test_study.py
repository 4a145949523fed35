"""The means of a study: what is declared is carried out once, and its tables are dated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.studies.study import STEP, Compared, Study, Table, frame, interval, table, when, write_tables
from clsim import Variant
from clsim.report.results import load_results

RUNS = pd.DataFrame(
    [
        {"strategy": name, "seed": seed, "order_seed": np.nan, "last_mAP": value, "memory_KL": 0.0123}
        for name, values in {"base": [50.0, 60.0, 70.0], "other": [52.0, 61.0, 75.0]}.items()
        for seed, value in enumerate(values)
    ]
)
NAMES = ["base", "other"]
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
        row = table(runs, NAMES, "base", {"last_mAP": "mAP"}).splitlines()[3]
        mean, half = interval(pd.Series([2.0, 1.0, 5.0]))
        assert row.startswith("| `other`")
        assert row.endswith(f"| {mean:+.1f} ± {half:.1f} |")


def test_runs_of_several_class_orders_are_paired_by_both() -> None:
    orders = [
        RUNS.assign(order_seed=order, last_mAP=RUNS["last_mAP"] + order * (RUNS.strategy == "other"))
        for order in (0, 1)
    ]
    row = table(pd.concat(orders), NAMES, "base", {"last_mAP": "mAP"}).splitlines()[3]
    mean, half = interval(pd.Series([2.0, 1.0, 5.0, 3.0, 2.0, 6.0]))
    assert row.startswith("| `other` | 6 |")
    assert row.endswith(f"| {mean:+.1f} ± {half:.1f} |")


def test_the_baseline_has_no_difference_to_itself_and_small_numbers_have_more_digits() -> None:
    row = table(RUNS, NAMES, "base", COLUMNS).splitlines()[2]
    assert row.startswith("| `base` | 3 | 60.0 ± ")
    assert "| 0.012 ± 0.000 |" in row
    assert row.endswith("| \N{EN DASH} |")


def test_each_variant_may_have_a_baseline_of_its_own() -> None:
    row = table(RUNS, NAMES, {"other": "base"}, COLUMNS, ("last_mAP", "memory_KL")).splitlines()[3]
    assert row.endswith("| +2.7 ± 5.2 | +0.0 ± 0.0 |")
    assert table(RUNS, NAMES, {}, COLUMNS).count("| \N{EN DASH} |") == 2


def test_tables_go_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n")
    write_tables(page, {"one": r"| new \1 |", "three": "| lost |"})
    assert (
        page.read_text() == "a\n<!-- table: one -->\n| new \\1 |\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n"
    )


def test_a_text_without_a_table_does_not_replace_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table: one -->\nnothing\n<!-- end -->\n")
    full = "| a |\n| --- |\n| 1 |"
    for new, expected in ((full, full), ("nothing", full), (full.replace("1", "2"), full.replace("1", "2"))):
        write_tables(page, {"one": new})
        assert page.read_text() == f"<!-- table: one -->\n{expected}\n<!-- end -->\n"


def test_values_that_only_the_log_has_are_those_after_the_last_task(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    for seed, value in ((0, 3.0), (1, None)):
        folder = make_run(tmp_path, "er", seed)
        lines = [{"phase": phase, "values": {"x/y": step}} for step, phase in enumerate(["eval", "train"])]
        lines.append({"phase": "eval", "values": {"x/y": value}})
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    results = load_results(tmp_path)
    assert frame(results, ["x/y", "last_mAP"])["x/y"].tolist() == [3.0, pytest.approx(np.nan, nan_ok=True)]
    assert when(results) == f"Runs of 2026-11-20, torch 2.6.0; plan `{'a' * 12}`."


def test_a_table_says_what_is_missing_failed_or_refused(make_run: Callable[..., Path], tmp_path: Path) -> None:
    config = "training: {batch_size: 32}\n"
    for strategy, seed in (("er", 0), ("er", 1), ("joint", 0)):
        make_run(tmp_path, strategy, seed, config)
    failed = tmp_path / "lwf" / "seed3"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("StrategyError: weight <0\nTraceback")
    (tmp_path / "mas" / "seed0").mkdir(parents=True)
    took = '{"task": 0, "train_seconds": 2.0, "train_cpu_seconds": 1.0, "samples_per_second": %s}\n'
    for run, speed in {"er/seed0": 200.0, "er/seed1": 200.0, "joint/seed0": 0.0}.items():
        (tmp_path / run / "timing.jsonl").write_text(took % speed)
    compared = Compared(tmp_path.name, "digits-b0c2", ["er", "joint", "l3a", "lwf", "mas", Variant("l3a", "again")])
    shown = Table("mine", compared, "er", {"last_mAP": "mAP", STEP: "step ms"}, seeds=2)
    results = compared.results(tmp_path.parent)
    text = shown.text(results)
    assert "**Missing:** 1 of 2 seeds of `joint`; 2 of 2 seeds of `lwf`, `mas`." in text
    assert "**Failed or stopped:** `lwf`, seed 3: StrategyError: weight <0.\n" in text
    assert "**Refused:** `l3a`, `again`: strategy.l3a.features: given 'frozen'" in text
    assert "| 80.0 ± 0.0 |" in text.splitlines()[2]  # one second for 400 samples, in batches of 32
    assert "inf" not in text
    assert shown.missing(None) == ["**Missing: all.** Nothing has been run of 6 rows, seeds of each: 2."]
    assert "Missing" not in replace(shown, seeds=0).text(results)
    assert "**Missing:** 1 of 3 seeds of all rows." in replace(shown, rows=["er"], seeds=3).text(results)


@pytest.mark.slow
def test_a_study_is_carried_out_once_and_written_with_its_dates(tiny_overrides: dict, tmp_path: Path) -> None:
    small = {**tiny_overrides, "training.epochs": 1, "stream.increment": 5}
    ladder = Compared(
        "small", "digits-b0c2", ["finetune", "l3a", Variant("er", "er, herding", {"selection": "herding"})], small
    )
    other = Compared("other", "digits-b0c2", ["er"])
    page = tmp_path / "page.md"
    page.write_text("<!-- table: small -->\n<!-- end -->\n<!-- table: other -->\nolder\n<!-- end -->\n")
    tables = [Table(one.name, one, "finetune", {"last_mAP": "last mAP"}) for one in (ladder, other)]
    study = Study(page, {"ladder": [ladder], "more": [other]}, tables)
    for _ in range(2):
        assert study.carry_out("ladder", tmp_path, seeds=1, workers=2) == []
    assert ladder.run(tmp_path / "ladder", [0], 2).reused == tuple(
        tmp_path / "ladder" / "small" / name / "seed0" for name in ("finetune", "er, herding")
    )
    assert study.carry_out("more", tmp_path, seeds=1, workers=1, only=["nothing"]) == []
    write_tables(page, study.texts(tmp_path))
    lines = page.read_text().splitlines()
    assert lines[1].startswith("| variant | seeds | last mAP |")
    assert [line.split("|")[1].strip() for line in lines[3:5]] == ["`finetune`", "`er, herding`"]
    assert lines[6].startswith("Runs of 20")
    assert lines[-2:] == ["older", "<!-- end -->"]
