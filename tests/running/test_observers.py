"""Metrics and loggers of a run: what is wrong with them is told, and a run is the same with others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import ClsimError
from clsim.running.run_folder import RunFolder


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"evaluation.metrics": ["{}/my_metrics.py:hist"]},
            "evaluation.metrics.0: given .*defines no 'hist', did",
        ),
        ({"evaluation.metrics": ["{}/nothing.py:hits"]}, "no file '.*nothing.py' is there"),
        ({"evaluation.metrics": ["{}/my_metrics.py:last_mAP"]}, "py:last_mAP: clsim itself measures last_mAP"),
        ({"evaluation.metrics": ["{}/my_metrics.py:breaks"]}, r"my_metrics.py:21: metric breaks failed after task 0: "),
        ({"evaluation.metrics": ["{}/my_metrics.py:shape"]}, "metric .*py:shape failed after task 0: TypeError: shape"),
        ({"evaluation.metrics": ["{}/my_metrics.py:NUMBER"]}, "evaluation.metrics.0: .*NUMBER is not a function"),
        ({"evaluation.metrics": ["hits"]}, "unknown metric 'hits'"),
        ({"evaluation.metrics": [{"name": "{}/my_metrics.py:hits", "options": {"facto": 2}}]}, "facto.*did you mean"),
        ({"evaluation.metrics": ["{}/my_metrics.py:micro"] * 2}, "is also named micro; rename one"),
        ({"loggers": ["tensorbord"]}, "unknown logger 'tensorbord', did you mean 'tensorboard'?"),
        ({"loggers": ["{}/my_logger.py:Own"]}, "loggers.0.options.file: .*required option is missing"),
        ({"loggers": ["{}/my_logger.py:Slow"]}, "py:Slow is not a subclass of avalanche.logging.BaseLogger"),
        ({"loggers": [{"name": "wandb", "options": {"projekt": "x"}}]}, "projekt.*did you mean 'project'"),
        ({"loggers": [{"name": "wandb", "options": {"mode": "on"}}]}, "loggers.0.options.mode: given 'on'"),
        ({"loggers": ["csv", "csv"]}, "loggers.1: csv is named twice"),
    ],
)
def test_what_is_wrong_is_told_before_training(
    settings: dict[str, Any], problem: str, observer_files: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    filled = json.loads(json.dumps(settings).replace("{}", str(observer_files)))
    for call in (clsim.run, clsim.compare):
        with pytest.raises(ClsimError, match=problem) as caught:
            call("digits-b0c2", "er", overrides=tiny_overrides | filled, out=tmp_path / "runs")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_package_that_is_missing_is_named(
    tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clsim.running.observers.find_spec", lambda name: None)
    with pytest.raises(
        ClsimError, match=re.escape("mlflow needs the package mlflow-skinny: pip install 'clsim[mlflow]'")
    ):
        clsim.run("digits-b0c2", "er", overrides=tiny_overrides | {"loggers": ["mlflow"]}, out=tmp_path)


def test_metrics_and_loggers_are_outside_the_identity(
    observer_files: Path, tiny_overrides: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from clsim.launch.progress import ConsoleProgress

    short = tiny_overrides | {"stream.increment": 5, "training.epochs": 1}
    first = clsim.compare("digits-b0c2", "er", overrides=short | {"evaluation.keep_scores": "last"}, out=tmp_path)
    told = {"name": f"{observer_files}/my_logger.py:Own", "options": {"file": str(tmp_path / "told.txt")}}
    other = {
        "evaluation.metrics": [f"{observer_files}/my_metrics.py:hits"],
        "loggers": [told],
        "evaluation.keep_scores": "none",
    }
    other |= {"evaluation.pictures": "last"}
    again = clsim.compare(
        "digits-b0c2", "er,finetune", overrides=short | other, out=tmp_path, progress=ConsoleProgress()
    )
    folder = first.folder / "er" / "seed0"
    assert again.reused == (folder,)
    text = f"{folder}: has no values of hits, which was not asked for; from the scores that it kept: clsim evaluate "
    assert text in capsys.readouterr().err
    assert not RunFolder(again.folder / "finetune" / "seed0").about_scores.exists()
    every = {"evaluation.keep_scores": "all"}
    clsim.compare("digits-b0c2", "er,finetune", overrides=short | every, out=tmp_path, progress=ConsoleProgress())
    told_of = capsys.readouterr().err
    for name, kept in (("er", "last"), ("finetune", "none")):
        assert f"{name}/seed0: began with evaluation.keep_scores: {kept}, and stays so; --overwrite" in told_of
    page = again.report().read_text(encoding="utf-8")
    assert "No values of the metric hits: er/seed0, trained and evaluated without it." in page
    assert "resolved configurations differ" not in page
    assert again.frame["hits/task"].isna().tolist() == [True, False]
    path = observer_files / "my_metrics.py"
    path.write_text(path.read_text().replace("factor * 100", "factor * 10"))
    clsim.compare("digits-b0c2", "finetune", overrides=short | other, out=tmp_path, progress=ConsoleProgress())
    assert (
        "has no values of hits, which has changed since; it is computed while a run trains" in capsys.readouterr().err
    )
    path.write_text(path.read_text().replace("factor * 10 ", "factor * 100 ") + "\n# a comment\n")
    clsim.compare("digits-b0c2", "finetune", overrides=short | other, out=tmp_path, progress=ConsoleProgress())
    assert "has no values" not in capsys.readouterr().err
