"""The first task of several runs trained once: as if each had trained it, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import clsim
from clsim.launch.first_task_groups import first_task_key, is_there, launch_order, shares
from clsim.launch.run_state import RunState
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.execution import execute
from clsim.running.prepared_run import prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from tests.fixtures.logged import logged

SHORT = {"dataset.train": 50, "dataset.test": 30, "stream.increment": 5}

Carry = Callable[..., Path]


@pytest.fixture(scope="module")
def carry_out(tiny_overrides: dict, tmp_path_factory: pytest.TempPathFactory) -> Carry:
    """Carries out a run of two tasks: (spec, options, scenario overrides, share) -> its folder."""

    def carry(
        spec: str,
        options: dict[str, Any] | None = None,
        overrides: dict[str, Any] | None = None,
        share: Path | None = None,
    ) -> Path:
        scenario = load_scenario("digits-b0c2", tiny_overrides | SHORT | (overrides or {}))
        folder = tmp_path_factory.mktemp("run") / "run"
        prepare(folder, scenario, RunSpec(spec, spec, 1, "cpu", options or {}), 1)
        execute(folder, first_task=share)
        return folder

    return carry


@pytest.fixture(scope="module")
def left(carry_out: Carry, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of the first task that a run of a spec has left; each is trained once."""
    known: dict[str, Path] = {}

    def leave(spec: str, overrides: dict[str, Any] | None = None) -> Path:
        which = json.dumps([spec, overrides])
        if which not in known:
            known[which] = tmp_path_factory.mktemp("shared") / "first"
            carry_out(spec, None, overrides, known[which])
        return known[which]

    return leave


