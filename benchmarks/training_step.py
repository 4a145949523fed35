"""A training step of clsim against hand-written loops and stock Avalanche; what a teacher and MORE add to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.storage_policy import ReservoirSamplingBuffer
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from benchmarks.timing import side_by_side
from benchmarks.workload import RandomSource, network, scenario
from clsim.evaluation.plugins import EpochLosses
from clsim.models.low_rank import Factors, decomposable, decompose, merge
from clsim.models.network import MultiLabelNet
from clsim.scenario import Scenario
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.stream.benchmark import MultiLabelBenchmark
from clsim.scenario.stream.rows import RowStore, collate_rows
from clsim.training.distillation import Distillation
from clsim.training.learner import Learner
from clsim.training.losses.binary import decayed_distillation, emphasised_negatives, masked_bce
from clsim.training.memory.replay import Replay
from clsim.training.memory.selection import RandomSelection
from clsim.training.memory.store import Budget, Memory
from clsim.training.more.plugin import Gradient, ModelRebalancing
from clsim.training.optimization import build_optimizer, build_schedule
from clsim.training.snapshot import Snapshot
from clsim.training.template import MultiLabelTemplate
from clsim.training.unknown import OldClassesOfNewRows

CLASSES = 10
MEMORY = 128
WORKLOADS = {  # network: (image size, batch size, steps an epoch, rounds)
    "mlp": (16, 64, 100, 41),
    "tiny-resnet": (32, 64, 15, 15),
    "resnet18": (64, 32, 4, 9),
}
MORE_WORKLOADS = (  # network, image size, batch size, steps an epoch, rounds: many short ones, as machines drift
    ("tiny-resnet", 32, 64, 5, 31),
    ("resnet18", 64, 32, 3, 21),
    ("resnet18", 128, 32, 2, 13),
    ("resnet50", 128, 16, 2, 11),
)


def _stream(size: int, batch: int, steps: int) -> Scenario:
    return scenario(
        RandomSource(CLASSES, batch * steps, 10),
        stream__increment=CLASSES,
        training__epochs=1,
        training__batch_size=batch,
        training__model__image_size=size,
    )


def measure(name: str, replay: bool) -> list[tuple[str, ...]]:
    """Rows (network, replay, way, ms a step, ratio to the hand-written DataLoader loop)."""
    size, batch, steps, rounds = WORKLOADS[name]
    stream = _stream(size, batch, steps)
    benchmark = stream.benchmark()
    ways = {
        "hand-written, DataLoader with batched fetch": hand_written(
            stream, benchmark, network(name, size), replay, True
        ),
        "hand-written, sliced by index": hand_written(stream, benchmark, network(name, size), replay, False),
        "clsim": clsim_way(stream, benchmark, network(name, size), replay),
        "stock Avalanche": stock(stream, benchmark, network(name, size), replay),
    }
    return [
        (name, "yes" if replay else "no", way, f"{1000 * timing.seconds / steps:.2f}", f"{timing.ratio:.2f}")
        for way, timing in side_by_side(ways, rounds).items()
    ]


def measure_rebll(name: str) -> list[tuple[str, ...]]:
    """Rows (network, step, ms a step, ratio to the plain replay step): what RebLL's teacher adds.

    Relabelling happens between tasks and costs a step nothing.
    """
    size, batch, steps, rounds = WORKLOADS[name]
    stream = _stream(size, batch, steps)
    benchmark = stream.benchmark()
    ways = {
        "er": clsim_way(stream, benchmark, network(name, size), replay=True),
        "rebll": clsim_way(stream, benchmark, network(name, size), replay=True, teacher=network(name, size)),
    }
    return [
        (name, way, f"{1000 * timing.seconds / steps:.2f}", f"{timing.ratio:.2f}")
        for way, timing in side_by_side(ways, rounds).items()
    ]


def measure_more(name: str, size: int, batch: int, steps: int, rounds: int) -> list[tuple[str, ...]]:
    """Rows (network, step, ms a step, ratio to the plain step, both of the fastest round, then as medians).

    And the same of scoring a batch, against the plain network.

    CPU time. Decomposing and merging happen once a task and are left out. Composing W takes the same time whatever the
    images, so it weighs most where these are few and small.
    """
    stream = _stream(size, batch, steps)
    benchmark = stream.benchmark()
    ways = {
        "plain": clsim_way(stream, benchmark, network(name, size), replay=False),
        "more, gradient full": clsim_way(stream, benchmark, network(name, size), replay=False, more="full"),
        "more, gradient student_only": clsim_way(
            stream, benchmark, network(name, size), replay=False, more="student_only"
        ),
    }
    timings = {way: (timing, steps) for way, timing in side_by_side(ways, rounds, time.process_time).items()}
    merged = network(name, size)
    decompose(merged, decomposable(merged)[0], Factors(), seed=0)
    merge(merged)
    x = benchmark.train_rows.images(np.arange(batch))
    scoring = {
        "plain, inference": scoring_way(network(name, size), x),
        "more, merged, inference": scoring_way(merged, x),
    }
    timings |= {way: (timing, 1) for way, timing in side_by_side(scoring, 3 * rounds, time.process_time).items()}
    return [
        (
            f"{name}, {batch} x {size} px",
            way,
            *(f"{1000 * timing.least / times:.1f}", f"{timing.least_ratio:.2f}"),
            *(f"{1000 * timing.seconds / times:.1f}", f"{timing.ratio:.2f}"),
        )
        for way, (timing, times) in timings.items()
    ]


def scoring_way(model: MultiLabelNet, x: Tensor) -> Callable[[], None]:
    """One batch in evaluation mode."""
    model.head.grow(CLASSES)
    model.eval()

    def score() -> None:
        with torch.no_grad():
            model(x)

    return score


def memory_rows(benchmark: MultiLabelBenchmark) -> Memory:
    """A memory that holds the first rows of the stream."""
    memory = Memory(Budget(total=MEMORY), RandomSelection(), (TaskClasses(0, CLASSES),), seed=0)
    rows = np.arange(MEMORY)
    memory.update(0, rows, benchmark.train_rows.targets(rows).numpy())
    return memory


def hand_written(stream: Any, benchmark: Any, model: Any, replay: bool, loader: bool) -> Callable[[], None]:
    """The loop a researcher writes: same network, loss, optimiser, schedule and batches, no callbacks."""
    config = stream.config.training
    model.head.grow(CLASSES)
    model.train()
    dataset = benchmark.train_stream[0].dataset
    store: RowStore = benchmark.train_rows
    memory = memory_rows(benchmark) if replay else None

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        if loader:
            sampler = BatchSampler(RandomSampler(dataset), config.batch_size, drop_last=False)
            for x, y, _ in DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_rows):
                yield x, y
        else:
            rows = dataset.rows()[torch.randperm(len(dataset)).numpy()]
            for start in range(0, len(rows), config.batch_size):
                chosen = rows[start : start + config.batch_size]
                yield store.images(chosen), store.targets(chosen)

    def epoch() -> None:
        optimizer = build_optimizer(config.optimizer, model, first_task=True)
        schedule = build_schedule(config.schedule, optimizer, -(-len(dataset) // config.batch_size))
        for x, y in batches():
            if memory is not None:
                drawn = torch.randperm(MEMORY)[: len(x)].numpy()
                x = torch.cat([x, store.images(memory.rows[drawn])])
                y = torch.cat([y, torch.from_numpy(memory.labels[drawn])])
            optimizer.zero_grad()
            masked_bce(model(x), y).backward()
            optimizer.step()
            schedule.step()

    return epoch


def clsim_way(
    stream: Any, benchmark: Any, model: Any, replay: bool, teacher: Any = None, more: Gradient | None = None
) -> Callable[[], None]:
    """The template as a run uses it, with its loss metrics; with a teacher, AKD's; with MORE's two paths."""
    plugins: list[Any] = []
    if replay:
        plugins = [_SameMemory(memory_rows(benchmark), benchmark.train_rows, "paired", "negative", "distil")]
    if teacher is not None:
        teacher.head.grow(CLASSES)
        snapshot = Snapshot(lambda: teacher)  # no plugin of the template, so that it stays the same round after round
        snapshot.model = teacher.eval().requires_grad_(False)
        plugins += [OldClassesOfNewRows("distil"), Distillation(decayed_distillation, 1.0, snapshot)]
    if more is not None:
        plugins.append(
            _SameDecomposition(
                amplitude=0.5,
                factors=Factors(),
                gradient=more,
                kind="exposure",
                kappa=0.0,
                clip=(0.02, 10.0),
                store=benchmark.train_rows,
                n_classes=CLASSES,
                seed=0,
            )
        )
    losses: Any = EpochLosses()
    template = MultiLabelTemplate(
        benchmark=benchmark,
        model=model,
        config=stream.config.training,
        criterion=masked_bce if teacher is None else emphasised_negatives,
        plugins=plugins,
        evaluator=EvaluationPlugin(losses, loggers=[_Quiet()]),
        seed=0,
    )
    return lambda: template.train(benchmark.train_stream[0], eval_streams=[])


class _SameMemory(Replay):
    """Replay whose memory stays as it is, round after round."""

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Store nothing."""


