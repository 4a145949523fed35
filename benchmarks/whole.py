"""The same whole job three times: by clsim, in plain PyTorch with torchmetrics, and in stock Avalanche.

Experience replay on a class-incremental stream of digit scenes: five tasks of two classes, the same rows, visible
labels, network, loss, optimiser, schedule, batch size, epochs and size of memory. After each task the whole test set is
scored; mAP over seen classes, the tasks' matrix, and precision and recall at two thresholds are computed and written as
TensorBoard curves. The peers are what a careful author writes: images normalised once and kept in memory, one pass over
the test set per task. clsim does what a run does by default, pictures, checkpoints and its trained model with it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = ("clsim", "plain", "avalanche")
NAMES = {"clsim": "clsim", "plain": "plain PyTorch, torchmetrics", "avalanche": "stock Avalanche, torchmetrics"}
SCENARIO = "digits-b0c2"
THRESHOLDS = (0.5, 0.8)
HEADINGS = ("way", "CPU s, median", "of all rounds", "ratio to clsim")
ROUNDS = 3


def settings(train: int = 400, test: int = 300, epochs: int = 3) -> dict[str, Any]:
    """Return the overrides of the scenario."""
    return {"dataset.train": train, "dataset.test": test, "training.epochs": epochs, "threads": 1}


def measure(rounds: int = ROUNDS, **size: int) -> list[tuple[str, ...]]:
    """Return rows of HEADINGS: CPU seconds of whole processes, imports with them; the ways in turn, round by round."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            seconds[way].append(_seconds(way, settings(**size)))
    first = seconds[WAYS[0]]
    return [
        (
            *(NAMES[way], f"{statistics.median(times):.1f}", ", ".join(f"{time:.1f}" for time in times)),
            f"{statistics.median(time / one for time, one in zip(times, first, strict=True)):.2f}",
        )
        for way, times in seconds.items()
    ]


def _seconds(way: str, overrides: dict[str, Any]) -> float:
    """Return the CPU seconds of one process that does the job."""
    sets = [text for key, value in overrides.items() for text in ("--set", f"{key}={value}")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        if way == "clsim":
            command = ["clsim", "run", SCENARIO, "--strategy", "er", "--device", "cpu", "--out", out, *sets]
        else:
            command = ["benchmarks.whole", way, out, *(f"{key}={value}" for key, value in overrides.items())]
        threads = {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True, env=os.environ | threads)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


class Job:
    """What both peers share: data, network, loss, optimiser and what is measured after a task.

    Args:
        out: folder of the curves.
        overrides: of the scenario.
    """

    def __init__(self, out: Path, overrides: list[str]) -> None:
        import torch
        from torch.utils.data import TensorDataset
        from torch.utils.tensorboard import SummaryWriter

        from clsim.models.build import build_model
        from clsim.scenario import load_scenario
        from clsim.training.losses.binary import masked_bce

        torch.set_num_threads(1)
        torch.manual_seed(0)
        stream = load_scenario(SCENARIO, [*overrides, "training.model.channels_last=false"])
        plan, self.config = stream.plan(), stream.config.training
        size = self.config.model.image_size
        self.classes, self.criterion = plan.n_classes, masked_bce
        self.seen = [task.classes for task in plan.tasks]
        budget: Any = stream.config.memory.budget
        self.memory = budget.per_class * plan.n_classes
        self.network = build_model(self.config.model, seed=0)
        self.network.head.grow(self.classes)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.config.model.mean, self.config.model.std))

        def tensors(images: Any) -> Any:
            return (torch.from_numpy(images).float() / 255 - mean) / std

        train = tensors(stream.source.images("train", size))
        self.tasks = []
        for task in plan.tasks:
            targets = torch.full((len(task), self.classes), -1.0)
            targets[:, task.columns] = torch.from_numpy(task.values).float()
            self.tasks.append(TensorDataset(train[task.samples], targets))
        truth = torch.from_numpy(plan.test_truth).long()
        self.test = TensorDataset(tensors(stream.source.images("test", size))[plan.test_samples], truth)
        self.writer = SummaryWriter(str(out))

    def optimizer(self, task: int, rows: int) -> tuple[Any, Any]:
        """Return the optimiser and schedule of a task of so many rows."""
        from clsim.training.optimization import build_optimizer, build_schedule

        optimizer = build_optimizer(self.config.optimizer, self.network, first_task=task == 0)
        steps = self.config.epochs * -(-rows // self.config.batch_size)
        return optimizer, build_schedule(self.config.schedule, optimizer, steps)

    def metrics(self, task: int) -> dict[str, Any]:
        """Return the metrics over the seen classes after a task, each to be updated with probabilities and truth."""
        from torchmetrics.classification import MultilabelAveragePrecision, MultilabelPrecision, MultilabelRecall

        seen = self.seen[task][1]
        found: dict[str, Any] = {"AP": MultilabelAveragePrecision(seen, average="none")}
        for threshold in THRESHOLDS:
            found[f"precision@{threshold}"] = MultilabelPrecision(seen, threshold=threshold)
            found[f"recall@{threshold}"] = MultilabelRecall(seen, threshold=threshold)
        return found

    def write(self, task: int, metrics: dict[str, Any]) -> None:
        """Write the curves after a task."""
        AP = metrics["AP"].compute()
        self.writer.add_scalar("mAP", AP.nanmean(), task)
        for earlier, columns in enumerate(self.seen[: task + 1]):
            self.writer.add_scalar(f"mAP/task{earlier}", AP[slice(*columns)].nanmean(), task)
        for name, metric in metrics.items():
            if name != "AP":
                self.writer.add_scalar(name, metric.compute(), task)


def plain(job: Job) -> None:
    """Do the job as a loop."""
    import torch
    from torch.utils.data import ConcatDataset, DataLoader, Subset

    stored: list[Any] = []
    for task, dataset in enumerate(job.tasks):
        joined: Any = ConcatDataset([dataset, *stored])
        optimizer, schedule = job.optimizer(task, len(joined))
        job.network.train()
        for _ in range(job.config.epochs):
            for x, y in DataLoader(joined, job.config.batch_size, shuffle=True):
                optimizer.zero_grad()
                loss = job.criterion(job.network(x), y)
                loss.backward()
                optimizer.step()
                schedule.step()
            job.writer.add_scalar("loss", loss.item(), task)
        share = job.memory // job.classes * (job.seen[task][1] - job.seen[task][0])
        stored.append(Subset(dataset, torch.randperm(len(dataset))[:share].tolist()))
        metrics, seen = job.metrics(task), job.seen[task][1]
        job.network.eval()
        with torch.inference_mode():
            for x, y in DataLoader(job.test, 128):
                probabilities = job.network(x)[:, :seen].sigmoid()
                for metric in metrics.values():
                    metric.update(probabilities, y[:, :seen])
        job.write(task, metrics)


def avalanche(job: Job) -> None:
    """Do the job by Avalanche's template, replay plugin and reservoir buffer.

    A quarter of each batch is replayed, about the memory's share of all rows: by default the plugin adds as many
    replayed rows to a batch as there are new ones, which would be another job, of twice the work.
    """
    import torch
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
    from avalanche.evaluation.metrics import loss_metrics
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SupervisedPlugin
    from avalanche.training.storage_policy import ReservoirSamplingBuffer
    from avalanche.training.templates import SupervisedTemplate

    class Whole(SupervisedPlugin):
        """Metrics over the test set after each task."""

        def before_eval(self, strategy: Any, **kwargs: Any) -> None:
            self.found = job.metrics(strategy.clock.train_exp_counter - 1)

        def after_eval_iteration(self, strategy: Any, **kwargs: Any) -> None:
            seen = job.seen[strategy.clock.train_exp_counter - 1][1]
            for metric in self.found.values():
                metric.update(strategy.mb_output[:, :seen].sigmoid(), strategy.mb_y[:, :seen].long())

        def after_eval(self, strategy: Any, **kwargs: Any) -> None:
            job.write(strategy.clock.train_exp_counter - 1, self.found)

    class Optimizer(SupervisedPlugin):
        """A fresh optimiser and schedule per task."""

        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            rows = len(strategy.dataloader) * job.config.batch_size
            strategy.optimizer, self.schedule = job.optimizer(strategy.clock.train_exp_counter, rows)

        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            self.schedule.step()

    def experience(dataset: Any) -> Any:
        labels = DataAttribute(list(range(len(dataset))), "targets")
        tasks = DataAttribute([0] * len(dataset), "targets_task_labels", use_in_getitem=True)
        return AvalancheDataset([dataset], data_attributes=[labels, tasks])

    class Plain(torch.nn.Module):
        """Hides the growing head from Avalanche's model adaptation."""

        def __init__(self) -> None:
            super().__init__()
            self.network = job.network

        def forward(self, x: Any) -> Any:
            return self.network(x)

    benchmark: Any = benchmark_from_datasets(
        train=[experience(dataset) for dataset in job.tasks], test=[experience(job.test)]
    )
    replayed, buffer = job.config.batch_size // 4, ReservoirSamplingBuffer(job.memory)
    replay = ReplayPlugin(job.memory, job.config.batch_size - replayed, replayed, storage_policy=buffer)
    template: Any = SupervisedTemplate(
        model=Plain(),
        optimizer=job.optimizer(0, len(job.tasks[0]))[0],
        criterion=job.criterion,
        train_mb_size=job.config.batch_size,
        train_epochs=job.config.epochs,
        eval_mb_size=128,
        plugins=[replay, Optimizer(), Whole()],
        evaluator=EvaluationPlugin(loss_metrics(epoch=True), loggers=[]),
    )
    for one in benchmark.train_stream:
        template.train(one, eval_streams=[])
        template.eval(benchmark.test_stream)


if __name__ == "__main__":
    way, out, *overrides = sys.argv[1:]
    {"plain": plain, "avalanche": avalanche}[way](Job(Path(out), overrides))
