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

from clsim.cli.options import overrides_and_grid
from clsim.errors import StrategyError
from clsim.launch.arguments import parse_seeds
from clsim.launch.variants import as_variants, compose
from clsim.running.prepared_run import prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario

MAKE = ["make-dataset", "--out", "out", "--format"]


def sets(overrides: dict[str, object]) -> list[str]:
    return [argument for key, value in overrides.items() for argument in ("--set", f"{key}={value}")]


def test_version_and_help_have_their_usual_names(clsim_command) -> None:
    assert clsim_command("--version")[:2] == (0, f"clsim {version('clsim')}\n")
    for arguments in (["-h"], ["plan", "-h"], ["data", "check", "-h"]):
        code, out, _ = clsim_command(*arguments)
        assert code == 0
        assert " ".join(["Usage: clsim", *arguments[:-1]]) in out


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
