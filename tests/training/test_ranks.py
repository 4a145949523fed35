"""Two ranks train what one process trains; several cases share the start of the processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clsim
from clsim.scenario import Scenario
from clsim.training.augmentation.pipeline import Augmentation
from clsim.training.batches import EpochLoader
from clsim.training.ranks import Part, Ranks
from tests.fixtures.logged import lines_of
from tests.fixtures.rank_cases import CASES, OVERRIDES, STRATEGIES

SCRIPT = Path(__file__).parents[1] / "fixtures" / "rank_cases.py"
QUICK = ("uneven", "concat", "rebll_more", "synced", "online")
OTHERS = ("er", "rebll", "more", "ewc", "joint", "cgc", "lanes", "tiny_batches")
ROUNDED = ("moments", "bfloat16", "maps")
REFUSED = {
    "noisy": r"the ranks have different values of \S+ after task 0, .*; Noise may decide or draw by the rows",
    "doubled": r"extend_batch: a run on several ranks must be told part=, from learner.part",
    "relational": r"relational compares all rows of a batch with each other and cannot run on several ranks",
    "stock": r"ReplayPlugin has replaced the data loader",
}


def carry_out(folder: Path, names: tuple[str, ...]) -> None:
    """Carry out cases in two processes."""
    folder.mkdir()
    (folder / "strategies.py").write_text(STRATEGIES)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-4000:]


class Pair:
    """The same cases in one process and in two."""

    def __init__(self, home: Path, names: tuple[str, ...], only_two: tuple[str, ...] = ()) -> None:
        self.one, self.two = home / "one", home / "two"
        for name in names:
            strategy, overrides = CASES[name]
            clsim.run("digits-b0c2", strategy, overrides=OVERRIDES | overrides, out=self.one / name, progress=False)
        carry_out(self.two, (*names, *only_two))

    def known(self, name: str, rank: int) -> dict[str, str]:
        """What a rank knew at the end of a case."""
        known: dict[str, str] = json.loads((self.two / name / f"rank{rank}.json").read_text())
        return known

    def differences(self, name: str) -> tuple[float, float]:
        """The largest difference of a weight, and of a value in percent that is logged."""
        models = [torch.load(found(home / name, "model.pt"))["state"] for home in (self.one, self.two)]
        metrics = [lines(home / name) for home in (self.one, self.two)]
        heads = [[(line["phase"], line["step"], list(line["values"])) for line in run] for run in metrics]
        assert heads[0] == heads[1]
        assert "images-eval" in {phase for phase, *_ in heads[0]}
        pairs = [
            (one["values"][tag], two["values"][tag])
            for one, two in zip(*metrics, strict=True)
            for tag in one["values"]
            if tag.startswith(("mAP/", "images/mAP", "loss/", "memory/"))
        ]
        assert all((one is None) == (two is None) for one, two in pairs)
        values = [abs(one - two) for one, two in pairs if one is not None]
        weights = [(value - models[1][key]).abs().max().item() for key, value in models[0].items()]
        return max(weights), max(values)


def found(folder: Path, name: str) -> Path:
    """The one file of a name below a folder."""
    (path,) = folder.rglob(name)
    return path


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the run below a folder."""
    return lines_of(found(folder, "metrics.jsonl").parent)


def check_equal(pair: Pair, name: str) -> None:
    """See that a case is the same in one process and in two, and the same for both."""
    weight, value = pair.differences(name)
    assert weight < 1e-4
    assert value < 0.01
    assert pair.known(name, 0) == pair.known(name, 1)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("ranks"), QUICK, ("stopped", *REFUSED))


@pytest.fixture(scope="module")
def thorough(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("ranks"), OTHERS, ROUNDED)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_two_ranks_train_what_one_process_trains(quick: Pair, name: str) -> None:
    """Uneven parts, replayed rows beside or among the new ones, relabelling, augmentation, clipping; batch norm."""
    check_equal(quick, name)


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERS)
def test_more_methods_on_two_ranks(thorough: Pair, name: str) -> None:
    check_equal(thorough, name)


@pytest.mark.long
@pytest.mark.parametrize("name", ROUNDED)
def test_what_rounding_changes_is_equal_between_the_ranks(thorough: Pair, name: str) -> None:
    assert "hash" in thorough.known(name, 0)
    assert thorough.known(name, 0) == thorough.known(name, 1)


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_where_the_run_can_go_on_exactly(quick: Pair) -> None:
    first, last = (quick.known("stopped", rank) for rank in (0, 1))
    where = re.search(r"task \d+, epoch \d+, step \d+", first["stop"])
    assert where is not None
    assert where[0] in last["stop"]
    assert "torchrun --nproc-per-node 2 --no-python clsim resume" in first["stop"]
    assert first["hash"] == last["hash"] == quick.known("rebll_more", 0)["hash"]
    for name in ("metrics.jsonl", "class_values.f64", "memory.csv", "model.pt"):
        one, other = (found(quick.two / case, name).read_bytes() for case in ("stopped", "rebll_more"))
        assert one == other, name


