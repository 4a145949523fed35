"""mAP for Avalanche's own strategies on the streams of `scenario.benchmark()`."""

from __future__ import annotations

from typing import Any

import numpy as np
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import MetricValue
from avalanche.training.plugins import EvaluationPlugin
from numpy.typing import NDArray

from clsim.errors import RunError
from clsim.evaluation.metrics import average_precision, mean_ap
from clsim.training.stock import refuse_unusable
from clsim.vocabulary import UNKNOWN


class MultiLabelMetrics(EvaluationPlugin):
    """An evaluator for Avalanche's own strategies: mAP, in percent, of each experience and of the stream.

        evaluator = clsim.MultiLabelMetrics(loggers=[TextLogger()])
        strategy = Naive(model=model, optimizer=optimizer, criterion=masked_bce, evaluator=evaluator)
        strategy.train(benchmark.train_stream[0])
        print(strategy.eval(benchmark.test_stream)["mAP_Stream/eval_phase/test_stream"])

    `mAP_Exp/eval_phase/test_stream/Exp<k>` is the mean over the classes of experience k, those seen up to it, on its
    images: clsim's `mAP` after task k, of the same scores. `mAP_Stream/eval_phase/test_stream` takes each image of all
    experiences that are evaluated once, with every label known in one of them. An output that is not there yet, of a
    model that grows, is left out.

    Args:
        metrics: further metrics of Avalanche. Its accuracy needs one class per sample and has no meaning here.
        loggers: Avalanche's loggers.
        options: what Avalanche's `EvaluationPlugin` takes.

    Raises:
        RunError: while training, a plugin that cannot work on multi-label streams; while evaluating, images without
            labels, as those of `evaluation_stream`, or data that is not of clsim's benchmark.
    """

    def __init__(self, *metrics: Any, loggers: Any = None, **options: Any) -> None:
        super().__init__(_MeanAveragePrecision(), *metrics, loggers=loggers, **options)


class _MeanAveragePrecision(PluginMetric[float]):
    """The metric of `MultiLabelMetrics`."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def __str__(self) -> str:
        return "mAP"

    def reset(self) -> None:
        self._batches: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._passes: list[tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]] = []

    def result(self) -> float:
        """Return the mAP of what has been scored since the pass began, in percent; NaN for nothing."""
        if not self._passes:
            return float("nan")
        rows, scores, targets = (np.concatenate(parts) for parts in zip(*self._passes, strict=True))
        _, first, image = np.unique(rows, return_index=True, return_inverse=True)
        known = np.full((len(first), targets.shape[1]), UNKNOWN, targets.dtype)
        np.maximum.at(known, image, targets)
        return _map(scores[first], known)

    def before_training(self, strategy: Any) -> None:
        refuse_unusable(strategy.plugins)

    def before_eval(self, strategy: Any) -> None:
        self.reset()

    def before_eval_exp(self, strategy: Any) -> None:
        stream, dataset = strategy.experience.origin_stream.name, strategy.experience.dataset
        if stream == "evaluation":
            raise RunError("MultiLabelMetrics: evaluation_stream shows no labels; evaluate benchmark.test_stream")
        if not hasattr(dataset, "rows"):
            raise RunError(f"MultiLabelMetrics: stream {stream!r} is not of scenario.benchmark(): it has no row ids")
        self._batches = []

    def after_eval_iteration(self, strategy: Any) -> None:
        scores, targets = strategy.mb_output.float().cpu().numpy(), strategy.mb_y.cpu().numpy()
        self._batches.append((scores, targets[:, : scores.shape[1]]))

    def after_eval_exp(self, strategy: Any) -> list[MetricValue]:
        if not self._batches:
            return []
        scores, targets = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        experience = strategy.experience
        self._passes.append((experience.dataset.rows(), scores, targets))
        name = f"mAP_Exp/eval_phase/{experience.origin_stream.name}_stream/Exp{experience.current_experience:03}"
        return [MetricValue(self, name, _map(scores, targets), strategy.clock.train_iterations)]

    def after_eval(self, strategy: Any) -> list[MetricValue]:
        stream = strategy.current_eval_stream
        names = sorted({experience.origin_stream.name for experience in stream})
        name = f"mAP_Stream/eval_phase/{'+'.join(names)}_stream"
        return [MetricValue(self, name, self.result(), strategy.clock.train_iterations)]


def _map(scores: NDArray[Any], targets: NDArray[Any]) -> float:
    return mean_ap(average_precision(scores, targets))
