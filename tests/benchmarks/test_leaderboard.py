"""The leaderboard: small runs once, the page with what they gave, what is missing, and why."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import leaderboard
from benchmarks.leaderboard import Stream, main, name_of, results_of, sorted_out, text, variants_on
from benchmarks.studies import methods
from benchmarks.studies.methods import Method
from clsim import Variant

SMALL = {"dataset.train": 60, "dataset.test": 40, "stream.increment": 5, "training.model.image_size": 28}
QUOTED = {"strategy": "er", "metric": "last_mAP", "value": 99.0, "source": "published: another network"}
DENSE = Stream("board-dense", "board-dense", {**SMALL, "training.epochs": 1, "expected": [QUOTED]})
ONLINE = Stream("board-online", "board-online", SMALL, leaderboard.STREAMS[3].options)
BLOCKS = "".join(f"# {name}\n<!-- table: {name} -->\n<!-- end -->\n" for name in ("board-dense", "board-online"))


def board(page: Path, name: str) -> str:
    return page.read_text(encoding="utf-8").partition(f"<!-- table: {name} -->")[2].partition("<!-- end -->")[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with page.md and runs of finetune and er on two streams, to be read only."""
    home = tmp_path_factory.mktemp("leaderboard")
    (home / "page.md").write_text(BLOCKS)
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        main([*folders(home), "--methods", "finetune", "er"])
    return home


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leaderboard, "STREAMS", [DENSE, ONLINE])
    listed = [*map(Method, ("finetune", "er", "lwf", "ewc")), Method("moments", trained={"features": "first-task"})]
    on_board(patch, listed)


def on_board(patch: pytest.MonkeyPatch, listed: list[Method]) -> None:
    patch.setattr(leaderboard, "BOARD", listed)
    patch.setattr(methods, "BOARD", listed)


def folders(home: Path, page: str = "page.md") -> list[str]:
    return ["--runs", str(home / "runs"), "--page", str(home / page), "--seeds", "1"]


def test_a_row_for_each_method_that_has_run_and_the_rest_is_named(place: Path) -> None:
    for name in ("board-dense", "board-online"):
        said = board(place / "page.md", name)
        assert said.count("\n| `finetune` | 1 |") == said.count("\n| `er` | 1 |") == 1
        assert "Runs of 20" in said
        missing = said.partition("**Not run yet**: ")[2].partition("\n")[0]
        assert missing == ("`lwf`, `ewc`, `moments, first-task`." if name == "board-dense" else "`lwf`.")
        assert ("**Cannot run on this stream**" in said) == (name == "board-online")
    assert "* `ewc`: ewc measures importances on all images of a task together" in said, "online, with the reason"
    assert "* `moments, first-task`: " in said.partition("**Cannot run on this stream**")[2]
    er = next(line for line in said.splitlines() if line.startswith("| `er`"))
    assert "\N{EN DASH}" not in er, "forgetting and the bytes of its memory are known"


def test_the_longest_run_is_named(place: Path) -> None:
    results = results_of(DENSE, place / "runs")
    assert results is not None
    taken = {run.strategy: sum(line.train_cpu_seconds or 0 for line in run.timing) for run in results.runs}
    longest = max(taken, key=taken.__getitem__)
    sentence = f"Longest run: `{longest}`, seed 0, {taken[longest]:.1f} CPU s of training."
    assert sentence in board(place / "page.md", "board-dense")


def test_without_cpu_times_no_longest_run_is_named(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "runs" / "board-dense", tmp_path / "board-dense")
    for file in tmp_path.rglob("timing.jsonl"):
        file.write_text(re.sub(r'("train_cpu_seconds": )[^,}]+', r"\1null", file.read_text()))
        (file.parent / "checksums.json").unlink()  # as in folders of versions that wrote none
    results = results_of(DENSE, tmp_path)
    said = text(results, sorted_out(DENSE, variants_on(DENSE), range(1), tmp_path), 1)
    assert "Runs of 20" in said
    assert "Longest run" not in said


def test_published_rows_stand_beside_ours_where_the_scenario_quotes_them(place: Path) -> None:
    said = board(place / "page.md", "board-dense")
    ours = next(line for line in said.splitlines() if line.startswith("| `er` | 1")).split("|")[3].strip()
    assert f"| `er` | last mAP | 99.0 | {ours} | published: another network |" in said
    assert "Published" not in board(place / "page.md", "board-online")