@pytest.mark.slow
def test_a_rank_that_follows_has_no_truth(quick: Pair) -> None:
    assert json.loads((quick.two / "uneven" / "held1.json").read_text()) == {"plans_with_truth": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_divided_is_refused_by_name(quick: Pair, name: str) -> None:
    for rank in (0, 1):
        assert re.search(REFUSED[name], quick.known(name, rank)["error"])


@pytest.mark.slow
def test_ranks_are_in_the_identity_only_where_there_are_several(quick: Pair) -> None:
    one, two = (json.loads(found(home / "concat", "identity.json").read_text()) for home in (quick.one, quick.two))
    assert two.pop("ranks") == 2
    assert two == one


@pytest.mark.slow
def test_samples_of_all_ranks_are_counted(quick: Pair) -> None:
    def samples(home: Path) -> float:
        (checkpoint,) = (home / "uneven").rglob("checkpoint/*.pt")
        return torch.load(checkpoint, weights_only=True)["samples_trained"]  # type: ignore[no-any-return]

    assert samples(quick.one) == samples(quick.two)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("n", [0, 1, 5, 8, 37])
def test_parts_follow_each_other_and_none_is_small(n: int, count: int) -> None:
    parts = [Ranks(rank, count).part(n) for rank in range(count)]
    if n < 2 * count:
        assert parts == [Part(0, n, n)] * count
        assert all(part.undivided for part in parts)
    else:
        assert [part.start for part in parts] + [n] == [0, *(part.stop for part in parts)]
        assert min(part.stop - part.start for part in parts) >= 2
    split = [Ranks(rank, count).split(n) for rank in range(count)]
    assert sum(part.stop - part.start for part in split) == n


@pytest.mark.parametrize(("beyond", "size"), [(0, 16), (40, 16), (300, 7)])
def test_the_parts_of_a_batch_are_the_batch(tiny: Scenario, beyond: int, size: int) -> None:
    """Also where a rank has nothing but rows of the memory."""
    dataset = tiny.benchmark().train_stream[0].dataset
    loaders = [
        EpochLoader(dataset, size, 0, 0, ranks=ranks) for ranks in (Ranks(), Ranks(0, 3), Ranks(1, 3), Ranks(2, 3))
    ]
    for loader in loaders:
        loader.enlarge(beyond)
        loader.start(0, 0)
    for whole, *parts in zip(*loaders, strict=True):
        if loaders[1].part.undivided and loaders[1].part_beyond.undivided:
            assert all(torch.equal(part[0], whole[0]) for part in parts)
            continue
        for place in (0, 1):
            assert torch.equal(torch.cat([part[place] for part in parts]), whole[place])
        assert np.array_equal(np.concatenate([loader.beyond for loader in loaders[1:]]), loaders[0].beyond)
        for name, n in (("part", len(whole[0])), ("part_beyond", len(loaders[0].beyond))):
            mine = [getattr(loader, name) for loader in loaders[1:]]
            assert [part.start for part in mine] + [n] == [0, *(part.stop for part in mine)]
            assert {part.whole for part in mine} == {n}


def test_an_image_is_changed_alike_in_a_part_of_the_batch(tiny: Scenario) -> None:
    scenario = clsim.load_scenario("digits-b0c2", {"training.augmentation": {"flip": 0.5, "cutout": 0.5}})
    augmentation = Augmentation(scenario.config.training, 0)
    x = torch.randint(0, 256, (9, 3, 28, 28), dtype=torch.uint8)
    parts = [Ranks(rank, 2).part(9) for rank in (0, 1)]
    changed = [augmentation(x[part.rows], "new", 1, 2, 3, before=part.start) for part in parts]
    assert torch.equal(torch.cat(changed), augmentation(x, "new", 1, 2, 3))
    assert augmentation(x[:0], "new", 1, 2, 3).shape == (0, 3, 28, 28)


def test_alone_nothing_changes() -> None:
    ranks = Ranks()
    value = torch.ones(2)
    assert ranks.alone
    assert ranks.seed_path == ()
    assert ranks.sum(value) is value
    assert ranks.share("said") == "said"
    ranks.agree()
    assert not ranks.requested


def test_every_case_is_run() -> None:
    assert set(CASES) == {*QUICK, *OTHERS, *ROUNDED, *REFUSED, "stopped"}
