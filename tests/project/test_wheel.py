"""The wheel, built from the source distribution, works in an empty environment, used from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


EXAMPLES = ROOT / "docs" / "examples"
Command = Callable[..., str]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the examples, and a small MNIST in `data`."""
    folder = tmp_path_factory.mktemp("empty")
    for example in sorted(EXAMPLES.iterdir()):
        if example.is_file():
            shutil.copy(example, folder)
    raw = folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", 80), ("t10k", 40)):
        arrays = np.arange(n, dtype=np.uint8) % 10, np.zeros((n, 28, 28), np.uint8)
        for kind, array in zip(("labels-idx1", "images-idx3"), arrays, strict=True):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            (raw / f"{name}-{kind}-ubyte").write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
    return folder


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Command:
    """The command `clsim` of the installed wheel, called in the empty folder; returns what it prints."""
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    left_out = (".git", ".venv", "build", "*.egg-info", "runs", ".*_cache", "tests", "docs")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*left_out))
    # without --wheel the wheel is built from the source distribution, so that both are tested
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(home / "dist"), str(source)]
    said = subprocess.run(build, check=True, capture_output=True, text=True, timeout=300)
    assert "is absent from the `packages`" not in said.stdout + said.stderr  # a folder whose files may be left out
    assert len(list((home / "dist").glob("clsim-*.tar.gz"))) == 1
    (wheel,) = (home / "dist").glob("clsim-*.whl")
    venv.create(home / "venv", with_pip=True)
    python = home / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True, timeout=300)

    def clsim(*arguments: object) -> str:
        # -P and an own path: what is borrowed are the dependencies, while clsim comes from the wheel
        code = (
            f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"  # and what its .pth files name
            "import clsim, clsim.strategies, clsim.scenarios\n"
            "loaded = clsim, clsim.strategies, clsim.scenarios\n"
            f"assert all(module.__file__.startswith({str(home)!r}) for module in loaded)\n"
            "from clsim.cli import main; main()"
        )
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        called = [str(python), "-P", "-c", code, *map(str, arguments)]
        result = subprocess.run(called, cwd=empty, env=environment, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return clsim


def settings(**keys: object) -> list[str]:
    """`--set` options; a double underscore stands for a dot."""
    return [text for key, value in keys.items() for text in ("--set", f"{key.replace('__', '.')}={value}")]


def result_of(folder: Path, strategy: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "digits-b0c2" / strategy / "seed0" / "result.json").read_text())
    return result


@pytest.mark.slow
def test_wheel_plans_and_runs_from_an_empty_folder(command: Command, empty: Path, tiny_overrides: dict) -> None:
    assert len(json.loads(command("plan", "digits-b0c2", "--json"))["tasks"]) == 5
    tiny = settings(**tiny_overrides)
    command("run", "digits-b0c2", "--strategy", "lwf+er", *tiny)
    command("run", "digits-b0c2", "--strategy", "er+more", *tiny)
    assert result_of(empty / "runs", "lwf+er")["last_mAP"] > 0
    command("report", "runs/digits-b0c2", "--section", "own_section.py:most_forgotten")
    page = (empty / "runs" / "digits-b0c2" / "report.html").read_text(encoding="utf-8")
    assert "Most forgotten classes" in page
    assert "Model rebalancing" in page


@pytest.mark.slow
def test_one_file_of_the_users_fills_each_seam(command: Command, empty: Path, tiny_overrides: dict) -> None:
    own = settings(
        **tiny_overrides,
        training__model__name="own_backbone.py:TwoLayers",
        training__loss="{name: own_loss.py:symmetric}",
        strategy__er__selection="own_selection.py:richest",
        evaluation__metrics="[own_metric.py:micro_auc]",
        loggers="[own_logger.py:Watch]",
        stream__assignment="{rule: own_stream_rule.py:by_size}",
    )
    command("run", "digits-b0c2", "--strategy", "er", "--out", "own", *own)
    assert result_of(empty / "own", "er")["metrics"]["micro_auc"]["courses"]["micro_auc"][-1] > 0
    assert (empty / "own" / "digits-b0c2" / "er" / "seed0" / "watch.txt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("my_data.py:Squares", "{train: 60, test: 30}"), ("torchvision_data.py:Pairs", "{root: data}")],
)
def test_data_of_the_users_class_train_the_users_method(
    command: Command, empty: Path, tmp_path: Path, name: str, options: str
) -> None:
    keys = settings(dataset=f"{{name: {name}, options: {options}}}", training__epochs=1, threads=1)
    command("run", "digits-b0c2", "--strategy", "closed_form.py:Ridge", "--out", tmp_path, *keys)
    (result,) = tmp_path.glob("digits-b0c2/*/seed0/result.json")
    assert json.loads(result.read_text())["last_mAP"] is not None
