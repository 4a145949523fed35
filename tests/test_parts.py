"""Parts by name, entry point and file: found once, options checked, paths absolute, code part of a run's identity."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from clsim import parts
from clsim.errors import ClsimError, ScenarioError
from clsim.launch.first_task_groups import first_task_key
from clsim.launch.part_listing import list_parts
from clsim.parts import KINDS, PartError, find, made, names
from clsim.running.run_identity import identity
from clsim.scenario import load_scenario
from clsim.scenario.schema import ScenarioConfig
from clsim.training.composition import Composition

NET = '''
"""Networks."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, Field

import clsim
from clsim.data.path_options import DATA_PATH

from .near import CHANNELS


class Net(torch.nn.Module):
    """Means of colours."""

    def __init__(self, width: int = 8, *, table: Annotated[str | None, DATA_PATH] = None, start: Path | None = None):
        super().__init__()
        self.layer = torch.nn.Linear(CHANNELS, width)

    def forward(self, x):
        return self.layer(x.mean(dim=(2, 3)))


class Typed(torch.nn.Module):
    class Options(clsim.Options):
        width: int = Field(ge=1, description="features")

    def __init__(self, options):
        super().__init__()
        self.width = options.width


class Open(torch.nn.Module):
    def __init__(self, **more):
        super().__init__()
