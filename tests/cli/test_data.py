"""Commands that check and write data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from clsim.scenario import shipped_scenarios


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
