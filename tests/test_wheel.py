"""The wheel works without the checkout: installed into an empty environment, used from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_wheel_plans_and_runs_from_an_empty_folder(tmp_path: Path, tiny_overrides: dict) -> None:
    source, empty = tmp_path / "source", tmp_path / "empty"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "runs", ".*_cache", "tests")
    )
    empty.mkdir()
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = (tmp_path / "dist").glob("clsim-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True, timeout=300)

    def clsim(*arguments: object) -> str:
        # -P and an own path: what is borrowed are the dependencies, while clsim comes from the wheel
        code = (
            f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
            "import clsim, clsim.strategies, clsim.scenarios\n"
            "loaded = clsim, clsim.strategies, clsim.scenarios\n"
            f"assert all(module.__file__.startswith({str(tmp_path)!r}) for module in loaded)\n"
            "from clsim.cli import main; main()"
        )
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [str(python), "-c", code, *map(str, arguments)]
        result = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert len(json.loads(clsim("plan", "digits-b0c2", "--json"))["tasks"]) == 5
    settings = [text for key, value in tiny_overrides.items() for text in ("--set", f"{key}={value}")]
    examples = ROOT / "docs" / "examples"
    own = {"evaluation.metrics": f"{examples}/own_metric.py:micro_auc", "loggers": f"{examples}/own_logger.py:Watch"}
    settings += [text for key, value in own.items() for text in ("--set", f"{key}=[{value}]")]
    clsim("run", "digits-b0c2", "--strategy", "lwf+er", *settings)
    result = json.loads((empty / "runs" / "digits-b0c2" / "lwf+er" / "seed0" / "result.json").read_text())
    assert result["last_mAP"] > 0
    assert result["metrics"]["micro_auc"]["courses"]["micro_auc"][-1] > 0
    assert (empty / "runs" / "digits-b0c2" / "lwf+er" / "seed0" / "watch.txt").is_file()
    clsim("report", "runs/digits-b0c2", "--section", f"{examples}/own_section.py:most_forgotten")
    page = (empty / "runs" / "digits-b0c2" / "report.html").read_text(encoding="utf-8")
    assert "Most forgotten classes" in page
    clsim("run", "digits-b0c2", "--strategy", "er+more", *settings)
    clsim("report", "runs/digits-b0c2")
    assert "Model rebalancing" in (empty / "runs" / "digits-b0c2" / "report.html").read_text(encoding="utf-8")
