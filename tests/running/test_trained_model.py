"""The trained model of a finished run is whole: built from the folder, it scores as the run did, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clsim
from clsim.errors import RunError
from clsim.models.build import build_model
from clsim.running import checkpointer
from clsim.running.run_folder import RunFolder
from clsim.running.trained_model import TrainedModel, read_trained_model
from clsim.scenario import load_scenario
from clsim.scenario.training_schema import ModelSection
from clsim.training.precision import run_network
from tests.fixtures.vectors import recorded_scores

FORGETFUL = '''
import clsim
from avalanche.core import SupervisedPlugin


class Forgetful(clsim.Strategy):
    """A stock plugin, which has no state_dict."""

    name = "forgetful"

    def plugins(self, context):
        return [SupervisedPlugin()]
'''
CACHED = {"training.model.freeze": "backbone", "training.model.cache_features": True}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of backbone weights that no run draws from its seed."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save(build_model(ModelSection(), 99).backbone.state_dict(), path)
    return path


def run(out: Path, strategy: str, overrides: dict[str, Any], more: dict[str, Any]) -> tuple[Path, np.ndarray]:
    """The folder of a run and the logits of its last evaluation."""
    with recorded_scores() as scores:
        folder = clsim.run("digits-b0c2", strategy, overrides=overrides | more, out=out).folder
    return folder, scores[-1]


def scored(trained: TrainedModel, folder: Path) -> np.ndarray:
    """Logits of all test images in batches of the run's size, from nothing but the folder."""
    scenario = load_scenario(folder / "config.yaml")
    training, rows = scenario.config.training, scenario.plan().test_rows()
    assert (trained.section, trained.precision) == (training.model, training.precision)
    store = scenario.benchmark().evaluation_stream[0].dataset.store
    batches = np.split(rows, range(4 * training.batch_size, len(rows), 4 * training.batch_size))
    with torch.no_grad():
        return torch.cat([run_network(trained.network, store.images(part), training) for part in batches]).numpy()


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("rebll+more", {}),
        ("joint", {}),
        ("joint", {"strategy.joint.tasks": "last"}),
        ("er", {"training.precision": "bfloat16", "training.model.channels_last": True}),
        ("er", {"training.model.freeze": "backbone"}),
        ("er", {"training.model.hidden": 8, **CACHED}),
        ("er+more", {"training.model.hidden": 8, **CACHED}),
        ("joint", CACHED),
        ("forgetful", {}),
    ],
    ids=str,
)
def test_the_model_built_from_the_folder_scores_as_the_run_did(
    strategy: str, more: dict[str, Any], tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(FORGETFUL)
    spec = f"{tmp_path}/own.py:Forgetful" if strategy == "forgetful" else strategy
    folder, scores = run(tmp_path, spec, tiny_overrides, more)
    trained = read_trained_model(folder)
    assert trained.class_names == load_scenario(folder / "config.yaml").plan().class_names
    assert not any(module.training for module in trained.network.modules())
    np.testing.assert_array_equal(scored(trained, folder), scores)


def referring(weights: Path, **more: Any) -> dict[str, Any]:
    return {"training.model.weights": {"file": str(weights), "trained_on": [], "source": "own"}, **more}


def test_weights_that_a_run_trained_on_from_a_file_are_in_its_model(
    weights: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    own = Path(shutil.copy(weights, tmp_path / "own.pt"))
    folder, scores = run(tmp_path, "finetune", tiny_overrides, referring(own))
    own.unlink()
    trained = read_trained_model(folder)
    np.testing.assert_array_equal(scored(trained, folder), scores)


def test_a_backbone_that_only_gave_features_is_referred_to(
    weights: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    own = Path(shutil.copy(weights, tmp_path / "own.pt"))
    folder, scores = run(tmp_path, "er", tiny_overrides, referring(own, **CACHED))
    assert sorted(torch.load(folder / RunFolder.trained_model, weights_only=True)["state"]) == [
        "head.bias",
        "head.weight",
    ]
    np.testing.assert_array_equal(scored(read_trained_model(folder), folder), scores)
    torch.save(build_model(ModelSection(), 98).backbone.state_dict(), own)
    with pytest.raises(RunError, match=rf"{RunFolder.trained_model}: its backbone was another one than {own} is now"):
        read_trained_model(folder)
    own.unlink()
    with pytest.raises(RunError, match=rf"no such file {own}"):
        read_trained_model(folder)


# --- the file


def test_a_model_is_there_before_the_result_is(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    before = (folder / RunFolder.trained_model).read_bytes()
    for name in (RunFolder.trained_model, "result.json"):
        (folder / name).unlink()
    clsim.resume(folder)
    assert (folder / RunFolder.trained_model).read_bytes() == before


def test_a_folder_without_one_says_so(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    (folder / RunFolder.trained_model).unlink()
    with pytest.raises(RunError, match=rf"{folder / RunFolder.trained_model}: no trained model here"):
        read_trained_model(folder)


def test_a_damaged_one_and_one_of_another_format_are_refused_in_one_line(finished_run: Path, tmp_path: Path) -> None:
    content = torch.load(finished_run / RunFolder.trained_model, weights_only=True)
    torch.save(content | {"format": 99}, tmp_path / RunFolder.trained_model)
    with pytest.raises(RunError, match="format is 99, this version of clsim reads 1"):
        read_trained_model(tmp_path)
    (tmp_path / RunFolder.trained_model).write_bytes((finished_run / RunFolder.trained_model).read_bytes()[:-100])
    with pytest.raises(RunError, match="damaged, or not a trained model") as error:
        read_trained_model(tmp_path)
    assert "\n" not in str(error.value)


def test_a_network_that_a_plugin_has_changed_is_refused_by_name(finished_run: Path, tmp_path: Path) -> None:
    content = torch.load(finished_run / RunFolder.trained_model, weights_only=True)
    content["state"]["extra"] = torch.zeros(1)
    torch.save(content, tmp_path / RunFolder.trained_model)
    with pytest.raises(RunError, match=r'another network than its configuration makes: .*"extra"'):
        read_trained_model(tmp_path)


# --- the models of earlier tasks

KEEP = {"checkpoint.keep": "all"}


def history_of(out: Path, strategy: str, overrides: dict[str, Any]) -> tuple[Path, list[np.ndarray]]:
    with recorded_scores() as scores:
        folder = clsim.run("digits-b0c2", strategy, overrides=overrides, out=out).folder
    return folder, scores


def test_the_model_of_every_task_scores_as_the_run_did_after_it(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    folder, scores = history_of(tmp_path, "joint", tiny_overrides | CACHED | KEEP)
    for task, expected in enumerate(scores):
        trained = read_trained_model(folder, task if task < 2 else None)
        assert len(trained.class_names) == expected.shape[1] == [4, 8, 10][task]
        np.testing.assert_array_equal(scored(trained, folder), expected)


def test_what_a_later_model_shares_with_the_first_is_stored_once(
    tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    frozen = {"training.model.freeze": "backbone"}
    folder = clsim.run("digits-b0c2", "er", overrides=tiny_overrides | frozen | KEEP, out=tmp_path).folder
    first, second = (RunFolder(folder).task_model(task) for task in (0, 1))
    assert sorted(torch.load(second, weights_only=True)["state"]) == ["head.bias", "head.weight"]
    assert second.stat().st_size < first.stat().st_size / 2
    assert f"model after task 1: {second.stat().st_size} bytes" in (folder / "run.log").read_text()


def test_a_model_is_there_before_the_checkpoint_behind_its_task(
    tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Ends the run as a kill does, without a last checkpoint."""

    finish, known = checkpointer.finish_checkpoint, []

    def killing(path: Path, facts: Any) -> None:
        known.append(sorted(file.name for file in (path.parents[1] / RunFolder.task_models).iterdir()))
        finish(path, facts)
        if len(known) == 1:
            raise Killed

    monkeypatch.setattr(checkpointer, "finish_checkpoint", killing)
    with pytest.raises(Killed):
        clsim.run("digits-b0c2", "er", overrides=tiny_overrides | KEEP, out=tmp_path)
    folder = clsim.resume(tmp_path / "digits-b0c2/er/seed0").folder
    assert known == [["task00.pt"], ["task00.pt", "task01.pt"], ["task00.pt", "task01.pt"]]
    assert len(read_trained_model(folder, 0).class_names) == 4
