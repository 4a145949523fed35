"""The names of a run folder's files are the class's and nobody else's."""

from __future__ import annotations

import ast
from pathlib import Path

import clsim
from clsim.running.run_folder import RunFolder, _File
from clsim.scenario.schema import ScenarioConfig

HOME = Path(clsim.__file__).parent
NAMES = {file.name for file in vars(RunFolder).values() if isinstance(file, _File)}


def test_a_file_is_a_name_or_a_path() -> None:
    folder = RunFolder(Path("runs") / "toy" / "er" / "seed3")
    assert RunFolder.result == "result.json"
    assert folder.result == folder.path / "result.json"
    assert (folder.strategy, folder.seed) == ("er", 3)
    assert RunFolder(Path("seed3b")).seed is None


def test_a_run_is_finished_once_it_has_its_result(tmp_path: Path) -> None:
    assert not RunFolder(tmp_path).finished
    (tmp_path / "result.json").write_text("{}")
    assert RunFolder(tmp_path).finished


def test_it_knows_every_file_of_a_run(finished_run: Path) -> None:
    assert {path.name for path in finished_run.iterdir()} <= NAMES


def test_what_stands_in_the_way_of_a_resumed_run_is_read_from_its_folder(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).obstacle is None
    (tmp_path / "not_resumable.txt").write_text("plugin Amnesia has no state_dict\n")
    assert RunFolder(tmp_path).obstacle == "plugin Amnesia has no state_dict"


def test_no_module_writes_a_name_itself() -> None:
    others = {"checkpoint"} & set(ScenarioConfig.model_fields)  # a section of a scenario has the name of a folder
    found = [
        f"{path.relative_to(HOME)}:{node.lineno}: {node.value}"
        for path in sorted(HOME.rglob("*.py"))
        if path.stem != "run_folder"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in NAMES - others
    ]
    assert found == []
