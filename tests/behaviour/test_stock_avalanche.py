"""Stock Avalanche, unchanged, on our streams: templates, replay, EWC, loggers, plugins and buffers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metrics import loss_metrics
from avalanche.logging import BaseLogger, TensorboardLogger
from avalanche.training.plugins import EvaluationPlugin, EWCPlugin, ReplayPlugin
from avalanche.training.storage_policy import ExemplarsBuffer, ExperienceBalancedBuffer, ReservoirSamplingBuffer
from avalanche.training.supervised import Naive
from avalanche.training.templates import SupervisedTemplate
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from clsim.scenario import Scenario
from clsim.scenario.stream.benchmark import MultiLabelBenchmark
from clsim.scenario.stream.rows import MultiLabelDataset
from clsim.training.losses.binary import masked_bce


class Watch(SupervisedPlugin):
    """A user's plugin: records callbacks, losses, and the images and labels of every training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.losses: list[tuple[int, float]] = []
        self.images: dict[int, set[bytes]] = {}
        self.targets: list[Tensor] = []
        self.evaluated: list[tuple[int, int]] = []

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.events.append("before_training_exp")

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        x, y, labels = strategy.mbatch
        assert (x.shape[1:], y.shape[1:], labels.dtype) == ((3, 28, 28), (10,), torch.int64)
        assert not labels.any()
        task = strategy.experience.current_experience
        self.images.setdefault(task, set()).update(image.numpy().tobytes() for image in x)
        self.targets.append(y.clone())

    def after_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.losses.append((strategy.experience.current_experience, float(strategy.loss.detach())))

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.events.append("after_training_exp")

    def after_eval_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        assert (strategy.mb_y[:, strategy.experience.classes_seen_so_far] >= 0).all()
        self.evaluated.append((strategy.experience.current_experience, len(strategy.mb_y)))

    def after_eval(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.events.append("after_eval")


class Newest(ExemplarsBuffer):
    """A user's own buffer: the first rows of the newest experience."""

    def update(self, strategy: Any, **kwargs: Any) -> None:
        self.buffer = strategy.experience.dataset.subset(list(range(self.max_size)))

    def resize(self, strategy: Any, new_size: int) -> None:
        self.max_size = new_size


class Quiet(BaseLogger):
    """Logs nothing; without a logger Avalanche warns."""


@pytest.fixture
def benchmark(tiny: Scenario) -> MultiLabelBenchmark:
    return tiny.benchmark()


def template(plugins: list[Any], kind: Any = SupervisedTemplate, evaluator: Any = None, epochs: int = 4) -> Any:
    """A stock template around a plain network with all ten outputs."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
    return kind(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        criterion=masked_bce,
        train_mb_size=16,
        train_epochs=epochs,
        eval_mb_size=32,
        plugins=plugins,
        evaluator=evaluator or EvaluationPlugin(loggers=[Quiet()]),
    )


def learn(strategy: Any, benchmark: MultiLabelBenchmark, tasks: int = 3) -> None:
    for experience in benchmark.train_stream[:tasks]:
        strategy.train(experience)
        strategy.eval(benchmark.test_stream)


def own_images(benchmark: MultiLabelBenchmark, task: int) -> set[bytes]:
    return {x.numpy().tobytes() for x, _, _ in benchmark.train_stream[task].dataset}


@pytest.mark.parametrize("kind", [SupervisedTemplate, Naive])
def test_the_loss_of_every_task_falls(benchmark: MultiLabelBenchmark, kind: Any) -> None:
    watch = Watch()
    learn(template([watch], kind), benchmark)
    for task in range(3):
        losses = [loss for at, loss in watch.losses if at == task]
        quarter = len(losses) // 4
        assert sum(losses[-quarter:]) < 0.9 * sum(losses[:quarter])


def test_an_unknown_label_is_minus_one_in_the_batch_and_trains_nothing(benchmark: MultiLabelBenchmark) -> None:
    watch = Watch()
    strategy = template([watch])
    before = strategy.model[-1].bias.detach().clone()
    learn(strategy, benchmark, tasks=1)
    assert all((y[:, :4] >= 0).all() and (y[:, 4:] == -1).all() for y in watch.targets)
    assert (strategy.model[-1].bias[:4] != before[:4]).all()
    assert torch.equal(strategy.model[-1].bias[4:], before[4:])


def test_a_users_plugin_gets_its_callbacks(benchmark: MultiLabelBenchmark) -> None:
    watch = Watch()
    learn(template([watch]), benchmark)
    assert watch.events == ["before_training_exp", "after_training_exp", "after_eval"] * 3


def test_evaluation_runs_on_every_experience_of_the_test_stream(benchmark: MultiLabelBenchmark) -> None:
    watch = Watch()
    learn(template([watch]), benchmark, tasks=1)
    for task, experience in enumerate(benchmark.test_stream):
        assert sum(rows for at, rows in watch.evaluated if at == task) == len(experience.dataset) > 0


def test_stock_evaluation_scores_the_loss_of_each_experience(benchmark: MultiLabelBenchmark) -> None:
    evaluator = EvaluationPlugin(loss_metrics(experience=True, stream=True), loggers=[Quiet()])
    strategy = template([], evaluator=evaluator)
    learn(strategy, benchmark, tasks=1)
    metrics = evaluator.get_last_metrics()
    experience = benchmark.test_stream[0].dataset
    x, y, _ = experience.__getitems__(range(len(experience))).batch
    with torch.no_grad():
        expected = float(masked_bce(strategy.model.eval()(x), y))
    assert metrics["Loss_Exp/eval_phase/test_stream/Exp000"] == pytest.approx(expected, rel=1e-4)
    assert len([name for name in metrics if name.startswith("Loss_Exp/eval_phase")]) == 3


# --- replay and buffers


@pytest.mark.parametrize(
    ("buffer", "size"),
    [(ReservoirSamplingBuffer, 12), (lambda n: ExperienceBalancedBuffer(n, adaptive_size=True), 12), (Newest, 6)],
    ids=["reservoir", "experience-balanced", "own"],
)
def test_rows_of_earlier_tasks_are_replayed_from_a_stock_buffer(
    benchmark: MultiLabelBenchmark, buffer: Any, size: int
) -> None:
    watch, policy = Watch(), buffer(size)
    learn(template([ReplayPlugin(mem_size=size, storage_policy=policy), watch]), benchmark, tasks=2)
    assert watch.images[0] == own_images(benchmark, 0)
    replayed = watch.images[1] - own_images(benchmark, 1)
    assert 0 < len(replayed) <= size
    assert replayed <= own_images(benchmark, 0)


def test_a_replayed_row_keeps_the_labels_it_came_with(benchmark: MultiLabelBenchmark) -> None:
    policy = ReservoirSamplingBuffer(12)
    learn(template([ReplayPlugin(mem_size=12, storage_policy=policy)]), benchmark, tasks=3)
    buffer = policy.buffer
    assert isinstance(buffer, MultiLabelDataset)
    assert len(buffer) == 12
    for (_, y, _), row in zip(buffer, buffer.rows(), strict=True):
        assert torch.equal(y, benchmark.train_rows.targets(np.array([row]))[0])


# --- regularisation


def test_stock_ewc_holds_weights_back(benchmark: MultiLabelBenchmark) -> None:
    moved = []
    for weight in (0.0, 1e4):
        strategy, start = template([EWCPlugin(weight)], epochs=2), []
        learn(strategy, benchmark, tasks=1)
        start = [parameter.detach().clone() for parameter in strategy.model.parameters()]
        strategy.train(benchmark.train_stream[1])
        now = strategy.model.parameters()
        moved.append(sum(float((a.detach() - b).norm()) for a, b in zip(now, start, strict=True)))
    assert moved[1] < 0.8 * moved[0]


# --- loggers


def test_stock_tensorboard_logger_writes_real_event_files(benchmark: MultiLabelBenchmark, tmp_path: Path) -> None:
    logger = TensorboardLogger(tmp_path)
    metrics = loss_metrics(epoch=True, experience=True, stream=True)
    learn(template([], evaluator=EvaluationPlugin(metrics, loggers=[logger])), benchmark)
    logger.writer.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()["scalars"]
    trained = [tag for tag in tags if tag.startswith("Loss_Epoch/train_phase")]
    evaluated = [tag for tag in tags if tag.startswith("Loss_Exp/eval_phase/test_stream")]
    assert (len(trained), len(evaluated)) == (1, 3)
    values = [event.value for event in events.Scalars(trained[0])]
    assert len(values) == 3 * 4
    assert all(0 < value < 20 for value in values)
    assert [len(events.Scalars(tag)) for tag in evaluated] == [3, 3, 3]