def same(one: Any, other: Any) -> bool:
    """Equal trees of tensors and plain values, bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and torch.equal(one.nan_to_num(-7.0), other.nan_to_num(-7.0))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))  # undefined values are NaN


def state(folder: Path) -> dict[str, Any]:
    """The last checkpoint, with weights, memories and teachers, without the clock of `timing.jsonl`."""
    found = newest_checkpoint(folder)
    assert found is not None
    content = found.state()
    content["plugins"] = [part for part in content["plugins"] if not {"seconds", "samples"} & set(part)]
    return content


def assert_equal_runs(shared: Path, alone: Path, trained_by: str) -> None:
    """Equal to the last bit, but for what `result.json` says of who has trained the first task."""
    assert "not trained here but shared" in (shared / "run.log").read_text()
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (shared, alone))
    assert one.pop("first_task") == {"trained_by": trained_by}
    assert other.pop("first_task") is None
    assert list(one.items()) == list(other.items())
    for name in ("metrics.jsonl", "class_values.f64", "memory.csv"):
        assert (shared / name).exists() == (alone / name).exists()
        if (alone / name).exists():
            assert (shared / name).read_bytes() == (alone / name).read_bytes(), name
    assert same(state(shared), state(alone))


@pytest.mark.parametrize(
    ("leader", "spec", "options"),
    [
        ("finetune", "er", {}),
        ("finetune", "er", {"replay": "paired", "selection": "herding", "current_classes": "refresh"}),
        ("finetune", "er", {"selection": "reservoir"}),
        ("finetune", "lwf", {}),
        ("er", "finetune", {"old_classes": "negative"}),
        ("er", "lwf+er", {"lwf.old_classes": "negative"}),
        ("er", "er+or", {"threshold": "prior"}),
        ("er", "er+identity", {}),
        ("er", "pseudo+er", {"rule": "recall"}),
        ("er", "ewc", {"weight": 50.0}),
        ("ewc", "er", {}),
        ("akd", "rebll", {}),
        ("akd", "akd+er", {"decay": 0.5}),
    ],
)
def test_a_run_that_shares_equals_one_that_does_not(
    leader: str, spec: str, options: dict, carry_out: Carry, left: Callable[..., Path]
) -> None:
    assert Composition(leader).first_task_key() == Composition(spec, options).first_task_key() is not None
    assert_equal_runs(carry_out(spec, options, share=left(leader)), carry_out(spec, options), f"{leader}/seed1")


@pytest.mark.parametrize(
    "overrides",
    [
        {"evaluation.every": "epoch"},
        {"evaluation.every": {"images": 20}},
        {"training.loss": {"name": "db"}, "training.optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9}},
        {"training.augmentation": {"flip": 0.5}, "training.sampler": "class-aware", "memory.labels": "oracle"},
    ],
    ids=["scores-each-epoch", "scores-between-steps", "counted-loss", "augmented"],
)
def test_it_holds_under_other_settings(overrides: dict, carry_out: Carry, left: Callable[..., Path]) -> None:
    shared = carry_out("lwf+er", None, overrides, left("finetune", overrides))
    assert_equal_runs(shared, carry_out("lwf+er", None, overrides), "finetune/seed1")


def test_the_curves_are_those_of_a_run_that_trains_alone(carry_out: Carry, left: Callable[..., Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
        events = EventAccumulator(str(folder))
        events.Reload()
        tags = events.Tags()["scalars"]
        return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags}

    alone = curves(carry_out("lwf"))
    assert curves(carry_out("lwf", share=left("finetune"))) == alone
    assert [step for step, _ in alone["loss/total"]] == [1, 2, 3, 4]


def test_the_time_of_the_shared_task_counts_and_is_told(carry_out: Carry, left: Callable[..., Path]) -> None:
    share = left("finetune")
    folder = carry_out("er", share=share)
    first, second = map(json.loads, (folder / "timing.jsonl").read_text().splitlines())
    found = newest_checkpoint(share)
    assert found is not None
    assert first["shared_seconds"] == pytest.approx(found.header["seconds"], abs=1e-3)
    assert first["train_seconds"] > first["shared_seconds"]
    assert first["train_cpu_seconds"] > found.header["cpu_seconds"] > 0
    assert "shared_seconds" not in second


def test_a_damaged_first_task_is_trained_again(carry_out: Carry, tmp_path: Path) -> None:
    share = tmp_path / "first"
    carry_out("finetune", share=share)
    (file,) = (share / "checkpoint").glob("*.pt")
    file.write_bytes(file.read_bytes()[:-1])
    folder = carry_out("er", share=share)
    assert "is damaged and passed over" in (folder / "run.log").read_text()
    assert "not trained here" not in (folder / "run.log").read_text()
    assert newest_checkpoint(share) is not None


def test_a_first_task_that_cannot_be_left_stops_nobody(carry_out: Carry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = carry_out("finetune", share=tmp_path / "file" / "first")
    assert "first task not shared" in (folder / "run.log").read_text()
    assert (folder / "result.json").exists()


@pytest.mark.parametrize("spec", ["joint", "more", "er+more"])
def test_strategies_with_a_first_task_of_their_own_share_none(spec: str) -> None:
    assert Composition(spec).first_task_key() is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("finetune", "akd"), ("er", "rebll")],
)
def test_strategies_whose_first_tasks_differ_have_other_keys(one: str, other: str) -> None:
    assert Composition(one).first_task_key() != Composition(other).first_task_key()
    assert Composition("akd", {"gamma": 2.0}).first_task_key() != Composition("akd").first_task_key()


def test_a_part_that_trains_on_another_plan_shares_nothing(tmp_path: Path) -> None:
    file = tmp_path / "planner.py"
    file.write_text(
        "import clsim\n\n\nclass Planner(clsim.Strategy):\n"
        "    def derive_plan(self, plan, truth):\n        return None\n\n"
        "    def first_task_key(self):\n        return ''\n"
    )
    assert Composition(f"{file}:Planner").first_task_key() is None


LIAR = """
import clsim
from avalanche.core import SupervisedPlugin


class Liar(clsim.Strategy):
    name = "liar"

    class Options(clsim.Options):
        lr: float = 0.0

    def plugins(self, context):
        return [Freezes(self.options.lr)]

    def first_task_key(self):
        return ""


