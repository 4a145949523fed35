"""The Avalanche benchmark of a plan: what its batches show, hide and identify."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from avalanche.benchmarks import CLScenario, class_incremental_benchmark
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.evaluation.metrics import loss_metrics
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer, ReservoirSamplingBuffer
from avalanche.training.templates import SupervisedTemplate
from torch.utils.data import DataLoader, TensorDataset

from clsim.data.source import ImageSource, Split
from clsim.errors import ClsimError
from clsim.scenario import Scenario, StreamPlan, load_scenario
from clsim.scenario.plan.planning import joint_plan
from clsim.scenario.stream.benchmark import MultiLabelBenchmark
from clsim.scenario.stream.rows import FetchedRows, MultiLabelDataset
from clsim.sealing import Sealed
from clsim.training.losses.binary import masked_bce

KEYS = {"dataset.train": 60, "dataset.test": 20, "stream.increment": 4, "training.model.image_size": 28}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("digits-b0c2", KEYS)


@pytest.fixture(scope="module")
def plan(scenario: Scenario) -> StreamPlan:
    return scenario.plan()


@pytest.fixture(scope="module")
def benchmark(scenario: Scenario) -> MultiLabelBenchmark:
    return scenario.benchmark()


@pytest.fixture
def first(benchmark: MultiLabelBenchmark) -> MultiLabelDataset:
    return benchmark.train_stream[0].dataset


def _rows(dataset: Any) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """x [n, 3, H, W], y [n, C] and row ids of a whole data set, item by item."""
    x, y, _ = zip(*(dataset[i] for i in range(len(dataset))), strict=True)
    return torch.stack(x), torch.stack(y), dataset.rows().tolist()


def _float_images(scenario: Scenario, split: Split, samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(scenario.source.images(split, 28)[samples]).float() / 127.5 - 1


def test_streams_are_avalanches_own(benchmark: MultiLabelBenchmark, plan: StreamPlan) -> None:
    assert isinstance(benchmark, CLScenario)
    assert {name: len(stream) for name, stream in benchmark.streams.items()} == {
        "train": len(plan.tasks),
        "test": len(plan.tasks),
        "evaluation": 1,
    }
    assert isinstance(benchmark.train_stream[0].dataset, AvalancheDataset)
    assert [experience.current_experience for experience in benchmark.train_stream] == [0, 1, 2]


def test_in_a_run_rows_open_with_their_task_and_no_stream_has_labels_of_test_images(
    scenario: Scenario, plan: StreamPlan
) -> None:
    benchmark = scenario.benchmark(plan.without_truth(), for_run=True)
    assert sorted(benchmark.streams) == ["evaluation", "train"]
    with pytest.raises(AttributeError, match=r"^a run has no test_stream"):
        _ = benchmark.test_stream
    store = benchmark.train_rows
    for task in range(len(plan.tasks)):
        for asked in (store.targets, store.memory_targets, store.images):
            with pytest.raises(Sealed, match=rf"row {plan.rows(task)[0]} belongs to a task that has not begun"):
                asked(plan.rows(task)[:1])
        benchmark.begin(task)
        assert (store.targets(plan.rows(task)) >= 0).any()


@pytest.mark.parametrize("own_collate", [True, False], ids=["own collate", "default collate"])
def test_a_batch_is_x_y_task_label(first: MultiLabelDataset, own_collate: bool) -> None:
    collate = first.collate_fn if own_collate else None
    batch = next(iter(DataLoader(first, batch_size=5, collate_fn=collate, num_workers=0)))
    x, y, task_label = batch
    assert (x.dtype, x.shape) == (torch.float32, (5, 3, 28, 28))
    assert (y.dtype, y.shape) == (torch.float32, (5, 10))
    assert (task_label.dtype, task_label.tolist()) == (torch.int64, [0] * 5)


def test_pixels_are_the_sources_in_minus_one_to_one(
    benchmark: MultiLabelBenchmark, scenario: Scenario, plan: StreamPlan
) -> None:
    for experience, task in zip(benchmark.train_stream, plan.tasks, strict=True):
        x, _, _ = _rows(experience.dataset)
        torch.testing.assert_close(x, _float_images(scenario, "train", task.samples))
        assert x.min() >= -1
        assert x.max() <= 1


@pytest.mark.parametrize("visible", ["task", "full"])
def test_training_rows_show_the_visible_labels_and_minus_one_elsewhere(visible: str) -> None:
    scenario = load_scenario("digits-b0c2", {**KEYS, "labels.visible": visible})
    for experience, task in zip(scenario.benchmark().train_stream, scenario.plan().tasks, strict=True):
        _, y, _ = _rows(experience.dataset)
        expected = torch.full((len(task), 10), -1.0)
        columns = slice(*task.classes) if visible == "task" else slice(None)
        expected[:, columns] = torch.from_numpy(scenario.truth()[task.samples, columns]).float()
        assert torch.equal(y, expected)


def test_row_ids_are_unique_over_tasks_and_evaluation(benchmark: MultiLabelBenchmark) -> None:
    experiences = [*benchmark.train_stream, *benchmark.evaluation_stream]
    ids = [row for experience in experiences for row in _rows(experience.dataset)[2]]
    assert ids == list(range(len(ids)))


def test_the_same_photo_has_another_id_in_another_task(benchmark: MultiLabelBenchmark, plan: StreamPlan) -> None:
    photo = np.intersect1d(plan.tasks[0].samples, plan.tasks[1].samples)[0]
    places = [int(np.flatnonzero(task.samples == photo)[0]) for task in plan.tasks[:2]]
    data = [benchmark.train_stream[task].dataset for task in range(2)]
    assert torch.equal(*(dataset[place][0] for dataset, place in zip(data, places, strict=True)))
    assert data[0].rows()[places[0]] != data[1].rows()[places[1]]


def test_the_evaluation_stream_holds_every_test_image_without_labels(
    benchmark: MultiLabelBenchmark, scenario: Scenario, plan: StreamPlan
) -> None:
    x, y, ids = _rows(benchmark.evaluation_stream[0].dataset)
    torch.testing.assert_close(x, _float_images(scenario, "test", plan.test_samples))
    assert torch.equal(y, torch.full((20, 10), -1.0))
    assert ids == plan.test_rows().tolist()


@pytest.mark.parametrize("scope", ["seen", "all"])
def test_the_test_stream_holds_the_images_in_scope_with_true_seen_labels(scope: str) -> None:
    scenario = load_scenario("digits-b0c2", {**KEYS, "evaluation.images": scope})
    plan = scenario.plan()
    for experience, task in zip(scenario.benchmark(plan).test_stream, plan.tasks, strict=True):
        seen = task.classes[1]
        x, y, ids = _rows(experience.dataset)
        inside = np.flatnonzero((plan.test_truth[:, :seen] == 1).any(axis=1)) if scope == "seen" else np.arange(20)
        assert ids == plan.test_rows()[inside].tolist()
        torch.testing.assert_close(x, _float_images(scenario, "test", inside))
        assert torch.equal(y[:, :seen], torch.from_numpy(plan.test_truth[inside, :seen]).float())
        assert (y[:, seen:] == -1).all()


def test_experiences_name_their_classes(benchmark: MultiLabelBenchmark) -> None:
    for stream in (benchmark.train_stream, benchmark.test_stream):
        last = stream[2]
        assert last.classes_in_this_experience == [8, 9]
        assert last.previous_classes == list(range(8))
        assert last.classes_seen_so_far == list(range(10))
        assert stream[0].future_classes == list(range(4, 10))


class _NoLabels:
    """A source that gives images and fails when anybody asks for a truth."""

    def __init__(self, source: ImageSource) -> None:
        self.class_names = source.class_names
        self.images = source.images
        self.fingerprint = source.fingerprint

    def labels(self, split: Split) -> np.ndarray:
        raise AssertionError(f"the benchmark read the true labels of {split!r}; allowed: {get_args(Split)} never")


def test_the_benchmark_is_built_without_reading_a_truth(scenario: Scenario, plan: StreamPlan) -> None:
    benchmark = MultiLabelBenchmark(plan, _NoLabels(scenario.source), 28)
    assert _rows(benchmark.train_stream[0].dataset)[2] == plan.rows(0).tolist()


def test_joint_with_empty_tasks_has_a_benchmark(scenario: Scenario, plan: StreamPlan) -> None:
    benchmark = scenario.benchmark(joint_plan(plan, scenario.truth(), last_only=True))
    assert [len(experience.dataset) for experience in benchmark.train_stream] == [0, 0, 60]


def _same(dataset: Any, positions: Any) -> None:
    """The batched fetch of `positions` equals item by item access, and stays batched."""
    fetched = dataset.__getitems__(positions)
    assert isinstance(fetched, FetchedRows)
    x, y, _ = dataset.collate_fn(fetched)
    items = [dataset[int(position)] for position in positions]
    assert torch.equal(x, torch.stack([item[0] for item in items]))
    assert torch.equal(y, torch.stack([item[1] for item in items]))
    assert torch.equal(dataset.rows_at(np.asarray(positions)), torch.from_numpy(dataset.rows())[positions])


@pytest.mark.parametrize("positions", [[3, 0, 0, 7], np.array([5, 1]), [-1], []], ids=["list", "array", "last", "none"])
def test_a_batched_fetch_equals_item_by_item_access(first: MultiLabelDataset, positions: Any) -> None:
    if len(positions):
        _same(first, positions)
    else:
        assert len(first.__getitems__(positions)) == 0


def test_a_subset_keeps_the_batched_fetch_and_its_rows(first: MultiLabelDataset) -> None:
    part = first.subset([4, 2, 9])
    assert part.rows().tolist() == [4, 2, 9]
    _same(part, [2, 0])
    _same(part.subset([1]), [0])


def test_a_concatenation_keeps_the_batched_fetch_and_its_rows(
    benchmark: MultiLabelBenchmark, first: MultiLabelDataset, plan: StreamPlan
) -> None:
    both = benchmark.train_stream[1].dataset.subset([1, 0]).concat(first)
    assert both.rows().tolist() == [*plan.rows(1)[[1, 0]], *plan.rows(0)]
    _same(both, [0, 2, 1])
    _same(both.subset([2, 0]), [0, 1])


def test_an_empty_part_does_not_end_the_batched_fetch(first: MultiLabelDataset) -> None:
    _same(first.concat(AvalancheDataset([])), [0, 3])
    assert MultiLabelDataset([]).store is None


def test_parts_of_different_stores_fall_back_to_items(benchmark: MultiLabelBenchmark, first: MultiLabelDataset) -> None:
    mixed = first.concat(benchmark.evaluation_stream[0].dataset)
    batch = mixed.__getitems__([0, len(first)])
    assert isinstance(batch, list)
    hidden = benchmark.evaluation_stream[0].dataset
    assert torch.equal(batch[1][0], hidden[0][0])
    assert mixed.rows_at(np.array([0, len(first)])).tolist() == [0, hidden.rows()[0]]


def test_a_foreign_part_falls_back_to_items(first: MultiLabelDataset) -> None:
    x, y, task = torch.zeros(2, 3, 28, 28), torch.ones(2, 10), torch.zeros(2, dtype=torch.int64)
    mixed = first.concat(AvalancheDataset([TensorDataset(x, y, task)]))
    assert mixed.store is None
    assert mixed.rows_at(np.array([0])) is None
    assert torch.equal(mixed[len(first)][1], y[0])


def test_a_transform_reaches_the_batched_fetch(first: MultiLabelDataset) -> None:
    dark = first.replace_current_transform_group(lambda x: x * 0 - 1)
    batch = next(iter(DataLoader(dark, batch_size=4, collate_fn=dark.collate_fn)))
    assert (batch[0] == -1).all()
    assert first.store is not None


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_delivers_every_row_once(first: MultiLabelDataset, workers: int) -> None:
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(
        first, batch_size=7, shuffle=True, generator=generator, num_workers=workers, collate_fn=first.collate_fn
    )
    met = [x.numpy().tobytes() for batch in loader for x in batch[0]]
    images = [first[place][0].numpy().tobytes() for place in range(len(first))]
    assert sorted(met) == sorted(images)
    assert met != images


def test_stock_avalanche_trains_replays_and_evaluates(benchmark: MultiLabelBenchmark) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 10))
    before = model[1].weight.detach().clone()
    strategy = SupervisedTemplate(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        criterion=masked_bce,
        train_mb_size=16,
        train_epochs=1,
        eval_mb_size=16,
        evaluator=EvaluationPlugin(loss_metrics(stream=True)),
        plugins=[ReplayPlugin(mem_size=10, storage_policy=ReservoirSamplingBuffer(10))],
    )
    strategy.train(benchmark.train_stream[0])
    moved = (model[1].weight.detach() - before).abs().sum(dim=1) > 0
    assert moved.tolist() == [True] * 4 + [False] * 6  # hidden columns carry no gradient
    strategy.train(benchmark.train_stream[1])
    (loss,) = strategy.eval(benchmark.test_stream).values()
    assert 0 < loss < 100


@pytest.mark.parametrize("stream", ["train_stream", "test_stream", "evaluation_stream"])
def test_targets_are_refused_in_one_line(benchmark: MultiLabelBenchmark, stream: str) -> None:
    whole = getattr(benchmark, stream)[0].dataset
    for dataset in (whole, whole.subset([1, 0]), whole.concat(whole), whole.train()):
        with pytest.raises(ClsimError, match=r"^\.targets: samples of a multi-label stream have no single class.*"):
            _ = dataset.targets


def test_classes_are_never_read_off_the_labels_of_rows(first: MultiLabelDataset) -> None:
    with pytest.raises(ClsimError, match="have no single class"):
        class_incremental_benchmark({"train": first}, num_experiences=2)
    with pytest.raises(ClsimError, match="have no single class"):
        ClassBalancedBuffer(4).update_from_dataset(first)


def test_the_task_set_is_one_task_of_all_rows(first: MultiLabelDataset) -> None:
    assert list(first.task_set) == [0]
    assert first.task_set[0].rows().tolist() == first.rows().tolist()
