from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from clsim import cli
from clsim.cli.options import overrides_and_grid
from clsim.errors import StrategyError
from clsim.launch.arguments import parse_seeds
from clsim.launch.variants import as_variants, compose
from clsim.running.prepared_run import prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import StreamPlan, load_scenario, shipped_scenarios

MAKE = ["make-dataset", "--out", "out", "--format"]


@pytest.fixture
def clsim_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Calls the command line in this process: (arguments) -> (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["clsim", *map(str, arguments)])
        monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as the command itself does; taken back after the test
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def sets(overrides: dict[str, object]) -> list[str]:
    return [argument for key, value in overrides.items() for argument in ("--set", f"{key}={value}")]


def test_version_and_help_have_their_usual_names(clsim_command) -> None:
    assert clsim_command("--version")[:2] == (0, f"clsim {version('clsim')}\n")
    for arguments in (["-h"], ["plan", "-h"], ["data", "check", "-h"]):
        code, out, _ = clsim_command(*arguments)
        assert code == 0
        assert " ".join(["Usage: clsim", *arguments[:-1]]) in out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("clsim comp", {"compare"}),
        ("clsim compare --dry", {"--dry-run"}),
        ("clsim plan digits-lt-", {"digits-lt-joint", "digits-lt-single"}),
        ("clsim plan ./mi", set()),
        ("clsim plan mi", {"mine.yaml", "mist/"}),
        ("clsim plan mist/", {"mist/other.yml"}),
        ("clsim run x --strategy lwf+e", {"lwf+er", "lwf+er-ace", "lwf+ewc"}),
        ("clsim compare x --strategies joint,er+o", {"joint,er+ocdm", "joint,er+oewc", "joint,er+or"}),
        ("clsim strategies jo", {"joint"}),
        ("clsim parts s", {"strategy", "selection", "sampler", "schedule", "stream-rule"}),
    ],
)
def test_a_shell_completes_commands_options_and_names(
    clsim_command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, offered: set[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mist").mkdir()
    for name in ("mine.yaml", "minus.txt", "mist/other.yml"):
        (tmp_path / name).touch()
    for name, value in {"_CLSIM_COMPLETE": "complete_bash", "COMP_WORDS": words}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert set(clsim_command()[1].split()) == offered


def test_plan_as_json_has_the_fixed_names(clsim_command) -> None:
    code, out, _ = clsim_command("plan", "digits-b0c2", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["scenario"] == "digits-b0c2"
    assert content["sha256"] == load_scenario("digits-b0c2").plan().sha256
    assert [task["index"] for task in content["tasks"]] == [0, 1, 2, 3, 4]
    first = content["tasks"][0]
    assert first["classes"] == ["0", "1"]
    assert first["train_images"] >= max(first["positives"].values()) > 0
    assert 0 < first["test_images"] < content["tasks"][4]["test_images"] <= 800
    assert 0 < first["hidden_positives"] < first["hidden_labels"] == 8 * first["train_images"]


def test_plan_for_people_shows_tasks_groups_and_hash(clsim_command) -> None:
    code, out, _ = clsim_command("plan", "digits-b0c2", "--set", "stream.increment=5")
    assert code == 0
    assert "0, 1, 2, 3, 4" in out
    assert "head: 0, 1, 4, 7" in out
    assert "sha256: " in out


def test_plan_names_the_first_classes_that_come_back_and_counts_the_others(clsim_command) -> None:
    domains, returning = ("plan", "digits-domains", "--set", "dataset.train=200"), ("--set", "stream.base=4")
    out = clsim_command(*domains)[1]
    assert "again 0, 1, 2, 3, and 6 more" in " ".join(out.split())
    back = json.loads(clsim_command(*domains, "--json")[1])["tasks"][1]["returning"]
    assert back == [*"0123456789"]
    few = clsim_command("plan", "digits-b0c2", *returning, "--set", "stream.repetition={probability: 1}")[1]
    assert "4, 5; again 0, 1, 2, 3 " in few
    assert "6, 7; again 0, 1, 2, 3, and 2 more" in few


def test_plan_can_be_written(clsim_command, tmp_path: Path) -> None:
    clsim_command("plan", "digits-b0c2", "--out", tmp_path / "plan.json.gz")
    plan = StreamPlan.from_bytes((tmp_path / "plan.json.gz").read_bytes())
    assert plan.sha256 == load_scenario("digits-b0c2").plan().sha256


def test_import_writes_a_folder_that_plans_and_lists_its_formats(clsim_command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images = [f'<image name="{n}.jpg"><tag label="{"ab"[n % 2]}"/></image>' for n in range(8)]
    (tmp_path / "in" / "x.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    code, out, err = clsim_command("import", "cvat", tmp_path / "in", tmp_path / "out", "--set", "missing=keep")
    assert (code, err) == (0, "")
    assert out.startswith("Imported as cvat: ")
    assert out.endswith(f"look at its tasks: clsim plan {tmp_path}/out/scenario.yaml\n")
    assert clsim_command("plan", tmp_path / "out" / "scenario.yaml")[0] == 0
    code, out, _ = clsim_command("import", "--list")
    assert code == 0
    assert "cvat: CVAT for images 1.1 (XML)\n  images=: " in out


def test_init_writes_a_scenario_and_overwrites_only_on_request(
    clsim_command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--set", "dataset.train=40", "--set", "dataset.test=30")
    assert clsim_command("make-dataset", "digits", "--format", "manifest", "--out", "mine", *few)[0] == 0
    code, out, err = clsim_command("init", "mine")
    assert (code, err) == (0, "")
    assert out.startswith("found: a table of images; 10 classes, 40 training and 30 test images; ")
    assert out.endswith("written: mine.yaml; look at its tasks: clsim plan mine.yaml\n")
    assert clsim_command("plan", "mine.yaml")[0] == 0
    Path("mine.yaml").write_text("precious")
    assert clsim_command("init", "mine")[::2] == (
        2,
        "mine.yaml: there already; use --overwrite to replace, or another --out\n",
    )
    assert Path("mine.yaml").read_text() == "precious"
    assert clsim_command("init", "mine", "--out", "other.yml")[0] == 0
    assert clsim_command("init", "mine", "--overwrite")[0] == 0
    assert "precious" not in Path("mine.yaml").read_text()
    assert clsim_command("init", "none")[::2] == (2, f"{tmp_path}/none: no such folder\n")


def test_a_shipped_scenario_is_shown_and_copied(clsim_command, tmp_path: Path) -> None:
    text = shipped_scenarios()["digits-b0c2"].read_text(encoding="utf-8")
    assert clsim_command("scenarios", "--show", "digits-b0c2") == (0, text, "")
    copied = tmp_path / "mine.yaml"
    assert clsim_command("scenarios", "--copy", "digits-b0c2", str(copied))[0] == 0
    assert copied.read_text(encoding="utf-8") == text
    copied.write_text("precious")
    assert clsim_command("scenarios", "--copy", "digits-b0c2", str(copied))[::2] == (
        2,
        f"{copied}: there already; use --overwrite to replace, or another name\n",
    )
    assert copied.read_text() == "precious"
    assert clsim_command("scenarios", "--copy", "digits-b0c2", str(copied), "--overwrite")[0] == 0
    assert "did you mean 'digits-b0c2'?" in clsim_command("scenarios", "--show", "digits-b0c3")[2]


def test_two_plans_are_compared(clsim_command, tmp_path: Path) -> None:
    few = ("--set", "dataset.train=40", "--set", "dataset.test=30")
    written = tmp_path / "plan.json.gz"
    assert clsim_command("plan", "digits-b0c2", *few, "--out", str(written))[0] == 0
    assert clsim_command("plan", "digits-b0c2", str(written), *few) == (0, "the plans are equal\n", "")
    code, out, err = clsim_command("plan", str(written), "digits-b0c2", *few, "--set", "labels.visible={keep: 0.5}")
    assert (code, err) == (0, "")
    assert "scored images (test): -0 +0 =30\n" in out
    content = json.loads(
        clsim_command("plan", str(written), "digits-b0c2", "--set", "stream.increment=5", *few, "--json")[1]
    )
    assert not content["equal"]
    written.write_bytes(b"damaged")
    code, out, err = clsim_command("plan", "digits-b0c2", str(written))
    assert (code, out) == (2, "")
    assert err.startswith(f"{written}: not a plan: ")


def test_scenarios_and_strategies_are_listed(clsim_command) -> None:
    assert "digits-b0c2" in clsim_command("scenarios")[1]
    listed = clsim_command("strategies")[1]
    for name in ("er", "finetune", "joint", "lwf"):
        assert f"\n{name} " in listed
    assert "strategy.er.replay" in clsim_command("strategies", "er")[1]
    assert "concat | paired" in clsim_command("strategies", "er")[1]


def test_strategies_are_listed_by_family_with_what_they_store_and_cost(clsim_command) -> None:
    rows = [line.split() for line in clsim_command("strategies")[1].splitlines()]
    families = [row[1] for row in rows if row[0] in ("finetune", "er", "rebll", "lwf", "ewc")]
    assert families == ["reference", "replay", "replay", "distillation", "regularisation"]
    shown = clsim_command("strategies", "lwf")[1]
    assert "family: distillation, 2016\nstores: the model before the task\ncost: " in shown
    own = Path(__file__).parents[1] / "docs" / "examples" / "my_method.py"
    assert "family: other\n" in clsim_command("strategies", f"{own}:MyMethod")[1]


def test_sources_of_strategies_are_given_as_bibtex_each_once(clsim_command) -> None:
    rebll = clsim_command("strategies", "rebll", "--bib")[1]
    assert re.findall(r"^@\w+\{(\w+),$", rebll, re.M) == ["du2025rebalancing", "rolnick2019experience"]
    keys = re.findall(r"^@\w+\{(\w+),$", clsim_command("strategies", "--bib")[1], re.M)
    assert len(keys) == len(set(keys))  # so parts that follow one paper state it alike
    assert {"du2025rebalancing", "li2016learning"} <= set(keys)
    assert clsim_command("strategies", "finetune", "--bib")[1] == "no source is stated\n"
    assert clsim_command("strategies", "lwg", "--bib")[2].startswith("unknown strategy 'lwg', did you mean 'lwf'?")


def test_option_keys_that_are_listed_are_keys_that_set_takes(clsim_command, tmp_path: Path) -> None:
    own = Path(__file__).parents[1] / "docs" / "examples" / "my_method.py"
    for spec in (f"{own}:MyMethod", "lwf+er", f"lwf+er+{own}:MyMethod", "rebll", "akd"):
        code, out, err = clsim_command("strategies", spec)
        assert (code, err) == (0, "")
        keys = [line.split()[0] for line in out.splitlines() if line.startswith("strategy.")]
        assert keys
        specs = [spec] if spec != "akd" else ["rebll"]
        overrides = {key.removeprefix("strategy."): None for key in keys}
        with pytest.raises(StrategyError, match=r"^strategy option [\w.]+: given None"):  # known, but of another type
            compose(as_variants(specs), overrides)
    assert "made of akd+er+or" in clsim_command("strategies", "rebll")[1]
    code, _, err = clsim_command("strategies", "er+joint")
    assert code == 2
    assert err.startswith("er+joint: ")
    assert clsim_command("strategies", "lwf+erx")[2].startswith("unknown strategy 'erx', did you mean 'er'?")


def test_run_and_report(clsim_command, tiny_overrides: dict, tmp_path: Path) -> None:
    arguments = ("run", "digits-b0c2", "--strategy", "lwf", "--seed", 2, "--out", tmp_path, *sets(tiny_overrides))
    code, out, err = clsim_command(*arguments, "--set", "strategy.lwf.weight=0.25")
    assert code == 0
    folder = tmp_path / "digits-b0c2" / "lwf" / "seed2"
    assert str(folder) in out
    out_of_run = out
    assert "lwf/seed2: 6/6 epochs, mAP " in err
    assert json.loads((folder / "result.json").read_text())["options"]["lwf"]["weight"] == 0.25
    code, out, _ = clsim_command("report", tmp_path / "digits-b0c2")
    assert code == 0
    assert (tmp_path / "digits-b0c2" / "report.html").is_file()
    assert f"scores: {folder / 'scores.f32'} (0.00 MB)" in out_of_run
    code, out, err = clsim_command("evaluate", folder, "--thresholds", "0.3", "--empty-classes", "zero")
    assert (code, err) == (0, "")
    assert "CF1@0.3" in out
    assert out.endswith(f"written: {folder / 'evaluation.json'}\n")
    code, _, err = clsim_command("evaluate", folder, "--thresholds", "0.3;0.5")
    assert (code, err) == (2, "--thresholds 0.3;0.5: expected numbers joined with commas, such as 0.5,0.8\n")
    code, _, err = clsim_command("report", tmp_path / "digits-b0c2", "--baseline", "lfw")
    assert (code, err) == (2, "baseline: given 'lfw', allowed: lwf, did you mean 'lwf'?\n")
    code, _, err = clsim_command(*arguments)
    assert code == 2
    assert err == f"{folder}: there already; use --overwrite to replace, or another --out\n"


def test_a_dry_run_says_what_would_be_done(clsim_command, tiny_overrides: dict, tmp_path: Path) -> None:
    out = ("--out", tmp_path, "--dry-run", *sets(tiny_overrides))
    code, shown, err = clsim_command("compare", "digits-b0c2", "--strategies", "lwf,finetune", "--seeds", "0,1", *out)
    assert (code, err) == (0, "")
    assert shown.count("trained: 3 tasks of 2 epochs") == 4
    assert shown.endswith(f"no run in {tmp_path / 'digits-b0c2'} tells how long; nothing was done\n")
    code, shown, _ = clsim_command("run", "digits-b0c2", "--strategy", "lwf", *out)
    assert code == 0
    assert f"{tmp_path / 'digits-b0c2' / 'lwf' / 'seed0'}" in shown
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "digits-b0c2" / "lwf" / "seed0"
    prepare(folder, load_scenario("digits-b0c2", tiny_overrides), RunSpec("lwf", "lwf", 0), 1)
    code, shown, err = clsim_command("run", "digits-b0c2", "--strategy", "lwf", *out)
    assert (code, shown) == (2, "")
    assert err.startswith(f"{folder}: there already; ") or err.startswith(f"{folder}: another run is there")


def test_an_interrupted_run_is_resumed(clsim_command, tiny_overrides: dict, tmp_path: Path) -> None:
    folder = tmp_path / "digits-b0c2" / "finetune" / "seed0"
    prepare(folder, load_scenario("digits-b0c2", tiny_overrides), RunSpec("finetune", "finetune", 0), 1)
    code, _, err = clsim_command("run", "digits-b0c2", "--strategy", "finetune", "--out", tmp_path)
    assert code == 2
    assert f"{folder}: there already; to continue the interrupted run: clsim resume {folder}; use" in err
    shutil.copytree(folder, tmp_path / "quiet")
    code, out, err = clsim_command("resume", folder)
    assert code == 0
    assert f"{folder}: last mAP " in out
    assert "finetune/seed0: 6/6 epochs, mAP " in err
    code, out, err = clsim_command("resume", tmp_path / "quiet", "--quiet")
    assert (code, err) == (0, "")
    assert "quiet: last mAP " in out
    assert clsim_command("resume", folder)[:2] == (0, f"{folder}: already finished, nothing to resume\n")


def test_a_disk_that_cannot_be_written_is_one_clear_line(clsim_command, tmp_path: Path) -> None:
    code, _, err = clsim_command("plan", "digits-b0c2", "--out", tmp_path / "nowhere" / "plan.json.gz")
    assert (code, err) == (2, f"{tmp_path}/nowhere/plan.json.gz: No such file or directory\n")


def test_bare_commas_of_compare_make_a_grid_and_brackets_one_value() -> None:
    assert overrides_and_grid(["strategy.lwf.weight=0.5, 1,2", "evaluation.thresholds=[0.5, 0.8]", "a='x,y'"]) == (
        {"evaluation.thresholds": [0.5, 0.8], "a": "x,y"},
        {"strategy.lwf.weight": [0.5, 1, 2]},
    )
    assert parse_seeds("0-2,5", "--seeds") == [0, 1, 2, 5]


def test_compare_prints_table_report_and_curves(clsim_command, tiny_overrides: dict, tmp_path: Path) -> None:
    names = ("--strategies", "finetune,er", "--seeds", "5", "--workers", "2", "--out", tmp_path, "--baseline", "er")
    code, out, err = clsim_command("compare", "digits-b0c2", *names, *sets(tiny_overrides))
    assert code == 0
    assert "| finetune | 1 |" in out
    assert f"report: {tmp_path / 'digits-b0c2' / 'report.html'}" in out
    assert "curves: clsim tensorboard " in out
    assert "er/seed5: finished" in err
    assert "Differences to er" in (tmp_path / "digits-b0c2" / "report.html").read_text(encoding="utf-8")


def test_data_check_says_what_is_there(clsim_command, voc_folder: Path) -> None:
    root = ("--set", f"dataset.root={voc_folder / 'VOCdevkit'}")
    code, out, _ = clsim_command("data", "check", "voc2007-b10c2", *root)
    assert code == 0
    assert "aeroplane" in out
    assert "train: 100 of 100 image files found" in out
    assert "test: 60 decoded, 32 to 32 px wide, 32 to 32 px high" in out
    code, out, _ = clsim_command("data", "check", "voc2007-b10c2", *root, "--json", "--no-decode")
    content = json.loads(out)
    assert (code, content["dataset"], content["train"]["files"], content["test"]["decoded"]) == (0, "voc", 100, 0)
    assert "no image files" in clsim_command("data", "check", "digits-b0c2")[1]


def test_data_check_names_the_images_that_are_left_out(clsim_command, voc_folder: Path, tmp_path: Path) -> None:
    devkit = shutil.copytree(voc_folder / "VOCdevkit", tmp_path / "VOCdevkit")
    bad = devkit / "VOC2007" / "JPEGImages" / "000007.jpg"
    bad.write_bytes(b"")
    root = ("--set", f"dataset.root={devkit}")
    code, out, _ = clsim_command("data", "check", "voc2007-b10c2", *root, "--set", "dataset.on_bad_image=skip")
    assert code == 0
    assert f"train: 1 cannot be decoded and are left out of the stream:\n  {bad}: cannot be decoded as an image" in out
    assert "test: 60 decoded" in out
    code, _, err = clsim_command("data", "check", "voc2007-b10c2", *root)
    assert code == 2
    assert err.startswith(f"{bad}: cannot be decoded as an image")


def test_data_check_of_a_folder_without_images_counts_and_ends_with_2(
    clsim_command, voc_folder: Path, tmp_path: Path
) -> None:
    devkit = tmp_path / "VOC2007"
    devkit.mkdir()
    for name in ("ImageSets", "Annotations"):
        (devkit / name).symlink_to(voc_folder / "VOCdevkit" / "VOC2007" / name)
    root = f"dataset.root={tmp_path}"
    code, out, err = clsim_command("data", "check", "voc2007-b10c2", "--set", root)
    assert code == 2
    assert "train: 0 of 100 image files found, 0.0 MB" in out
    assert err.startswith(
        f"--set {root}: dataset.root: {devkit}/JPEGImages/000001.jpg: no such file (100 of 100 images"
    )
    assert "needed is VOCtrainval_06-Nov-2007.tar" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["plan", "voc2007-b10c2"],
            "dataset.root: not set: where your VOCdevkit lies; give --set",
        ),
        (["data", "check", "voc-mlt"], "dataset.root: not set"),
        (
            ["data", "check", "voc2007-b5c3", "--set", "dataset.root=x"],
            "x: no such folder; needed is VOCtrainval_06-Nov",
        ),
        (["run", "voc2007-b5c3", "--strategy", "er"], "dataset.root: not set"),
        (["plan", "digits-b0c3"], "did you mean 'digits-b0c2'"),
        (["plan", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file"),
        (["plan", "digits-b0c2", "--set", "stream.increment=0"], "--set stream.increment=0: stream.increment: given 0"),
        (["plan", "digits-b0c2", "--set", "stream.incremnt=2"], "did you mean 'increment'"),
        (["plan", "digits-b0c2", "--set", "dataset.train=two"], "given 'two', should be a valid integer"),
        (["plan", "digits-b0c2", "--set", "dataset.train=1"], "is empty: no training image shows"),
        (["plan", "digits-b0c2", "--set", "epochs"], "expected dotted.key=value"),
        (["run", "digits-b0c2", "--strategy", "erx"], "unknown strategy 'erx', did you mean 'er'"),
        (["run", "digits-b0c2", "--strategy", "er", "--set", "memory.budget={total: 2}"], "must be at least 10"),
        (["run", "digits-b0c2", "--strategy", "er", "--device", "gpu"], "allowed: auto, cpu, cuda"),
        (["compare", "digits-b0c2", "--strategies", "er", "--seeds", "1,x"], "--seeds 1,x: expected whole numbers"),
        (["compare", "digits-b0c2", "--strategies", "er", "--seeds", "0-9999"], "--seeds 0-9999: expected whole"),
        (["compare", "digits-b0c2", "--strategies", "er", "--set", "training.epochs=1,[2"], "expected ']' at the end"),
        (["compare", "digits-b0c2", "--strategies", "er", "--name", "../x"], "name: given '../x', expected no /"),
        (["compare", "digits-b0c2"], "strategies: none are given"),
        (["strategies", "nope"], "unknown strategy 'nope'"),
        (["report", "nowhere"], "nowhere"),
        ([*MAKE, "cocoo", "digits"], "--format: given 'cocoo', allowed: voc, coco, manifest, did you mean 'coco'?"),
        (
            [*MAKE, "voc", "digit"],
            "dataset.name: given 'digit', allowed: digits, voc, coco, nuswide, openimages, manifest, folder",
        ),
        ([*MAKE, "voc", "digits", "--size", "8"], "image size 8 is not allowed, only 28..64"),
        ([*MAKE, "voc", "digits", "--set", "dataset.trian=8"], "--set dataset.trian=8: dataset.trian: unknown key"),
        ([*MAKE, "voc", "digits", "--set", "dataset.classes=[a]"], "dataset.classes: says what is streamed"),
        ([*MAKE, "voc", "digits", "--set", "training.epochs=2"], "training.epochs: says what is streamed"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    clsim_command, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = clsim_command(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_all_problems_of_a_file_come_at_once_with_their_lines(clsim_command, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstream: {increment: 0}\nmemory: {budgt: none}\n")
    code, _, err = clsim_command("plan", path)
    assert code == 2
    assert f"{path}:2: stream.increment: given 0" in err
    assert f"{path}:3: memory.budgt: unknown key, did you mean 'budget'" in err
    assert "dataset: required key is missing" in err
    assert "training: required key is missing" in err


def test_a_written_data_set_is_never_overwritten_and_pastes_into_a_scenario(clsim_command, tmp_path: Path) -> None:
    digits_text = shipped_scenarios()["digits-b0c2"].read_text(encoding="utf-8")
    few = ("--set", "dataset.train=40", "--set", "dataset.test=20")
    plans = set()
    for format in ("voc", "coco", "manifest"):
        arguments = ("make-dataset", "digits", "--format", format, "--out", tmp_path / format, *few)
        code, out, err = clsim_command(*arguments)
        assert (code, err) == (0, "")
        (line,) = [line for line in digits_text.splitlines() if line.startswith("dataset:")]
        (tmp_path / "mine.yaml").write_text(digits_text.replace(line, out.splitlines()[-1]))
        plans.add(json.loads(clsim_command("plan", tmp_path / "mine.yaml", "--json")[1])["sha256"])
        code, _, err = clsim_command(*arguments)
        assert (code, err) == (2, f"{tmp_path / format}: there already and not empty; name another folder\n")
    plans.add(json.loads(clsim_command("plan", "digits-b0c2", "--json", *few)[1])["sha256"])
    assert len(plans) == 1


@pytest.mark.parametrize("command", [("run", "digits-b0c2", "--strategy", "er"), ("resume", "somewhere")])
def test_what_an_interrupted_run_says_is_printed(clsim_command, command: tuple[str, ...], monkeypatch) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt("saved; go on with: clsim resume DIR")

    monkeypatch.setattr(f"clsim.launch.single_run.{command[0]}", stopped)
    assert clsim_command(*command) == (130, "", "saved; go on with: clsim resume DIR\n")


def test_sigterm_ends_a_command_as_ctrl_c_does(clsim_command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("clsim.scenario.load_scenario", lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        assert clsim_command("plan", "digits-b0c2") == (130, "", "interrupted\n")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # to the end of the process
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two pictures."""
    (tmp_path / "photos").mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_predict_says_what_is_in_images(clsim_command, finished_run: Path, photos: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    code, out, err = clsim_command("predict", run, photos)
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [str(photos / name) for name in ("a.png", "b.png")]
    assert err == "thresholds: chosen on 60 visible training labels\n"
    table = tmp_path / "scores.csv"
    code, out, _ = clsim_command("predict", run, photos / "b.png", "--csv", table, "--threshold", "0.0001")
    assert (code, out) == (0, f"written: {table}, 1 images, 10 classes\n")
    heading, row = table.read_text().splitlines()
    assert heading == "image,predicted,0,1,2,3,4,5,6,7,8,9"
    assert row.startswith(f"{photos / 'b.png'},0; 1; 2; 3; 4; 5; 6; 7; 8; 9,0.")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--threshold", "1"], "--threshold: given 1.0, allowed: above 0 and below 1"),
        (["--task", "0"], "checkpoint.keep: all keeps the model of every task that is trained"),
        (["--csv", "nowhere/scores.csv", "--threshold", "0.5"], "nowhere/scores.csv: No such file or directory"),
    ],
)
def test_predict_refuses_in_one_line(clsim_command, finished_run: Path, photos: Path, arguments, text: str) -> None:
    code, _, err = clsim_command("predict", finished_run, photos, *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert text in err


def test_export_writes_beside_the_model(clsim_command, finished_run: Path, photos: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    code, out, _ = clsim_command("export", run, "--format", "safetensors", "--no-thresholds")
    file = run / "model.safetensors"
    assert (code, out.partition(";")[0]) == (0, f"written: {file}, {file.stat().st_size} bytes")
    assert clsim_command("predict", file, photos, "--threshold", "0.5")[0] == 0
    code, _, err = clsim_command("predict", file, photos)
    assert (code, err) == (2, f"{file}: exported without thresholds; give --threshold, one for all classes\n")
    code, _, err = clsim_command("export", run, "--format", "onix")
    assert (code, err) == (
        2,
        "format: given 'onix', did you mean 'onnx'?; allowed: safetensors, torch-export, onnx\n",
    )


@pytest.mark.parametrize(
    "code",
    [
        "import clsim",
        "from clsim.cli import app; app(['--help'], standalone_mode=False)",
        "from clsim.cli import app; app(['plan', 'digits-b0c2'], standalone_mode=False)",
        "from clsim.cli import app; app(['strategies'], standalone_mode=False)",
        "from clsim.cli import app; app(['strategies', 'lwf'], standalone_mode=False)",
        "from clsim.cli import app; app(['scenarios'], standalone_mode=False)",
    ],
)
def test_light_commands_import_no_torch(code: str) -> None:
    heavy = "{'torch', 'avalanche', 'sklearn', 'matplotlib', 'pandas'}"
    result = python("-c", f"import sys\n{code}\nprint('LOADED', sorted({heavy} & set(sys.modules)))")
    assert result.stdout.splitlines()[-1] == "LOADED []", result.stderr


def test_strategies_are_only_ever_loaded_as_part_of_clsim() -> None:
    """From the root of a checkout, where a folder `strategies` lies on the import path."""
    code = (
        "import sys; from clsim.training.strategy_specs import strategy_class, registered\n"
        "[strategy_class(name) for name in registered()]\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('strategies', 'scenarios')))"
    )
    result = python("-c", code, cwd=Path(__file__).parents[1])
    assert result.stdout.strip() == "[]", result.stderr


def test_module_can_be_run() -> None:
    assert "compare" in python("-m", "clsim", "--help").stdout
