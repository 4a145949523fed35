"""Options of the command line that say which engine carries out the runs."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

import clsim
from clsim.cli import app
from clsim.cli.options import engine_of
from clsim.errors import ClsimError
from clsim.launch.arguments import as_engine
from clsim.launch.engines.local import LocalEngine

NONE: dict[str, Any] = dict.fromkeys(("engine", "address", "gpus_per_run", "retries", "slurm"))


def test_the_options_make_the_engine() -> None:
    assert engine_of(**NONE) is None
    assert isinstance(as_engine(None), LocalEngine)
    assert engine_of(**NONE | {"engine": "ray"}) == as_engine("ray") == clsim.RayEngine()
    ray = {"engine": "ray", "address": "head:6379", "gpus_per_run": 0.5, "retries": 0}
    assert engine_of(**NONE | ray) == clsim.RayEngine("head:6379", 0.5, 0)


def test_settings_of_slurm_are_keys_and_values_between_commas() -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'clsim[slurm]'")
    text = "partition=gpu, time=4:00:00,nodelist='a,b',constraint=[x,y]"
    settings = {"partition": "gpu", "time": "4:00:00", "nodelist": "a,b", "constraint": "[x,y]"}
    assert engine_of(**NONE | {"engine": "slurm", "slurm": text, "retries": 5}) == clsim.SlurmEngine(settings, 5)
    for part in ("time", "=4", "time="):
        with pytest.raises(ClsimError, match=f"--slurm qos=a,{part}: expected KEY=VALUE, joined with commas, found"):
            engine_of(**NONE | {"engine": "slurm", "slurm": f"qos=a,{part}"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slurm": "time=4"}, "--slurm: needs --engine slurm"),
        ({"address": "auto", "engine": "slurm"}, "--address: needs --engine ray"),
        ({"gpus_per_run": 1.0}, "--gpus-per-run: needs --engine ray"),
        ({"retries": 1, "engine": "local"}, "--retries: needs --engine ray or slurm"),
    ],
)
def test_an_option_of_another_engine_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        engine_of(**NONE | given)


def test_an_unknown_engine_is_refused_before_anything_is_written(tmp_path) -> None:
    for engine, near in (("slrum", ", did you mean 'slurm'?"), (3, "")):
        with pytest.raises(ClsimError) as refused:
            clsim.compare("digits-b0c2", "er", out=tmp_path, engine=engine)  # type: ignore[arg-type]
        assert str(refused.value) == f"engine: given {engine!r}, allowed: local, ray, slurm, or a RayEngine(...){near}"
    arguments: dict[str, Any] = {"overrides": {"threads": 1}, "device": "cpu", "prepare_only": True}
    with pytest.raises(ClsimError, match="engine: given ray, but the runs are only prepared here"):
        clsim.compare("digits-b0c2", "er", out=tmp_path, engine="ray", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "text"), [("tune", "clsim[tune]"), ("plan", " [OTHER]"), ("tensorboard", " [DIR]")]
)
def test_brackets_are_shown_in_help(command: str, text: str) -> None:
    assert text in CliRunner().invoke(app, [command, "--help"]).stdout
