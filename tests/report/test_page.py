"""The report page: complete, alone, escaped, the same for equal results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clsim.errors import RunError
from clsim.report.results import load_results
from clsim.report.run_result import METRICS, TRAIN_CPU
from clsim.report.writing import write_report
from tests.fixtures.recorded_runs import GROUPS

PLAN, JOINT_PLAN = "a" * 64, "b" * 64
MakeRun = Callable[..., Path]


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
    expected |= {"table-thresholds", "figure-classes", "table-differences", "table-distance", "table-cost"}
    expected |= {"figure-intransigence", "figure-group-courses", "table-group-forgetting"}
    expected |= {"figure-curves", "figure-matrices", "figure-forgetting", "figure-groups", "config", "metrics"}
    assert expected <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    flat = [part for load in page.loads for part in ([load] if isinstance(load, str) else load) if part]
    assert flat
    assert all(load.startswith("#") for load in flat)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    charts = 1 + 2 + 1 + 1 + 1  # curves, a matrix per strategy, scale, forgetting, groups
    charts += 1 + 3  # intransigence, courses of head, medium and tail
    assert page.tags.count("svg") == charts + 3  # a panel per class
    assert page.tags.count("figure") == page.tags.count("figcaption") == 7
    assert {load[1:] for load in page.loads if isinstance(load, str) and load.startswith("#")} - {""} <= set(page.ids)
    assert not page.unlabelled


def test_page_says_what_the_stream_cannot_teach_and_what_chance_is(make_run: MakeRun, tmp_path: Path) -> None:
    tasks = [
        {"index": 0, "classes": ["dog", "<b>&x"], "columns": [0, 2], "train_images": 5, "chance": 12.5},
        {"index": 1, "classes": ["cat"], "columns": [2, 3], "train_images": 6, "returning": ["dog"], "chance": 25.0},
        {"index": 2, "classes": [], "columns": [3, 3], "train_images": 7, "returning": ["dog", "cat"], "chance": None},
    ]
    chance = {name: [1.0, 1.0, 1.0] for name in ("head", "medium", "tail")} | {"mAP": [10.0, 11.0, 14.5]}
    make_run(tmp_path, "er", tasks=tasks, chance=chance, notes=["classes that no test image shows: cat"])
    page = Page(write_report(tmp_path))
    assert "Classes that no test image shows: cat." in page.text
    assert "1 remark" in page.text
    assert "0 dog, <b>&x 0\u20131 5 12.5 10.0 1 cat; back again: dog 2\u20132 6 25.0 11.0" in page.text
    assert "2 back again: dog, cat \u2013 7 \u2013 14.5" in page.text
    assert "A random order of the images gives 12.5 to 25.0; the table of tasks lists it for each column." in page.text


def test_page_says_what_a_reader_must_know(runs: Path) -> None:
    text = Page(write_report(runs)).text
    assert "Source KRT, table 2" in text
    assert PLAN in text
    assert "62.0 ± 2.8" in text
    assert "joint upper reference" in text
    assert "trains on all data so far" in text
    assert "er last mAP 47.2 ± 1.5 62.0 ± 2.8 published KRT <paper>" in text
    assert "csc last mAP 74.8 – – measured own" in text  # noqa: RUF001
    assert "er CF1@0.5 40.6 – 31.0 ± 1.4 published KRT" in text  # noqa: RUF001
    assert "er last OF1@0.50 43.6 – 50.0 ± 0.0 published KRT" in text  # noqa: RUF001
    for unnamed in ("last CF1", "CF1@0.7", "CF1@half"):
        assert f"er {unnamed} 40.6 – – published KRT" in text  # noqa: RUF001
    at_half = "31.0 ± 1.4 40.0 ± 0.0 50.0 ± 0.0 5.0 ± 0.0 60.0 ± 0.0 20.0 ± 0.0"
    assert f"predicted where p > 0.5 ●er {at_half} ✕joint upper reference 30.0" in text
    assert "predicted where p > 0.8 ●er – 10.0 ± 0.0" in text  # noqa: RUF001
    assert "<b>&x head · 510 positives" in text
    assert "dog tail · 7 positives" in text
    assert "lwf/seed3 StrategyError: weight <0" in text
    assert "er: 0, 1; joint: 0" in text  # seeds differ
    assert "rule “terciles”" in text
    assert "511" in text


def test_runs_older_than_the_thresholds_have_no_such_table(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "er")
    result = json.loads((folder / "result.json").read_text())
    del result["thresholds"], result["AP"], result["groups"]["positives"]
    (folder / "result.json").write_text(json.dumps(result))
    page = Page(write_report(tmp_path))
    assert load_results(tmp_path).metrics == [*METRICS, TRAIN_CPU]
    assert "er 1 60.0 65.0" in page.text
    assert not {"thresholds", "table-thresholds", "classes", "figure-classes"} & set(page.ids)
    assert not {"#thresholds", "#classes"} & set(page.loads)


def test_page_shows_the_memory_and_the_two_imbalances(labelled: Path) -> None:
    page = Page(write_report(labelled))
    new = {"memory", "table-memory", "figure-labels", "imbalances", "table-imbalances", "figure-ratios"}
    assert new <= set(page.ids)
    assert {"#memory", "#imbalances"} <= set(page.loads)
    assert len(page.ids) == len(set(page.ids))
    assert not page.unlabelled
    assert (
        "Coverage Precision ↑ FPR ↓ FNR ↓ KL ↓ Relabelled positives (newer classes) Hidden positives (newer classes) "
        "Relabelled positives (older classes) Hidden positives (older classes)"
    ) in page.text
    assert (
        "rebll 70.0 ± 0.0 60.0 ± 0.0 5.0 ± 0.0 40.0 ± 0.0 0.250 ± 0.000 12.0 ± 1.4 13.0 ± 0.0 19.0 ± 2.8" in page.text
    )
    assert "Without a memory, or not recorded: finetune." in page.text
    assert "FPR old ↓ FPR new ↓ predicted where p > 0.5" in page.text
    assert "finetune 30.0 24.0 13.0 27.0 15.0 18.0" in page.text


def test_runs_older_than_the_memory_labels_have_no_such_sections(runs: Path) -> None:
    page = Page(write_report(runs))
    assert not {"memory", "table-memory", "figure-labels", "imbalances", "figure-ratios"} & set(page.ids)
    assert not {"#memory", "#imbalances"} & set(page.loads)


def test_a_control_is_marked_in_page_and_markdown(labelled: Path) -> None:
    """At its rows of every table and at its figure, and explained below the tables that compare strategies."""
    page = Page(write_report(labelled))
    text = page.text
    # final, differences in seven metrics, threshold, imbalance, forgetting of groups, memory, cost
    rows = 1 + 7 + 1 + 1 + 1 + 1 + 1
    assert text.count("er+identity control, not a method") == rows + 1
    assert text.count("er+identity: control, not a method, knows which rows show the same photograph.") == 6
    assert "`er+identity`: control, not a method, knows which" in (labelled / "results.md").read_text(encoding="utf-8")
    assert text.count("control, not a method") == rows + 1 + 6


def test_a_control_on_a_derived_plan_has_both_notes(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    make_run(tmp_path, "er+identity", plan_sha256=JOINT_PLAN, derived_from=PLAN, control="knows it")
    expected = "er+identity: derived plan; control, not a method, sees labels that the stream hides; knows it."
    assert expected in Page(write_report(tmp_path)).text


def test_page_escapes_names(make_run: MakeRun, tmp_path: Path) -> None:
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


def test_differences_between_runs_are_pointed_out(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    other = make_run(tmp_path, "lwf", torch="2.7.0", data_fingerprint="e") / "config.yaml"
    other.write_text(other.read_text().replace("epochs: 6", "epochs: 2"))
    make_run(tmp_path, "lwf", seed=1, options={"weight": 2})
    text = Page(write_report(tmp_path)).text
    assert "resolved configurations differ in training.epochs." in text
    assert "training.epochs differs 6 er/seed0, lwf/seed1 2 lwf/seed0" in text
    assert "environments differ in torch." in text
    assert "git_dirty false all runs" in text
    assert "data fingerprints differ" in text
    assert "seeds of lwf ran with different options" in text


def test_images_that_were_left_out_are_told(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", skipped_images={"train": 3, "test": 0})
    make_run(tmp_path, "lwf", skipped_images={"train": 3, "test": 0})
    page = Page(write_report(tmp_path))
    assert "Images that cannot be decoded were left out: 3 of the train split; run.log names them." in page.text
    assert "warnings" in page.ids


def test_a_method_that_does_not_train_on_the_scenarios_loss_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    for loss, told in (("bce", False), ("asl", True)):
        config = f"training: {{epochs: 6, loss: {{name: {loss}}}}}\n"
        make_run(tmp_path / loss, "er", config=config, loss_of=None)
        make_run(tmp_path / loss, "rebll", config=config, loss_of="akd")
        sentence = f"rebll trains on the loss of akd, not on training.loss ({loss})."
        assert (sentence in Page(write_report(tmp_path / loss)).text) == told


def test_equal_runs_have_no_warnings(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", seed=0)
    make_run(tmp_path, "er", seed=1)
    assert "warnings" not in Page(write_report(tmp_path)).ids


def test_a_run_of_one_task_with_nulls_only_is_shown(make_run: MakeRun, tmp_path: Path) -> None:
    tasks = [{"index": 0, "classes": ["cat"], "columns": [0, 1], "train_images": 5}]
    nulls = dict.fromkeys(("avg_mAP", "forgetting", "backward_transfer", "groups", "memory"))
    nulls |= {"thresholds": None, "class_names": ["cat"]}
    folder = make_run(tmp_path, "er", tasks=tasks, mAP=[60.0], R=[[60.0]], AP=[[60.0]], **nulls)
    for name in ("timing.jsonl", "environment.json", "config.yaml"):
        (folder / name).unlink()
    page = Page(write_report(tmp_path))
    assert "er 1 60.0 – – – – – – – – –" in page.text  # noqa: RUF001
    assert "figure-forgetting" not in page.ids
    assert "figure-groups" not in page.ids
    assert "no run has an earlier task" in page.text


def test_a_joint_run_that_trained_the_last_task_only_is_shown(make_run: MakeRun, tmp_path: Path) -> None:
    none = [None, None, None]
    lasts = {"mAP": [None, None, 70.0], "R": [none, none, [50.0, 60.0, 70.0]], "avg_mAP": None, "forgetting": None}
    make_run(tmp_path, "er")
    make_run(tmp_path, "joint", plan_sha256=JOINT_PLAN, derived_from=PLAN, **lasts)
    page = Page(write_report(tmp_path))
    assert "Not defined for: joint." in page.text
    assert "figure-forgetting" in page.ids


@pytest.mark.parametrize("which", ["runs", "labelled"])
def test_equal_results_give_equal_bytes(
    which: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs: Path = request.getfixturevalue(which)
    names = ("report.html", "results.csv", "statistics.csv", "classes.csv", "results.md", "results.tex")
    write_report(runs)
    first = [(runs / name).read_bytes() for name in names]
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    code = f"from clsim.report.writing import write_report; write_report({str(runs)!r}, {str(out)!r})"
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
    code = "import sys, clsim.report.writing; print({'torch', 'avalanche', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_shared_first_task_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    assert "first task" not in Page(write_report(tmp_path)).text
    timing = make_run(tmp_path, "lwf") / "timing.jsonl"
    first, *rest = timing.read_text().splitlines()
    timing.write_text("\n".join([json.dumps(json.loads(first) | {"shared_seconds": 2.0}), *rest]))
    assert "The first task of lwf/seed0 was trained by another run" in Page(write_report(tmp_path)).text


def test_the_result_stands_first_and_one_seed_is_no_finding(make_run: MakeRun, tmp_path: Path) -> None:
    for name, value in (("er", 62.0), ("lwf", 60.0)):
        make_run(tmp_path, name, last_mAP=value)
    page = Page(write_report(tmp_path))
    said = "er has the highest mAP after the last task, 62.0\u00a0%, 2.0 points above lwf, the next; with 1 seed this"
    assert page.ids.index("table-final") < page.ids.index("figure-curves") < page.ids.index("differences")
    assert "one-seed" in page.ids
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert said in source
    assert source.index(said) < source.index('id="table-final"')
    assert source.count('class="leader-row"') == 1
    assert 'class="best-row"' not in source
    for seed in (1, 2):
        for name, value in (("er", 62.0), ("lwf", 60.0)):
            make_run(tmp_path, name, seed=seed, last_mAP=value + 0.1 * seed * (name == "er"))
    source = write_report(tmp_path).read_text(encoding="utf-8")
    assert source.count('class="best-row"') == 1
    assert not re.search('id="one-seed"|class="leader-row"', source)


def test_the_numbers_of_each_class_stand_in_a_table(make_run: MakeRun, tmp_path: Path) -> None:
    changed = [[60.0, None, None], [80.0, 70.0, None], [54.0, None, 92.0]]
    make_run(tmp_path, "er")
    make_run(tmp_path, "er", seed=1, AP=changed)
    text = Page(write_report(tmp_path)).text
    assert "Class Group Positives ●er <b>&x head 510 52.0 ± 2.8 cat medium 40 – dog tail 7 91.0 ± 1.4" in text  # noqa: RUF001


def test_several_class_orders_have_one_page_over_all_that_leads_to_each(make_run: MakeRun, tmp_path: Path) -> None:
    names = ["<b>&x", "cat", "dog"]
    for order, column in ((0, [0, 1, 2]), (1, [2, 0, 1])):
        ordered = [names[c] for c in column]
        own = {
            "class_names": ordered,
            "AP": [[[50.0, 40.0, 90.0][c] + order for c in column]] * 3,
            "tasks": [
                {"index": t, "classes": [ordered[t]], "columns": [t, t + 1], "train_images": 5} for t in range(3)
            ],
            "groups": GROUPS | {"positives": [GROUPS["positives"][c] for c in column]},
            "plan_sha256": str(order) * 64,
        }
        for strategy in ("er", "lwf"):
            make_run(tmp_path / f"order{order}", strategy, order_seed=order, last_mAP=60.0 + order, **own)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path)
    assert {"orders", "table-orders", "table-final", "figure-curves", "table-classes"} <= set(page.ids)
    assert not {"table-tasks", "table-groups", "figure-classes"} & set(page.ids)
    assert {"order0/report.html", "order1/report.html"} <= set(page.loads)
    assert "order1 61.0 61.0 \u2013 dog | <b>&x | cat" in page.text
    assert "cat medium 40 40.5 ± 0.7 40.5 ± 0.7" in page.text  # found by its name in each order
    assert "differ in" not in page.text
    assert "Differences to er" in Page(tmp_path / "order1" / "report.html").text
