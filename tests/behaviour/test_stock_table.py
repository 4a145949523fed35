"""docs/avalanche.md: each line of its table, in Avalanche's own templates on our streams."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.logging import BaseLogger, CSVLogger, TextLogger
from avalanche.training.plugins import (
    AGEMPlugin,
    BiCPlugin,
    CWRStarPlugin,
    EWCPlugin,
    FeatureDistillationPlugin,
    GDumbPlugin,
    GEMPlugin,
    LFLPlugin,
    LRSchedulerPlugin,
    LwFPlugin,
    MASPlugin,
    MIRPlugin,
    RARPlugin,
    ReplayPlugin,
    RWalkPlugin,
    SynapticIntelligencePlugin,
)
from avalanche.training.storage_policy import ClassBalancedBuffer, HerdingSelectionStrategy, ParametricBuffer
from avalanche.training.supervised import Cumulative, ICaRL, JointTraining, Naive
from avalanche.training.supervised.der import DER
from avalanche.training.supervised.er_ace import ER_ACE
from avalanche.training.templates import SupervisedTemplate
from torch import nn

import clsim
from clsim import kit
from clsim.errors import ClsimError, RunError
from clsim.scenario import load_scenario
from clsim.scenario.stream.benchmark import MultiLabelBenchmark

PAGE = Path(__file__).parents[2] / "docs" / "avalanche.md"
TABLE = dict(re.findall(r"^\| `([^`]+)` \| (works|with an adapter|refused) \|", PAGE.read_text(), re.MULTILINE))


class Quiet(BaseLogger):
    """Logs nothing; without a logger Avalanche warns."""


class Losses(SupervisedPlugin):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []
        self.evaluating: list[str] = []

    def after_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.evaluating += [name for name, part in strategy.model.named_modules() if not part.training]

    def after_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.seen.append(float(strategy.loss.detach()))


@pytest.fixture(scope="module")
def benchmark(tiny_overrides: dict[str, object]) -> MultiLabelBenchmark:
    return load_scenario("digits-b0c2", tiny_overrides).benchmark()


def network() -> kit.FeatureModel:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 16))
    return kit.FeatureModel(trunk, nn.Linear(16, 10))


def made(kind: Any = SupervisedTemplate, plugins: tuple[Any, ...] = (), loggers: Any = None, **options: Any) -> Any:
    model = options.pop("model", None) or network()
    return kind(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        criterion=kit.masked_bce,
        train_mb_size=16,
        train_epochs=2,
        eval_mb_size=64,
        plugins=list(plugins),
        evaluator=clsim.MultiLabelMetrics(loggers=loggers or [Quiet()]),
        **options,
    )


def herding() -> Any:
    model = network()
    buffer = ParametricBuffer(12, groupby="experience", selection_strategy=HerdingSelectionStrategy(model, "trunk"))
    return made(plugins=(ReplayPlugin(12, storage_policy=buffer),), model=model)


def scheduled() -> Any:
    strategy = made()
    schedule = torch.optim.lr_scheduler.StepLR(strategy.optimizer, 1, 0.5)
    strategy.plugins.insert(0, LRSchedulerPlugin(schedule))
    return strategy


def class_buffer(_: Any = None) -> Any:
    return made(plugins=(ReplayPlugin(12, storage_policy=ClassBalancedBuffer(12)),))


def icarl() -> Any:
    model = network()
    return ICaRL(
        feature_extractor=model.trunk,
        classifier=model.head,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        memory_size=12,
        buffer_transform=None,
        fixed_memory=True,
        train_mb_size=16,
        train_epochs=1,
        evaluator=clsim.MultiLabelMetrics(loggers=[Quiet()]),
    )


METHODS: dict[str, Callable[..., Any]] = {
    "Naive": lambda: made(Naive),
    "Cumulative": lambda: made(Cumulative),
    "JointTraining": lambda: made(JointTraining),
    "AGEMPlugin": lambda: made(plugins=(AGEMPlugin(12, 12),)),
    "GEMPlugin": lambda: made(plugins=(GEMPlugin(12, 0.5),)),
    "EWCPlugin": lambda mode="separate": made(plugins=(EWCPlugin(100.0, mode, 0.5 if mode == "online" else None),)),
    "MASPlugin": lambda: made(plugins=(MASPlugin(1.0),)),
    "ReplayPlugin": lambda: made(plugins=(ReplayPlugin(12),)),
    "ParametricBuffer": herding,
    "RARPlugin(use_adversarial_replay=False)": lambda: made(plugins=(RARPlugin(8, 12, use_adversarial_replay=False),)),
    "LRSchedulerPlugin": scheduled,
    "CSVLogger": lambda folder: made(loggers=[CSVLogger(folder)]),
    "TextLogger": lambda file: made(loggers=[TextLogger(file)]),
    "DER": lambda kind=kit.MultiLabelDER: made(kind, mem_size=12, batch_size_mem=8),
    "FeatureDistillationPlugin": lambda: made(plugins=(FeatureDistillationPlugin(1.0),)),
    "LFLPlugin": lambda *more: made(plugins=(LFLPlugin(1.0), *(more or [kit.TrainMode()]))),
    "RWalkPlugin": lambda *more: made(plugins=(RWalkPlugin(1.0, delta_t=2), *(more or [kit.TrainMode()]))),
    "LwFPlugin": lambda: made(plugins=(LwFPlugin(),)),
    "ClassBalancedBuffer": class_buffer,
    "GDumbPlugin": lambda: made(plugins=(GDumbPlugin(12),)),
    "MIRPlugin": lambda: made(plugins=(MIRPlugin(8, 12),)),
    "ER_ACE": lambda: made(ER_ACE, mem_size=12, batch_size_mem=8),
    "CWRStarPlugin": lambda model=None: made(plugins=(CWRStarPlugin(model := network(), "head", True),), model=model),
    "ICaRL": icarl,
    "BiCPlugin": lambda: made(plugins=(BiCPlugin(12),)),
    "RARPlugin": lambda: made(plugins=(RARPlugin(8, 12),)),
    "SynapticIntelligencePlugin": lambda: made(plugins=(SynapticIntelligencePlugin(1e6),)),
}


def learn(strategy: Any, benchmark: MultiLabelBenchmark, evaluate: bool = True) -> tuple[Any, Losses]:
    losses = Losses()
    strategy.plugins.append(losses)
    torch.manual_seed(1)
    if isinstance(strategy, JointTraining):
        strategy.train(benchmark.train_stream[:2])
    else:
        for experience in benchmark.train_stream[:2]:
            strategy.train(experience)
    if evaluate:
        strategy.eval(benchmark.test_stream[:2])
    return strategy, losses


def weights(strategy: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in strategy.model.parameters()])


@pytest.fixture(scope="module")
def naive(benchmark: MultiLabelBenchmark) -> torch.Tensor:
    return weights(learn(made(), benchmark)[0])


def those(verdict: str) -> list[str]:
    return [name for name, found in TABLE.items() if found == verdict]


def test_each_method_of_the_table_is_tested() -> None:
    assert list(TABLE) == list(METHODS)


WORKING = [name for name in TABLE if TABLE[name] != "refused" and not name.endswith("Logger")]


@pytest.mark.parametrize("name", WORKING)
def test_it_works(benchmark: MultiLabelBenchmark, naive: torch.Tensor, name: str) -> None:
    strategy, losses = learn(METHODS[name](), benchmark)
    assert losses.seen
    assert all(math.isfinite(loss) for loss in losses.seen)
    assert torch.isfinite(weights(strategy)).all()
    assert torch.equal(weights(strategy), naive) == (name == "Naive")
    assert losses.evaluating == []
    assert 0 < strategy.evaluator.get_last_metrics()["mAP_Stream/eval_phase/test_stream"] <= 100


def test_online_ewc_works(benchmark: MultiLabelBenchmark, naive: torch.Tensor) -> None:
    strategy, losses = learn(METHODS["EWCPlugin"]("online"), benchmark)
    assert all(math.isfinite(loss) for loss in losses.seen)
    assert not torch.equal(weights(strategy), naive)


def test_csv_and_text_loggers_write_the_map(benchmark: MultiLabelBenchmark, tmp_path: Path) -> None:
    learn(METHODS["CSVLogger"](str(tmp_path)), benchmark)
    assert (tmp_path / "eval_results.csv").read_text().strip()
    file = io.StringIO()
    learn(METHODS["TextLogger"](file), benchmark)
    assert "mAP_Stream/eval_phase/test_stream = " in file.getvalue()


@pytest.mark.parametrize("name", those("refused"))
def test_it_is_refused_in_one_line(benchmark: MultiLabelBenchmark, name: str) -> None:
    with pytest.raises(ClsimError, match=r"^[^\n]+$"):
        learn(METHODS[name](), benchmark)


def test_der_is_refused_without_its_adapter(benchmark: MultiLabelBenchmark) -> None:
    with pytest.raises(ClsimError, match=r"^\.targets: [^\n]+$"):
        learn(METHODS["DER"](DER), benchmark)


@pytest.mark.parametrize("name", ["LFLPlugin", "RWalkPlugin"])
def test_without_its_adapter_it_leaves_the_model_in_evaluation_mode(benchmark: MultiLabelBenchmark, name: str) -> None:
    _, losses = learn(METHODS[name](SupervisedPlugin()), benchmark)
    assert losses.evaluating


def test_synaptic_intelligence_still_computes_zero_importances(benchmark: MultiLabelBenchmark) -> None:
    """When this fails, Avalanche has mended it: take it out of `UNUSABLE` and out of the table."""
    strategy = METHODS["SynapticIntelligencePlugin"]()
    strategy.evaluator.active = False
    learn(strategy, benchmark, evaluate=False)
    assert all(not part.data.any() for part in strategy.plugins[0].ewc_data[1].values())


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(PAGE.read_text().split("```python\n")[1].partition("```")[0], {})
    assert len(re.findall(r"^\d+\.\d+$", capsys.readouterr().out, re.MULTILINE)) == 2


def test_an_unusable_plugin_is_refused_in_a_run(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STRATEGY.format(plugin="SynapticIntelligencePlugin", arguments="1.0"))
    with pytest.raises(ClsimError, match=r"SynapticIntelligencePlugin of Avalanche computes zero importances"):
        clsim.run("digits-b0c2", f"{file}:Mine", overrides=tiny_overrides, out=tmp_path)


STRATEGY = """
from clsim import kit
from avalanche.training.plugins import {plugin}

class Mine(kit.Strategy):
    def plugins(self, context):
        return [{plugin}({arguments})]
"""


@pytest.mark.parametrize(
    ("plugin", "arguments", "event", "message"),
    [
        (
            "FeatureDistillationPlugin",
            "",
            "before_backward at task 1, epoch 0, step 0",
            "TypeError: cosine.*",
        ),
        ("LFLPlugin", "1.0", "before_training at task 0, epoch 0, step 0", "NotImplementedError: BaseModel.*"),
    ],
)
def test_a_stock_plugin_that_fails_in_a_run_is_named(
    tiny_overrides: dict[str, Any], tmp_path: Path, plugin: str, arguments: str, event: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STRATEGY.format(plugin=plugin, arguments=arguments))
    with pytest.raises(RunError, match=f"plugin {plugin} failed in {event}: {message}$") as raised:
        clsim.run("digits-b0c2", f"{file}:Mine", overrides=tiny_overrides, out=tmp_path)
    assert "\n" not in str(raised.value)
    (log,) = tmp_path.rglob("run.log")
    assert "Traceback (most recent call last)" in log.read_text()
    (reason,) = tmp_path.rglob("error.txt")
    assert f"plugin {plugin} failed in" in reason.read_text()
