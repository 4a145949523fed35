"""The comparison of finished runs: numbers computed by hand, refusals, and a page that stands alone."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clsim.errors import RunError
from clsim.experiment.report import write_report
from clsim.experiment.report_figures import _apart, styles, task_forgetting
from clsim.experiment.results import load_results, markdown_table, table_rows

PLAN, JOINT_PLAN, OTHER_PLAN = "a" * 64, "b" * 64, "c" * 64
NASTY = "<b>&x"
R = [[60.0, None, None], [80.0, 70.0, None], [50.0, 40.0, 90.0]]
GROUPS = {
    "rule": "terciles",
    "members": {"head": [NASTY], "medium": ["cat"], "tail": ["dog"]},
    "mAP": {"head": [60.0, 80.0, 50.0], "medium": [None, 70.0, 40.0], "tail": [None, None, 90.0]},
    "last_mAP": {"head": 50.0, "medium": 40.0, "tail": 90.0},
    "forgetting": {"head": 30.0, "medium": 30.0, "tail": None},
}
CONFIG = """\
name: toy
source: KRT, table 2
training: {epochs: 6}
expected:
- {strategy: er, metric: last_mAP, value: 47.2, tolerance: 1.5, source: "KRT <paper>"}
- {strategy: csc, metric: last_mAP, value: 74.8, tolerance: null, source: own}
"""


def make_run(root: Path, strategy: str, seed: int = 0, config: str = CONFIG, torch: str = "2.6.0", **changes) -> Path:
    folder = root / strategy / f"seed{seed}"
    folder.mkdir(parents=True)
    names = [NASTY, "cat", "dog"]
    tasks = [{"index": t, "classes": [names[t]], "columns": [t, t + 1], "train_images": 510 + t} for t in range(3)]
    result = {
        "format": 1,
        "scenario": "toy",
        "strategy": strategy,
        "options": {},
        "seed": seed,
        "plan_sha256": PLAN,
        "derived_from": None,
        "data_fingerprint": "d",
        "threads": 1,
        "device": "cpu",
        "class_names": names,
        "tasks": tasks,
        "last_mAP": 60.0,
        "avg_mAP": 65.0,
        "forgetting": 30.0,
        "backward_transfer": -20.0,
        "mAP": [60.0, 75.0, 60.0],
        "R": R,
        "AP": R,
        "groups": GROUPS,
        "memory": {"rows": 40, "bytes": 2_500_000},
    }
    (folder / "result.json").write_text(json.dumps(result | changes))
    timing = [{"task": t, "train_seconds": 2.5, "eval_seconds": 9.0, "peak_memory_bytes": 100 + t} for t in range(3)]
    (folder / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timing))
    environment = {"torch": torch, "git_dirty": False, "started": f"2026-11-20T15:00:0{seed}Z"}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "config.yaml").write_text(config)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """er with two seeds (last mAP 60 and 64), joint on a derived plan with nulls, and a failed run."""
    make_run(tmp_path, "joint", plan_sha256=JOINT_PLAN, derived_from=PLAN, avg_mAP=None, memory=None)
    make_run(tmp_path, "er", seed=1, last_mAP=64.0)
    make_run(tmp_path, "er", seed=0)
    failed = tmp_path / "lwf" / "seed3"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("StrategyError: weight <0\nTraceback")
    return tmp_path


def test_frame_holds_one_row_per_finished_run(runs: Path) -> None:
    frame = load_results(runs).frame
    assert list(zip(frame["strategy"], frame["seed"], strict=True)) == [("er", 0), ("er", 1), ("joint", 0)]
    row = frame.iloc[1]
    assert (row["last_mAP"], row["avg_mAP"], row["forgetting"], row["backward_transfer"]) == (64, 65, 30, -20)
    assert (row["head_last_mAP"], row["medium_last_mAP"], row["tail_last_mAP"]) == (50, 40, 90)
    assert math.isnan(row["tail_forgetting"])
    assert (row["memory_rows"], row["memory_bytes"]) == (40, 2_500_000)
    assert (row["train_seconds"], row["peak_memory_bytes"]) == (7.5, 102)
    assert (frame["plan_sha256"][2], frame["derived_from"][2]) == (JOINT_PLAN, PLAN)
    assert math.isnan(frame["avg_mAP"][2])
    assert math.isnan(frame["memory_rows"][2])


def test_summary_has_sample_deviation_and_none_for_one_seed(runs: Path) -> None:
    er, joint = load_results(runs).summary().to_dict("records")
    assert (er["strategy"], er["seeds"], er["last_mAP_mean"]) == ("er", 2, 62.0)
    assert er["last_mAP_std"] == pytest.approx(8**0.5)  # sqrt(((60 - 62)^2 + (64 - 62)^2) / (2 - 1))
    assert (joint["seeds"], joint["last_mAP_mean"]) == (1, 60.0)
    assert math.isnan(joint["last_mAP_std"])


def test_a_metric_that_one_seed_lacks_has_no_mean(tmp_path: Path) -> None:
    make_run(tmp_path, "er", seed=0)
    make_run(tmp_path, "er", seed=1, forgetting=None)
    assert math.isnan(load_results(tmp_path).summary()["forgetting_mean"][0])


def test_a_task_trained_again_after_a_resume_counts_once(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "er")
    with (folder / "timing.jsonl").open("a") as file:
        file.write('{"task": 2, "train_seconds": 4.5, "peak_memory_bytes": null}\n')
    assert load_results(tmp_path).frame["train_seconds"][0] == 2.5 + 2.5 + 4.5


def test_joint_comes_last_unless_the_caller_orders(tmp_path: Path) -> None:
    for name in ("rebll", "joint", "zap", "er"):
        make_run(tmp_path, name)
    assert load_results(tmp_path).strategies == ["er", "rebll", "zap", "joint"]
    assert load_results(tmp_path, order=["zap", "absent", "joint"]).strategies == ["zap", "joint", "er", "rebll"]


def test_markdown_table_rounds_and_marks_missing_values(runs: Path) -> None:
    heading, rule, er, joint = markdown_table(load_results(runs)).splitlines()
    assert heading.startswith("| Strategy | Seeds | Last mAP")
    assert rule.count("---:") == rule.count("|") - 2
    assert er == (
        "| er | 2 | 62.0 ± 2.8 | 65.0 ± 0.0 | 30.0 ± 0.0 | -20.0 ± 0.0 | 50.0 ± 0.0 | 40.0 ± 0.0 | 90.0 ± 0.0 "
        "| 40 | 2.50 | 7.5 ± 0.0 s |"
    )
    assert joint == "| joint | 1 | 60.0 | – | 30.0 | -20.0 | 50.0 | 40.0 | 90.0 | – | – | 7.5 s |"  # noqa: RUF001


def test_markdown_escapes_the_column_mark(tmp_path: Path) -> None:
    make_run(tmp_path, "a|b")
    assert "| a\\|b | 1 |" in markdown_table(load_results(tmp_path))


def test_table_rows_are_rectangular_text(runs: Path) -> None:
    rows = table_rows(load_results(runs))
    assert [row[0] for row in rows] == ["Strategy", "er", "joint"]
    assert {len(row) for row in rows} == {12}
    assert all(isinstance(cell, str) for row in rows for cell in row)


def test_csv_reads_back_as_the_frame(runs: Path) -> None:
    write_report(runs)
    read = pd.read_csv(runs / "results.csv")
    pd.testing.assert_frame_equal(read, load_results(runs).frame, check_dtype=False)


def test_different_streams_are_refused_with_folders_and_hashes(tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "lwf", plan_sha256=OTHER_PLAN)
    with pytest.raises(RunError) as caught:
        load_results(tmp_path)
    for part in (PLAN, OTHER_PLAN, str(tmp_path / "er" / "seed0"), str(tmp_path / "lwf" / "seed0")):
        assert part in str(caught.value)


def test_a_plan_derived_from_another_stream_is_refused(tmp_path: Path) -> None:
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
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    path = make_run(tmp_path, "er") / name
    path.write_text(text)
    with pytest.raises(RunError, match=re.escape(str(path))):
        load_results(tmp_path)


def test_a_number_that_is_not_strict_json_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "er", last_mAP=math.nan)
    with pytest.raises(RunError, match=r"result\.json: .*NaN is not JSON"):
        load_results(tmp_path)


def test_two_folders_with_the_same_run_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "er-copy")
    path = tmp_path / "er-copy" / "seed0" / "result.json"
    path.write_text(path.read_text().replace("er-copy", "er"))
    with pytest.raises(RunError, match="both hold er/seed0"):
        load_results(tmp_path)


def test_no_result_names_the_folder_what_belongs_there_and_why(tmp_path: Path) -> None:
    (tmp_path / "er" / "seed0").mkdir(parents=True)
    make_run(tmp_path / "deeper" / "toy", "er")
    with pytest.raises(RunError) as caught:
        load_results(tmp_path)
    assert f"no finished run in {tmp_path}: expected <strategy>/seed<k>/result.json" in str(caught.value)
    assert "er/seed0: no result.json" in str(caught.value)
    with pytest.raises(RunError, match=re.escape(f"runs were found in {tmp_path / 'deeper' / 'toy'}")):
        load_results(tmp_path / "deeper")


def test_forgetting_per_task_takes_the_best_earlier_value() -> None:
    matrix = np.array([R, R], dtype=float)
    np.testing.assert_array_equal(task_forgetting(matrix), [[30.0, 30.0]] * 2)  # 80 - 50, not 60 - 50; 70 - 40
    assert task_forgetting(matrix[:, :1, :1]).shape == (2, 0)


def test_labels_are_moved_apart_in_order() -> None:
    assert _apart([50.0, 10.0, 50.0, 51.0], gap=4) == pytest.approx([46 + 1 / 3, 10, 50 + 1 / 3, 54 + 1 / 3])


def test_looks_differ_between_strategies() -> None:
    names = [f"s{i}" for i in range(24)]
    looks = styles([*names, "joint"])
    assert len({(look.colour, look.marker) for look in looks.values()}) == 25


class Page(HTMLParser):
    """Ids, visible text and everything that a browser would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.unlabelled: list[str] = []
        self.text = ""
        source = path.read_text(encoding="utf-8")
        self.loads += re.findall(r"url\(\s*['\"]?([^)'\"]*)|@import\s+(\S+)", source)
        self.feed(source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.text += " "
        self.ids += [named["id"] or ""] if "id" in named else []
        self.loads += [named[key] or "" for key in ("src", "href", "xlink:href", "data", "srcset") if key in named]
        if tag == "svg" and not named.get("aria-label"):
            self.unlabelled.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_complete_and_loads_nothing(runs: Path) -> None:
    page = Page(write_report(runs))
    expected = {"table-final", "table-expected", "table-tasks", "table-groups", "table-environment", "table-unfinished"}
    expected |= {"figure-curves", "figure-matrices", "figure-forgetting", "figure-groups", "config", "metrics"}
    assert expected <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    flat = [part for load in page.loads for part in ([load] if isinstance(load, str) else load) if part]
    assert flat
    assert all(load.startswith("#") for load in flat)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 1 + 2 + 1 + 1 + 1  # curves, a matrix per strategy, scale, forgetting, groups
    assert page.tags.count("figure") == page.tags.count("figcaption") == 4
    assert not page.unlabelled


def test_page_says_what_a_reader_must_know(runs: Path) -> None:
    text = Page(write_report(runs)).text
    assert "Source KRT, table 2" in text
    assert PLAN in text
    assert "62.0 ± 2.8" in text
    assert "joint upper reference" in text
    assert "trains on all data so far" in text
    assert "er last mAP 47.2 ± 1.5 62.0 ± 2.8 published KRT <paper>" in text
    assert "csc last mAP 74.8 – – measured own" in text  # noqa: RUF001
    assert "lwf/seed3 StrategyError: weight <0" in text
    assert "er: 0, 1; joint: 0" in text  # seeds differ
    assert "rule “terciles”" in text
    assert "511" in text


def test_page_escapes_names(tmp_path: Path) -> None:
    make_run(tmp_path, "a<i>&$x$")
    path = write_report(tmp_path)
    source = path.read_text(encoding="utf-8")
    assert "<b>&" not in source
    assert "a<i>" not in source
    assert "&lt;b&gt;&amp;x" in source
    page = Page(path)
    assert re.search(r"<text[^>]*>a&lt;i&gt;&amp;\$x\$</text>", source)  # in a figure, not set as mathematics
    assert "a<i>&$x$" in page.text
    assert not {"b", "i"} & set(page.tags)


def test_differences_between_runs_are_pointed_out(tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "lwf", config=CONFIG.replace("epochs: 6", "epochs: 2"), torch="2.7.0", data_fingerprint="e")
    make_run(tmp_path, "lwf", seed=1, options={"weight": 2})
    text = Page(write_report(tmp_path)).text
    assert "resolved configurations differ in training.epochs." in text
    assert "training.epochs differs 6 er/seed0, lwf/seed1 2 lwf/seed0" in text
    assert "environments differ in torch." in text
    assert "git_dirty false all runs" in text
    assert "data fingerprints differ" in text
    assert "seeds of lwf ran with different options" in text


def test_equal_runs_have_no_warnings(tmp_path: Path) -> None:
    make_run(tmp_path, "er", seed=0)
    make_run(tmp_path, "er", seed=1)
    assert "warnings" not in Page(write_report(tmp_path)).ids


def test_a_run_of_one_task_with_nulls_only_is_shown(tmp_path: Path) -> None:
    tasks = [{"index": 0, "classes": ["cat"], "columns": [0, 1], "train_images": 5}]
    nulls = dict.fromkeys(("avg_mAP", "forgetting", "backward_transfer", "groups", "memory"))
    folder = make_run(tmp_path, "er", tasks=tasks, mAP=[60.0], R=[[60.0]], **nulls)
    for name in ("timing.jsonl", "environment.json", "config.yaml"):
        (folder / name).unlink()
    page = Page(write_report(tmp_path))
    assert "er 1 60.0 – – – – – – – – – mAP in percent" in page.text  # noqa: RUF001
    assert "figure-forgetting" not in page.ids
    assert "figure-groups" not in page.ids
    assert "no run has an earlier task" in page.text


def test_a_joint_run_that_trained_the_last_task_only_is_shown(tmp_path: Path) -> None:
    none = [None, None, None]
    lasts = {"mAP": [None, None, 70.0], "R": [none, none, [50.0, 60.0, 70.0]], "avg_mAP": None, "forgetting": None}
    make_run(tmp_path, "er")
    make_run(tmp_path, "joint", plan_sha256=JOINT_PLAN, derived_from=PLAN, **lasts)
    page = Page(write_report(tmp_path))
    assert "Not defined for: joint." in page.text
    assert "figure-forgetting" in page.ids


def test_equal_results_give_equal_bytes(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    names = ("report.html", "results.csv", "results.md")
    write_report(runs)
    first = [(runs / name).read_bytes() for name in names]
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    code = f"from clsim.experiment.report import write_report; write_report({str(runs)!r}, {str(out)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)  # another process, another hash seed
    assert [(out / name).read_bytes() for name in names] == first
    assert sorted(path.name for path in out.iterdir()) == sorted(names)  # no drafts left


def test_a_failed_report_leaves_the_old_one(runs: Path) -> None:
    old = write_report(runs).read_bytes()
    (runs / "er" / "seed0" / "result.json").write_text("{")
    with pytest.raises(RunError):
        write_report(runs)
    assert (runs / "report.html").read_bytes() == old


def test_report_needs_neither_torch_nor_avalanche() -> None:
    code = "import sys, clsim.experiment.report; print({'torch', 'avalanche', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
