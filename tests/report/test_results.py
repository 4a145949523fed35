"""Finished runs read back: numbers computed by hand, tables, refusals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from clsim.errors import RunError
from clsim.report.results import load_results
from clsim.report.tables import threshold_tables
from clsim.report.writing import write_report
from clsim.running import checksums
from clsim.running.run_folder import RunFolder
from clsim.scenario.document import _composed

PLAN, JOINT_PLAN, OTHER_PLAN = "a" * 64, "b" * 64, "c" * 64
MakeRun = Callable[..., Path]


def test_frame_holds_one_row_per_finished_run(runs: Path) -> None:
    frame = load_results(runs).frame
    assert list(zip(frame["strategy"], frame["seed"], strict=True)) == [("er", 0), ("er", 1), ("joint", 0)]
    row = frame.iloc[1]
    assert (row["last_mAP"], row["avg_mAP"], row["forgetting"], row["backward_transfer"]) == (64, 65, 30, -20)
    assert (row["head_last_mAP"], row["medium_last_mAP"], row["tail_last_mAP"]) == (50, 40, 90)
    assert math.isnan(row["tail_forgetting"])
    assert (row["memory_rows"], row["memory_bytes"]) == (40, 2_500_000)
    assert (row["train_seconds"], row["eval_seconds"], row["peak_memory_bytes"]) == (7.5, 27, 102)
    assert row["samples_per_second"] == 200  # 100, 200 and 300 for 2.5 s each
    assert (frame["plan_sha256"][2], frame["derived_from"][2]) == (JOINT_PLAN, PLAN)
    assert math.isnan(frame["avg_mAP"][2])
    assert math.isnan(frame["memory_rows"][2])


def test_a_file_of_a_run_is_read_for_its_checksum_once_and_equal_configurations_are_parsed_once(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        files = RunFolder(make_run(tmp_path, "er", seed=seed, config="name: read once\n"))
        checksums.write_checksums(files, files.result.read_text(encoding="utf-8"))
    read: list[Path] = []
    really = checksums._sha256
    monkeypatch.setattr(checksums, "_sha256", lambda run, name: (read.append(run.path / name), really(run, name))[1])
    before = _composed.cache_info().misses
    assert [run.config for run in load_results(tmp_path).runs] == [{"name": "read once"}] * 3
    assert len(read) == len(set(read)) > 3
    assert _composed.cache_info().misses == before + 1


def test_frame_has_a_column_for_each_metric_at_each_threshold(runs: Path) -> None:
    frame = load_results(runs).frame
    assert [name for name in frame.columns if name.endswith("@0.5")] == [
        *("CF1@0.5", "CF1_harmonic@0.5", "OF1@0.5", "FPR@0.5", "FNR@0.5", "Hamming@0.5"),
        *("predicted_old@0.5", "predicted_new@0.5", "FPR_old@0.5", "FPR_new@0.5"),
    ]
    assert frame["CF1@0.5"].tolist() == [30, 32, 30]
    assert frame["OF1@0.8"].tolist() == [10, 10, 10]
    assert frame["CF1@0.8"].isna().all()  # null there


def test_frame_holds_what_the_memory_says_after_the_last_task(labelled: Path) -> None:
    frame = load_results(labelled).frame.set_index(["strategy", "seed"])
    names = [name for name in frame.columns if name.startswith("memory_")]
    expected = dict(zip(names, [40, 1000, 70, 60, 5, 40, 0.25, 11, 13, 17, 19], strict=True))
    assert names[2:] == [
        *("memory_coverage", "memory_precision", "memory_FPR", "memory_FNR", "memory_KL"),
        *("memory_ones_above", "memory_hidden_above", "memory_ones_below", "memory_hidden_below"),
    ]
    assert frame.loc[("rebll", 0), names].to_dict() == expected
    assert frame.loc[("rebll", 1), names].to_dict() == expected | {"memory_ones_above": 13, "memory_ones_below": 21}
    assert frame.loc[("finetune", 0), names].isna().all()


def test_frame_holds_old_and_new_classes_after_the_last_task(labelled: Path) -> None:
    row = load_results(labelled).frame.set_index("strategy").loc["finetune"]
    assert (row["predicted_old@0.5"], row["predicted_new@0.5"]) == (30, 13)
    assert (row["FPR_old@0.5"], row["FPR_new@0.5"]) == (15, 18)
    assert (row["present_old"], row["present_new"]) == (24, 27)


def test_older_runs_have_neither_memory_labels_nor_old_and_new_classes(runs: Path) -> None:
    frame = load_results(runs).frame
    for name in ("memory_coverage", "memory_ones_above", "present_old", "predicted_old@0.5", "FPR_new@0.8"):
        assert frame[name].isna().all()


@pytest.mark.parametrize("blocks", [[[[1, 0, 0, 0]]], [[[1, 0, 0]] * 3] * 3, [[[1, 0, 0, 0]] * 2] * 3])
def test_a_label_block_matrix_that_does_not_fit_the_stream_is_refused(
    make_run: MakeRun, tmp_path: Path, blocks: list
) -> None:
    make_run(tmp_path, "er", memory={"rows": 1, "bytes": 1, "labels": {"blocks": blocks}})
    with pytest.raises(RunError, match=r"result\.json: memory\.labels\.blocks is not one row and one column per task"):
        load_results(tmp_path)


def test_summary_has_mean_and_deviation_at_each_threshold(runs: Path) -> None:
    er = load_results(runs).summary().to_dict("records")[0]
    assert (er["CF1@0.5_mean"], er["CF1@0.5_std"]) == (31, pytest.approx(2**0.5))
    assert math.isnan(er["CF1@0.8_mean"])


def test_thresholds_are_in_ascending_order(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", thresholds={key: {"last_CF1": 30.0} for key in ("0.8", "0.5", "1e-05")})
    results = load_results(tmp_path)
    assert results.thresholds == ["1e-05", "0.5", "0.8"]
    assert [threshold for threshold, _ in threshold_tables(results)] == results.thresholds


def test_runs_older_than_the_thresholds_stay_beside_newer_ones(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", thresholds=None)
    make_run(tmp_path, "lwf")
    results = load_results(tmp_path)
    assert results.frame["CF1@0.5"].isna().tolist() == [True, False]
    assert list(results.frame.columns[-2:]) == ["plan_sha256", "derived_from"]
    assert threshold_tables(results)[0] == (
        "0.5",
        [("er", *["–"] * 6), ("lwf", "30.0", "40.0", "50.0", "5.0", "60.0", "20.0")],  # noqa: RUF001
    )


def test_the_anytime_average_is_a_column_where_a_run_has_one(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "lwf")
    assert "anytime_mAP" not in load_results(tmp_path).frame
    make_run(tmp_path, "er", anytime_mAP=55.0)
    frame = load_results(tmp_path).frame
    assert frame["anytime_mAP"].isna().tolist() == [False, True]
    assert frame["anytime_mAP"][0] == 55.0


def test_summary_has_sample_deviation_and_none_for_one_seed(runs: Path) -> None:
    er, joint = load_results(runs).summary().to_dict("records")
    assert (er["strategy"], er["seeds"], er["last_mAP_mean"]) == ("er", 2, 62.0)
    assert er["last_mAP_std"] == pytest.approx(8**0.5)  # sqrt(((60 - 62)^2 + (64 - 62)^2) / (2 - 1))
    assert (joint["seeds"], joint["last_mAP_mean"]) == (1, 60.0)
    assert math.isnan(joint["last_mAP_std"])


def test_a_metric_that_one_seed_lacks_has_no_mean(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", seed=0)
    make_run(tmp_path, "er", seed=1, forgetting=None)
    assert math.isnan(load_results(tmp_path).summary()["forgetting_mean"][0])


def test_a_task_trained_again_after_a_resume_counts_once(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "er")
    with (folder / "timing.jsonl").open("a") as file:
        file.write('{"task": 2, "train_seconds": 4.5, "peak_memory_bytes": null}\n')
    assert load_results(tmp_path).frame["train_seconds"][0] == 2.5 + 2.5 + 4.5


def test_a_run_without_its_throughput_has_none(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "er")
    (folder / "timing.jsonl").write_text('{"task": 0, "train_seconds": 2.5, "eval_seconds": 9.0}\n')
    row = load_results(tmp_path).frame.iloc[0]
    assert (row["train_seconds"], row["eval_seconds"]) == (2.5, 9)
    assert math.isnan(row["samples_per_second"])


def test_references_and_controls_are_no_methods(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "joint")
    make_run(tmp_path, "er+identity", control="knows it")
    make_run(tmp_path, "er+oracle", plan_sha256=JOINT_PLAN, derived_from=PLAN)
    assert load_results(tmp_path).methods == ["er"]


def test_joint_comes_last_unless_the_caller_orders(make_run: MakeRun, tmp_path: Path) -> None:
    for name in ("rebll", "joint", "zap", "er"):
        make_run(tmp_path, name)
    assert load_results(tmp_path).strategies == ["er", "rebll", "zap", "joint"]
    assert load_results(tmp_path, order=["zap", "absent", "joint"]).strategies == ["zap", "joint", "er", "rebll"]


def test_csv_reads_back_as_the_frame(runs: Path) -> None:
    write_report(runs)
    read = pd.read_csv(runs / "results.csv")
    pd.testing.assert_frame_equal(read, load_results(runs).frame, check_dtype=False)


def test_different_streams_are_refused_with_folders_and_hashes(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "lwf", plan_sha256=OTHER_PLAN)
    with pytest.raises(RunError) as caught:
        load_results(tmp_path)
    for part in (PLAN, OTHER_PLAN, str(tmp_path / "er" / "seed0"), str(tmp_path / "lwf" / "seed0")):
        assert part in str(caught.value)


def test_a_plan_derived_from_another_stream_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "joint", plan_sha256=JOINT_PLAN, derived_from=OTHER_PLAN)
    with pytest.raises(RunError, match=OTHER_PLAN):
        load_results(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("result.json", '{"format": 1,'),
        ("result.json", "[]"),
        ("result.json", '{"format": 99}'),
        ("result.json", '{"format": 1, "scenario": "toy"}'),
        ("timing.jsonl", '{"task": 0'),
        ("environment.json", "no"),
        ("config.yaml", "a: [1"),
    ],
)
def test_an_unreadable_file_is_named(make_run: MakeRun, tmp_path: Path, name: str, text: str) -> None:
    path = make_run(tmp_path, "er") / name
    path.write_text(text)
    with pytest.raises(RunError, match=re.escape(str(path))):
        load_results(tmp_path)


def test_a_number_that_is_not_strict_json_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", last_mAP=math.nan)
    with pytest.raises(RunError, match=r"result\.json: .*NaN is not JSON"):
        load_results(tmp_path)


def test_two_folders_with_the_same_run_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "er-copy")
    path = tmp_path / "er-copy" / "seed0" / "result.json"
    path.write_text(path.read_text().replace("er-copy", "er"))
    with pytest.raises(RunError, match="both hold er/seed0"):
        load_results(tmp_path)


def test_no_result_names_the_folder_what_belongs_there_and_why(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "er" / "seed0").mkdir(parents=True)
    make_run(tmp_path / "deeper" / "toy", "er")
    with pytest.raises(RunError) as caught:
        load_results(tmp_path)
    assert f"no finished run in {tmp_path}: expected <strategy>/seed<k>/result.json" in str(caught.value)
    assert "er/seed0: no result.json" in str(caught.value)
    with pytest.raises(RunError, match=re.escape(f"runs were found in {tmp_path / 'deeper' / 'toy'}")):
        load_results(tmp_path / "deeper")


@pytest.mark.parametrize("ap", [[[60.0, None, None]] * 2, [[60.0, None]] * 3])
def test_a_table_of_classes_that_does_not_fit_the_stream_is_refused(
    make_run: MakeRun, tmp_path: Path, ap: list
) -> None:
    make_run(tmp_path, "er", AP=ap)
    with pytest.raises(RunError, match=r"result\.json: AP is not one row per task"):
        load_results(tmp_path)