def test_finished_runs_are_taken_as_they_stand(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    results = sorted(place.glob("runs/*/*/seed0/result.json"))
    before = [file.stat().st_mtime_ns for file in results]
    (place / "again.md").write_text(BLOCKS)
    main([*folders(place, "again.md"), "--methods", "finetune", "er"])
    assert [file.stat().st_mtime_ns for file in results] == before
    assert len(results) == 4
    assert (place / "again.md").read_text() == (place / "page.md").read_text()


def test_runs_of_the_ladder_are_taken_over_if_they_are_the_same(place: Path, tmp_path: Path) -> None:
    ladder = tmp_path / "ladder"
    (ladder / "part").mkdir(parents=True)
    shutil.copytree(place / "runs" / "board-dense", ladder / "part" / "dense")
    runs, wanted = tmp_path / "runs", variants_on(DENSE, ["finetune", "er", "lwf"])
    taken = {"finetune/seed0", "er/seed0"}
    for stream, expected in ((DENSE, taken), (ONLINE, set()), (DENSE, taken)):
        leaderboard.take_over(stream, wanted, range(2), runs, ladder)
        home = runs / stream.name
        assert {str(path.parent.relative_to(home)) for path in home.glob("*/*/result.json")} == expected
        assert not list(home.glob("*/.*"))
    assert set(sorted_out(DENSE, wanted, range(1), runs).other) == set()
    results = results_of(DENSE, runs)
    assert results is not None
    assert len(results.frame) == 2


def test_other_runs_are_refused_and_not_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch)
    on_board(monkeypatch, [Method("finetune"), Method("er", label="er, faster", options={"replay": "paired"})])
    monkeypatch.setattr(leaderboard, "STREAMS", [DENSE])
    (place / "runs" / "board-dense" / "er").rename(place / "runs" / "board-dense" / "er, faster")
    try:
        with pytest.raises(SystemExit, match=r"er, faster.*another run is there .*\n--replace trains these anew"):
            main(folders(place))
        (place / "other.md").write_text(BLOCKS)
        main([*folders(place, "other.md"), "--tables"])
    finally:
        (place / "runs" / "board-dense" / "er, faster").rename(place / "runs" / "board-dense" / "er")
    said = board(place / "other.md", "board-dense")
    assert "\n| `er" not in said.partition("Published")[0]
    assert "others**:\n\n* `er, faster`: " in said


def test_what_has_begun_is_not_run_yet_and_what_failed_says_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = place / "runs" / "board-dense"
    errors = {"lwf": "interrupted and saved before task 1", "ewc": f"RunError: {runs}/ewc/seed0: no memory\n  more"}
    for name, error in errors.items():
        (runs / name / "seed0").mkdir(parents=True)
        (runs / name / "seed0" / "error.txt").write_text(error)
    monkeypatch.setattr(leaderboard, "preview", lambda *arguments, **more: None)
    found = sorted_out(DENSE, [Variant("finetune"), Variant("lwf"), Variant("ewc")], [0], place / "runs")
    results = results_of(DENSE, place / "runs")
    for name in ("lwf", "ewc"):
        shutil.rmtree(runs / name)
    for known in (None, results):
        said = text(known, found, 1)
        assert "`lwf`." in said.partition("**Not run yet**: ")[2].partition("\n")[0]
        assert said.partition("**Failed**:\n\n")[2] == "* `ewc`: RunError: ewc/seed0: no memory"


def test_a_slip_is_named_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in {
        ("--streams", "board-dens"): "given 'board-dens', did you mean 'board-dense'.*allowed: board-dense, board-tail",
        ("--methods", "lwf-mc"): "given 'lwf-mc'.*another name of lwf",
    }.items():
        with pytest.raises(SystemExit, match=message):
            main(list(arguments))


def test_every_stream_has_its_place_in_the_page() -> None:
    said = leaderboard.PAGE.read_text(encoding="utf-8")
    streams: list[Any] = [*leaderboard.STREAMS, Stream("voc-mini", "")]
    for stream in streams:
        assert f"<!-- table: {stream.name} -->\n" in said


@pytest.mark.parametrize("stream", leaderboard.STREAMS, ids=lambda stream: stream.name)
def test_a_stream_has_each_method_once_in_the_form_of_its_backbone(stream: Stream) -> None:
    names = [name_of(variant) for variant in variants_on(stream)]
    assert len(set(names)) == len(methods.BOARD)
    assert ("moments" in names, "moments, first-task" in names) == (
        (True, False) if stream.name == "voc-mini" else (False, True)
    )