'''
SILENT = "raise SystemExit('executed')\n\n\nclass Net:\n    def __init__(self, width=8):\n        pass\n"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "near.py").write_text("CHANNELS = 3\n")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def scenario_file(folder: Path, tiny_overrides: dict[str, Any], model: str) -> Path:
    content = load_scenario("digits-b0c2", tiny_overrides).config.model_dump(mode="json")
    content["training"].pop("model")

    path = folder / "own.yaml"
    path.write_text(json.dumps(content).replace('"training": {', f'"training": {{"model": {model}, '))
    return path


def problem_of(overrides: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-b0c2", overrides)
    (line,) = caught.value.problems
    return line


# --- names


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("strategy",)])
def test_every_shipped_name_leads_somewhere(kind: str) -> None:
    for name in KINDS[kind].shipped:
        assert callable(find(kind, name)), name


def test_every_kind_has_a_group_of_entry_points_of_its_own() -> None:
    groups = [kind.group for kind in KINDS.values()]
    assert len(set(groups)) == len(groups)
    assert {"clsim.strategies", "clsim.backbones", "clsim.datasets", "clsim.losses", "clsim.stream_rules"} < set(groups)


def test_an_entry_point_is_a_name(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(net.parent)
    net.write_text("def mine(logits, targets, scale=2.0):\n    return scale\n")
    point = EntryPoint("mine", "net:mine", "clsim.losses")
    monkeypatch.setattr(parts, "entry_points", lambda group: [point] if group == point.group else [])
    assert next(iter(names("loss"))) == "mine"
    assert made("loss", "mine", {"scale": 3.0}, "training.loss")(0, 0) == 3.0
    assert parts.code_of("loss", "mine") is not None
    with pytest.raises(PartError, match=r"unknown loss 'mime', did you mean 'mine'\?; available: mine, bce"):
        find("loss", "mime")


def test_installed_packages_are_searched_again_only_where_one_may_have_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    searches: list[str] = []
    monkeypatch.setattr(parts, "entry_points", lambda group: searches.append(group) or [])
    for _ in range(3):
        assert "mine" not in names("loss")
    assert searches == ["clsim.losses"]
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "entry_points.txt").write_text("[clsim.losses]\nmine = net:mine\n")
    os.utime(tmp_path, ns=(0, 1))  # whatever the clock of the file system
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    assert "mine" in names("loss")


def test_an_entry_point_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "nowhere_at_all:mine", "clsim.losses")
    monkeypatch.setattr(parts, "entry_points", lambda group: [point])
    with pytest.raises(
        PartError, match=r"^loss mine: nowhere_at_all:mine cannot be loaded: ModuleNotFoundError: [^\n]*$"
    ):
        find("loss", "mine")


# --- a scenario that names a file, which is not executed


def test_a_scenario_is_checked_without_executing_the_file(net: Path, tiny_overrides: dict[str, Any]) -> None:
    net.write_text(SILENT)
    config = load_scenario("digits-b0c2", tiny_overrides | {"training.model.name": f"{net}:Net"}).config
    assert config.training.model.name == f"{net}:Net"


def test_planning_with_a_file_loads_no_torch(net: Path) -> None:
    code = (
        "import sys, clsim.cli as cli\n"
        f"sys.argv = ['clsim', 'plan', 'digits-b0c2', '--set', 'training.model.name={net}:Net']\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "no.py:Net",
            {},
            r"name: given '.*no\.py:Net', expected path/to/file\.py:Name, and no file '.*no\.py' is there",
        ),
        (
            "net.py:Nett",
            {},
            r"name: given .*net\.py: defines no 'Nett', did you mean 'Net'\?; it has: Net, Typed, Open",
        ),
        ("net.py", {}, r"name: given '.*net\.py', expected path/to/file\.py:Name"),
        (
            "net.py:Net",
            {"widht": 3},
            r"options\.widht: given 3, unknown option, did you mean 'width'\?; allowed: width",
        ),
        (
            "net.py:Typed",
            {"widht": 3},
            r"options\.widht: given 3, unknown option, did you mean 'width'\?; allowed: wid",
        ),
        ("net.py:Typed", {}, r"options\.width: given None, required option is missing"),
        ("broken.py:Net", {}, r"name: given .*broken\.py:1: cannot be read as Python: SyntaxError: invalid syntax"),
        ("tiny-resnet", {"wdith": 3}, r"options\.wdith: given 3, unknown option, did you mean 'width'\?"),
        ("tiny-resnett", {}, r"name: given 'tiny-resnett', unknown backbone .*, did you mean 'tiny-resnet'\?"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_key(
    net: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], expected: str
) -> None:

    monkeypatch.chdir(net.parent)
    (net.parent / "broken.py").write_text("class Net(:\n")
    line = problem_of({"training.model.name": name, "training.model.options": options})
    assert re.search(r"^override [^\n]*training\.model\." + expected, line), line


def test_a_file_and_the_paths_of_its_options_are_relative_to_the_scenario(
    net: Path, tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"name": "net.py:Net", "options": {"table": "t.csv", "start": "w.pth", "width": 4}}'
    path = scenario_file(tmp_path, tiny_overrides, text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model = load_scenario(path).config.training.model
    assert model.name == f"{net}:Net"
    assert model.options == {"table": str(tmp_path / "t.csv"), "start": str(tmp_path / "w.pth"), "width": 4}
    overridden = load_scenario(path, ["training.model.options.table=t.csv"]).config.training.model
    assert overridden.options["table"] == str(tmp_path / "elsewhere" / "t.csv")


def test_options_that_the_text_does_not_tell_are_left_to_the_moment_it_is_made(net: Path) -> None:
    load_scenario("digits-b0c2", {"training.model.name": f"{net}:Open", "training.model.options.any": 1})
    net.write_text("from .near import *\nfrom torch.nn import Identity as Net\n")
    load_scenario("digits-b0c2", {"training.model.name": f"{net}:Net", "training.model.options.any": 1})
    load_scenario("digits-b0c2", {"training.model.name": f"{net}:Whatever"})


@pytest.mark.parametrize(
    "name", ["~nobody/net.py:Net", "net\0.py:Net", ".py:", ":net.py", "net.py:", "\udcff.py:Net", "/.py:x"]
)
def test_no_name_is_worse_than_one_line(name: str, tiny_overrides: dict[str, Any]) -> None:
    for key in ("training.model.name", "training.loss.name", "training.sampler", "training.augmentation.name"):
        line = problem_of(tiny_overrides | {key: name})
        assert "\n" not in line


# --- made


def test_a_class_is_made_with_keywords_or_with_its_options(net: Path) -> None:
    assert made("backbone", f"{net}:Net", {"width": 5}, "key").layer.out_features == 5
    assert made("backbone", f"{net}:Typed", {"width": 6}, "key").width == 6


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "Net",
            {"widht": 3},
            r"^key\.options\.widht: unknown option, did you mean 'width'\?; allowed: width, table, start$",
        ),
        ("Net", {"width": "wide"}, r"^key\.options\.width: given 'wide', .*integer"),
        ("Typed", {"width": 0}, r"^key\.options\.width: given 0, .*greater than or equal to 1"),
        ("Typed", {}, r"^key\.options\.width: required option is missing$"),
        ("Net", {"width": -1}, r"^key: .*net\.py:Net cannot be made: RuntimeError: [^\n]*net\.py:\d+\)$"),
    ],
)
def test_wrong_options_are_one_line(net: Path, name: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(PartError, match=expected):
        made("backbone", f"{net}:{name}", options, "key")


# --- identity


def identified(net: Path, tiny_overrides: dict[str, Any], **options: Any) -> dict[str, Any]:
    own = {"training.model.name": f"{net}:Net", "training.model.options": options}
    return identity(load_scenario("digits-b0c2", tiny_overrides | own), "finetune", {}, seed=0, device="cpu", threads=1)


def test_code_counts_and_comments_and_places_do_not(net: Path, tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    before = identified(net, tiny_overrides)
    assert before["training.model.name"] == "Net"
    assert str(tmp_path) not in str(before)
    net.write_text(f"# mine\n{NET}")
    assert identified(net, tiny_overrides) == before
    (tmp_path / "moved").mkdir()
    for name in ("net.py", "near.py"):
        (tmp_path / "moved" / name).write_text((tmp_path / name).read_text())
    assert identified(tmp_path / "moved" / "net.py", tiny_overrides) == before
    for file, text in (
        (net, NET.replace("width: int = 8", "width: int = 9")),
        (net.with_name("near.py"), "CHANNELS = 1"),
    ):
        kept = file.read_text()
        file.write_text(text)
        after = identified(net, tiny_overrides)
        assert {key for key in after if after[key] != before[key]} == {"code.backbone"}
        assert first_task_key("part", after) != first_task_key("part", before)
        file.write_text(kept)


def test_paths_among_its_options_count_as_they_are_marked(
    net: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "w.pth").write_bytes(b"1")
    before = identified(net, tiny_overrides, table=str(tmp_path / "t.csv"), start=str(tmp_path / "w.pth"))
    (tmp_path / "v.pth").write_bytes(b"1")
    assert identified(net, tiny_overrides, table="/else/t.csv", start=str(tmp_path / "v.pth")) == before
    (tmp_path / "v.pth").write_bytes(b"2")
    after = identified(net, tiny_overrides, table="/else/t.csv", start=str(tmp_path / "v.pth"))
    assert {key for key in after if after[key] != before[key]} == {"training.model.options.start"}


def test_what_comes_with_clsim_has_no_code_of_its_own(tiny_overrides: dict[str, Any]) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides)
    codes = {
        key for key in identity(scenario, "lwf+er", {}, seed=0, device="cpu", threads=1) if key.startswith("code.")
    }
    assert codes == {"code.clsim", "code.strategy.lwf", "code.strategy.er"}


# --- what the command shows


def test_the_command_shows_kinds_names_and_options(net: Path) -> None:
    assert [row[0] for row in list_parts(None, None).rows] == list(KINDS)
    assert dict((row[0], row[1]) for row in list_parts("strategy", None).rows)["er"].startswith("Replay stored rows")
    assert [row[:3] for row in list_parts("loss", "focal").rows] == [
        ("gamma", "number", "2.0"),
        ("alpha", "number | null", "null"),
    ]
    shown = list_parts("backbone", f"{net}:Net")
    assert shown.lines == [f"{net}:Net: Means of colours."]
    assert shown.rows[0] == ("width", "integer", "8", "")
    assert list_parts("backbone", f"{net}:Typed").rows == [("width", "integer >= 1", "required", "features")]
    with pytest.raises(ClsimError, match=r"unknown kind 'los', did you mean 'loss'\?"):
        list_parts("los", None)


def test_the_schema_names_the_options_of_parts() -> None:
    model = ScenarioConfig.model_json_schema()["$defs"]["ModelSection"]["properties"]
    assert model["options"]["type"] == "object"
    assert "file.py:Name" in model["name"]["description"]
    assert {"tiny-resnet", "resnet18"} < set(model["name"]["examples"])


METHOD = """
from typing import Annotated

import clsim
from clsim.data.path_options import FILE_CONTENT


class Mine(clsim.Strategy):
    name = "mine"

    class Options(clsim.Options):
        prior: Annotated[str | None, FILE_CONTENT] = None
"""


def test_paths_in_options_of_a_strategy_start_at_the_working_directory_and_count_by_content(
    tmp_path: Path, tiny_overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "prior.txt").write_text("1")
    monkeypatch.chdir(tmp_path)
    composition = Composition("mine.py:Mine+er", {"mine.prior": "prior.txt"})
    assert composition.given == {"mine.prior": str(tmp_path / "prior.txt")}
    scenario = load_scenario("digits-b0c2", tiny_overrides)

    def identified() -> dict[str, Any]:
        return identity(scenario, composition.located, composition.given, seed=0, device="cpu", threads=1)

    before = identified()
    assert str(tmp_path) not in str(before)
    (tmp_path / "prior.txt").write_text("2")
    after = identified()
    assert {key for key in after if after[key] != before[key]} == {"strategy.mine.prior"}


def test_data_sets_are_listed_with_the_options_of_their_section(tmp_path: Path) -> None:
    listed = list_parts("dataset", None)
    assert [row[0] for row in listed.rows] == [
        "digits",
        "voc",
        "coco",
        "nuswide",
        "openimages",
        "manifest",
        "folder",
        "features",
    ]
    assert all(row[1] for row in listed.rows)
    assert any(line.startswith("torchvision/NAME") for line in listed.lines)
    assert {row[0] for row in list_parts("dataset", "digits").rows} >= {"train", "test", "categories"}
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self, root, split, n: int = 3): pass\n")
    assert [row[0] for row in list_parts("dataset", f"{tmp_path}/mine.py:Mine").rows] == ["root", "n"]
    assert list_parts("dataset", "torchvision/MNIST").rows[0][0] == "root"


def test_an_entry_point_names_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boxes.py").write_text("""
import numpy as np

class Boxes:
    class_names = ("a", "b")

    def labels(self, split):
        return np.eye(2, dtype=np.int8)

    def images(self, split, size):
        return np.zeros((2, 3, size, size), dtype=np.uint8)

    def fingerprint(self):
        return "v1"
""")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("boxes", "boxes:Boxes", "clsim.datasets")
    monkeypatch.setattr(parts, "entry_points", lambda group: [point] if group == "clsim.datasets" else [])
    scenario = load_scenario("digits-b0c2", {"dataset": {"name": "boxes"}, "stream.increment": 1})
    assert scenario.plan().class_names == ("a", "b")
    assert parts.code_of("dataset", "boxes") is not None