class _SameDecomposition(ModelRebalancing):
    """Decomposes in the warm-up and stays so; each step is one of the middle of a task."""

    def alpha(self, learner: Learner) -> float:
        """A task of one step would have no term at all."""
        return self.amplitude

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Decompose once."""
        if not self.decomposed:
            super().before_training_exp(learner, **kwargs)

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        """Keep the decomposition."""


class _Quiet(BaseLogger):
    """A logger that keeps nothing."""

    def log_metrics(self, metric_values: Any) -> None:
        """Metrics are computed and dropped."""


def stock(stream: Any, benchmark: Any, model: Any, replay: bool) -> Callable[[], None]:
    """Avalanche's own template, loader, replay plugin and buffer on the same stream."""
    config = stream.config.training
    model.head.grow(CLASSES)
    plugins = []
    if replay:
        buffer = ReservoirSamplingBuffer(MEMORY)
        buffer.buffer = benchmark.train_stream[0].dataset.subset(range(MEMORY))
        plugins = [ReplayPlugin(MEMORY, storage_policy=buffer)]
    template: Any = SupervisedTemplate(
        model=_Plain(model),
        optimizer=build_optimizer(config.optimizer, model, first_task=True),
        criterion=masked_bce,
        train_mb_size=config.batch_size,
        plugins=plugins,
        evaluator=EvaluationPlugin(loggers=[_Quiet()]),
    )
    return lambda: template.train(benchmark.train_stream[0], eval_streams=[])


class _Plain(nn.Module):
    """Hides the growing head from Avalanche's model adaptation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits
