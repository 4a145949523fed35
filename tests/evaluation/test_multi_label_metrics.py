"""MultiLabelMetrics in Avalanche's own template: equal to clsim's mAP of the same scores, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.logging import BaseLogger
from avalanche.training.templates import SupervisedTemplate
from torch.utils.data import TensorDataset

import clsim
from clsim.errors import RunError
from clsim.evaluation.history import History
from clsim.evaluation.metrics import average_precision, mean_ap
from clsim.scenario import Scenario, load_scenario
from clsim.training.losses.binary import masked_bce


def template(outputs: int = 10) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, outputs))
    return SupervisedTemplate(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        criterion=lambda out, y: masked_bce(out, y[:, : out.shape[1]]),
        train_mb_size=16,
        eval_mb_size=7,
        evaluator=clsim.MultiLabelMetrics(loggers=[BaseLogger()]),
    )


def scores_of(scenario: Scenario, strategy: Any) -> np.ndarray:
    dataset = scenario.benchmark().evaluation_stream[0].dataset
    with torch.no_grad():
        return strategy.model.eval()(dataset.__getitems__(range(len(dataset))).batch[0]).numpy()


@pytest.mark.parametrize("scope", ["seen", "all"])
def test_map_of_an_experience_is_that_of_clsim(tiny_overrides: dict[str, Any], scope: str) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | {"evaluation.images": scope})
    plan, strategy, benchmark = scenario.plan(), template(), scenario.benchmark()
    strategy.train(benchmark.train_stream[0])
    found = strategy.eval(benchmark.test_stream)
    scores, history = scores_of(scenario, strategy), History(plan)
    for k, task in enumerate(plan.tasks):
        history.add(scores[:, : task.classes[1]], k)
        name = f"mAP_Exp/eval_phase/test_stream/Exp{k:03}"
        assert found[name] == pytest.approx(float(history.seen_map[k]), abs=1e-6)


def test_map_of_the_stream_takes_each_image_once(tiny: Scenario) -> None:
    plan, strategy, benchmark = tiny.plan(), template(), tiny.benchmark()
    name = "mAP_Stream/eval_phase/test_stream"
    whole = mean_ap(average_precision(scores_of(tiny, strategy), plan.test_truth))
    assert strategy.eval(benchmark.test_stream)[name] == pytest.approx(whole, abs=1e-6)
    assert strategy.eval(benchmark.test_stream[::-1])[name] == pytest.approx(whole, abs=1e-6)
    first = strategy.eval(benchmark.test_stream[0])
    assert first[name] == first["mAP_Exp/eval_phase/test_stream/Exp000"]
    assert first[name] != pytest.approx(whole, abs=1e-3)


def test_outputs_that_are_not_there_are_left_out(tiny: Scenario) -> None:
    strategy = template(outputs=4)
    found = strategy.eval(tiny.benchmark().test_stream)
    assert found["mAP_Exp/eval_phase/test_stream/Exp000"] > 0
    truth, scores = tiny.plan().test_truth[:, :4], scores_of(tiny, strategy)
    assert found["mAP_Stream/eval_phase/test_stream"] == pytest.approx(mean_ap(average_precision(scores, truth)))


def test_the_evaluation_stream_is_refused(tiny: Scenario) -> None:
    with pytest.raises(RunError, match=r"^MultiLabelMetrics: evaluation_stream shows no labels; .*test_stream$"):
        template().eval(tiny.benchmark().evaluation_stream)


def test_data_that_has_no_row_ids_is_refused() -> None:
    data = AvalancheDataset([TensorDataset(torch.zeros(2, 3, 28, 28), torch.ones(2, 10), torch.zeros(2))])
    foreign = benchmark_from_datasets(test=[data])
    with pytest.raises(RunError, match=r"^MultiLabelMetrics: stream 'test' is not of scenario\.benchmark\(\)"):
        template().eval(foreign.streams["test"])
