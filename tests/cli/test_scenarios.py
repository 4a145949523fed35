"""Commands that plan, write, import and copy scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clsim.scenario import StreamPlan, load_scenario, shipped_scenarios


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
