"""Commands that use a trained model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image


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
