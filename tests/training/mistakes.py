"""Deliberate mistakes of an author. mypy must report each line that is marked with its error code, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from clsim import kit
from clsim.kit import Learner, Plugin, Replay, RowStore


class Right(Plugin):
    """What a method may do."""

    def __init__(self, store: RowStore) -> None:
        super().__init__()
        self.store = store
        self.teacher: Tensor | None = None

    def before_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        if learner.rows is not None:
            learner.extend_batch(learner.mb_x, learner.mb_y, learner.rows)

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        learner.mb_y[learner.replayed] = 0.0
        learner.distillable &= ~learner.replayed

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        old = learner.experience.classes_in_this_experience[0]
        learner.add_loss("old", learner.mb_output[:, :old].square().sum() / learner.steps_per_epoch)

    def after_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        learner.adapted_dataset = learner.adapted_dataset.subset([0, 1])

    def after_eval_forward(self, learner: Learner, **kwargs: Any) -> None:
        learner.mb_output = learner.logits(learner.model, learner.mb_x)

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        replay = learner.find_plugin(Replay)
        rows = np.zeros(0, dtype=np.int64) if replay is None else replay.memory.rows
        learner.probabilities(learner.model.trunk, learner.store, rows)

    def state_dict(self) -> dict[str, Any]:
        return {}


class Wrong(Right):
    """Names that are not there, and types that do not fit."""

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        learner.probabilitiez(learner.model, self.store, self.store)  # wrong: attr-defined
        learner.modul.eval()  # wrong: attr-defined
        self.stoer_.targets(learner.rows)  # wrong: attr-defined
        self.store.truth(learner.rows)  # wrong: attr-defined
        len(learner.rows)  # wrong: arg-type
        learner.position.stepp  # wrong: attr-defined # noqa: B018
        learner.config.epoch  # wrong: attr-defined # noqa: B018
        learner.experience.classes_seen  # wrong: attr-defined # noqa: B018
        learner.add_loss("term")  # wrong: call-arg
        learner.add_loss("term", 1.0)  # wrong: arg-type
        learner.scored(learner.model, self.store, learner.rows)  # wrong: arg-type
        learner.extend_batch(learner.mb_x, learner.mb_y)  # wrong: call-arg
        learner.seed = 1  # wrong: misc
        learner.teacher = self.teacher  # wrong: attr-defined
        self.teacher.sum()  # wrong: union-attr

    def before_backward(self, batch: Learner, **kwargs: Any) -> None:  # wrong: override
        """Another name than `learner`."""

    def after_training_exp(self) -> None:  # wrong: override
        """No learner."""

    def report(self, class_names: Any) -> list[float]:  # wrong: override
        return []


class Curious(Plugin):
    """Ways to the truth, all of which Avalanche's template offers."""

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        learner.benchmark.evaluation_stream  # wrong: attr-defined # noqa: B018
        learner.benchmark.test_stream[0].dataset  # wrong: attr-defined # noqa: B018
        learner.evaluator.metrics  # wrong: attr-defined # noqa: B018
        learner.plugins[-1]  # wrong: attr-defined
        learner.scenario.truth()  # wrong: attr-defined
        learner.current_eval_stream  # wrong: attr-defined # noqa: B018
        learner.experience.origin_stream.benchmark  # wrong: attr-defined # noqa: B018
        learner.experience.benchmark  # wrong: attr-defined # noqa: B018
        learner.learn([], [])  # wrong: attr-defined
        learner.eval([])  # wrong: attr-defined


class Part(kit.Strategy):
    """Mistakes of a strategy."""

    class Options(kit.Options):
        gamma: float = 1.0

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        kit.Distilation  # wrong: attr-defined # noqa: B018
        context.truth  # wrong: attr-defined # noqa: B018
        self.options.gama  # wrong: attr-defined # noqa: B018
        return [Right(context.rows), context.rows]  # wrong: list-item