class Freezes(SupervisedPlugin):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr

    def before_update(self, strategy, **kwargs):
        for group in strategy.optimizer.param_groups:
            group["lr"] = self.lr

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
"""


@pytest.fixture
def liar(tmp_path: Path) -> str:
    """A strategy that does not learn in the first task, and says that nothing of it is active there."""
    (tmp_path / "liar.py").write_text(LIAR)
    return f"{tmp_path / 'liar.py'}:Liar"


def test_a_part_from_a_file_shares_with_its_equals_only(liar: str, tmp_path: Path) -> None:
    key = Composition(liar).first_task_key()
    assert key is not None
    assert key == Composition(liar).first_task_key() == Composition(f"er+{liar}").first_task_key()
    assert key != Composition("finetune").first_task_key()
    assert key != Composition(liar, {"lr": 0.1}).first_task_key()
    (tmp_path / "other.py").write_text(LIAR.replace("self.lr\n", "2 * self.lr\n"))
    assert key != Composition(f"{tmp_path / 'other.py'}:Liar").first_task_key()
    heir = "from clsim.strategies.er import ER\n\n\nclass Heir(ER):\n    pass\n"
    (tmp_path / "heir.py").write_text(heir)
    assert Composition(f"{tmp_path / 'heir.py'}:Heir").first_task_key() != Composition("er").first_task_key()


IDENTITY = {
    "strategy": "er",
    "strategy.er.replay": "concat",
    "code.strategy.er": "a",
    "code.clsim": "b",
    "seed": 0,
    "threads": 1,
}


@pytest.mark.parametrize("key", ["code.clsim", "seed", "threads", "device", "plan_sha256", "training.epochs"])
def test_only_runs_that_agree_in_all_but_their_strategy_share(key: str) -> None:
    own = first_task_key("part", IDENTITY)
    assert own == first_task_key(
        "part", IDENTITY | {"strategy": "lwf", "strategy.er.replay": "paired", "code.strategy.er": "c"}
    )
    assert own != first_task_key("part", IDENTITY | {key: "another"})
    assert own != first_task_key("another part", IDENTITY)
    assert first_task_key(None, IDENTITY) is None


def test_groups_are_of_runs_that_have_the_task_to_train_and_their_heads_start_first() -> None:
    names = ("alone", "reused", "farther", "first", "second", "third", "own")
    states = {Path(name): RunState(10, 5, "waiting") for name in names}
    states[Path("reused")].status = "reused"
    states[Path("farther")].done = 2
    states[Path("third")].done = 1
    keys = {Path(name): "k" for name in names} | {Path("alone"): "other", Path("own"): None}
    share = shares(Path("home"), keys, states)
    assert share == {Path(name): Path("home/.first-task/k") for name in ("first", "second", "third")}
    waiting = [Path(name) for name in ("alone", "farther", "first", "second", "third", "own")]
    order = launch_order(waiting, share, states)
    assert [path.name for path in order] == ["third", "alone", "farther", "own", "first", "second"]
    assert not is_there(Path("home/.first-task/k"))


@pytest.mark.slow
def test_a_comparison_trains_it_once_and_its_numbers_are_those_of_separate_runs(
    tiny_overrides: dict, liar: str, tmp_path: Path
) -> None:
    overrides = tiny_overrides | SHORT
    together = clsim.compare(
        "digits-b0c2", [liar, "finetune", "er", "lwf"], overrides=overrides, out=tmp_path / "a", workers=2, device="cpu"
    )
    alone = clsim.compare(
        "digits-b0c2",
        ["finetune", "lwf"],
        overrides=overrides,
        out=tmp_path / "b",
        workers=2,
        device="cpu",
        share_first_task=False,
    )
    logs = [path.read_text() for path in sorted(together.folder.glob("*/seed0/run.log"))]
    assert sum("not trained here but shared" in text for text in logs) == 2
    sources = {
        name: json.loads((together.folder / name / "seed0" / "result.json").read_text())["first_task"]
        for name in ("liar", "finetune", "er", "lwf")
    }
    shared = {"trained_by": "finetune/seed0"}
    assert sources == {"liar": None, "finetune": None, "er": shared, "lwf": shared}
    for name in ("finetune", "lwf"):
        one, other = (folder / name / "seed0" for folder in (together.folder, alone.folder))
        assert logged(one) == logged(other)
        assert "shared" not in (other / "run.log").read_text()
    assert not (together.folder / ".first-task").exists()
