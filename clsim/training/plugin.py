"""The base class of clsim's plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from avalanche.core import SupervisedPlugin
from numpy.typing import NDArray

from clsim.errors import NotResumable, StrategyError, did_you_mean

if TYPE_CHECKING:
    Base = object  # Avalanche names the argument `strategy` and knows not what it is; mypy would hold us to that
    from clsim.models.network import MultiLabelNet
    from clsim.training.learner import Learner
    from clsim.training.memory.replay import Replay
else:
    Base = SupervisedPlugin[Any]


class Plugin(Base):
    """Base of a method's plugins: an Avalanche plugin whose events get a typed `Learner`. Override what you need.

    Events are listed below in the order in which a run calls them. An event that is not overridden is not called. The
    same plugin runs in Avalanche's own strategies, which have the events up to `after_eval`, as long as it uses nothing
    else.

    `state_dict` and `load_state_dict` save what a plugin keeps; without them a run cannot be resumed.

    Raises:
        StrategyError: when a subclass is defined with a method `before_...` or `after_...` that is no event.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in vars(cls):
            if name.startswith(("before_", "after_")) and not any(hasattr(base, name) for base in cls.__bases__):
                events = [event for event in dir(Plugin) if event.startswith(("before_", "after_"))]
                raise StrategyError(f"{cls.__name__}.{name}: there is no such event{did_you_mean(name, events)}")

    # a task begins

    def before_training(self, learner: Learner, **kwargs: Any) -> None:
        """Called before each task."""

    def before_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the task's rows are set; also when a run is resumed inside the task."""

    def after_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Called when `adapted_dataset` is set and may be replaced by a subset; also when a run is resumed."""

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Called when head, loader and optimiser of the task are there."""

    def before_training_epoch(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the first step of an epoch."""

    # a step

    def before_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        """Called with the new rows of a batch; the place for `extend_batch`."""

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        """Called with the whole batch; the place to write into `mb_y` and `distillable`."""

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        """Called when `mb_output` is there, before the criterion."""

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        """Called after the criterion; the place for `add_loss`."""

    def after_backward(self, learner: Learner, **kwargs: Any) -> None:
        """Called when the gradients are there."""

    def before_update(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the optimiser's step; the place to change gradients."""

    def after_update(self, learner: Learner, **kwargs: Any) -> None:
        """Called after the optimiser's step."""

    def after_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        """Called at the end of a step, when `position` has moved on."""

    def batch_stored(self, learner: Learner, replay: Replay, **kwargs: Any) -> None:
        """Called by `replay` in an online stream, after a step, when it has offered the new rows to its memory.

        The rows that the memory has taken are among `learner.loader.new_rows`.
        """

    # a task ends

    def after_training_epoch(self, learner: Learner, **kwargs: Any) -> None:
        """Called after the last step of an epoch."""

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        """Undo what changed the make of the network, before any plugin's `after_training_exp` keeps or uses it.

        The place, too, to write a head in closed form.
        """

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Called when a task is trained; the place to keep a teacher or to store rows."""

    def memory_updated(self, learner: Learner, replay: Replay, **kwargs: Any) -> None:
        """Called by `replay` when it has stored the rows of a task; the place to change the labels of its memory.

        Once per task, in an online stream too.
        """

    def after_training(self, learner: Learner, **kwargs: Any) -> None:
        """Called after each task, after `after_training_exp` of all plugins."""

    # scoring

    def before_eval(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the evaluation images are scored."""

    def before_eval_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the evaluation rows are set."""

    def after_eval_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Called when the evaluation rows are set."""

    def before_eval_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the first batch of evaluation images."""

    def before_eval_iteration(self, learner: Learner, **kwargs: Any) -> None:
        """Called with a batch of evaluation images, all of whose labels are -1."""

    def before_eval_forward(self, learner: Learner, **kwargs: Any) -> None:
        """Called before the network scores the batch."""

    def after_eval_forward(self, learner: Learner, **kwargs: Any) -> None:
        """Called when `mb_output` is there; the place to replace it by other scores."""

    def after_eval_iteration(self, learner: Learner, **kwargs: Any) -> None:
        """Called at the end of a batch of evaluation images."""

    def after_eval_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Called after the last batch of evaluation images."""

    def after_eval(self, learner: Learner, **kwargs: Any) -> None:
        """Called when the evaluation images are scored."""

    # reports and checkpoints

    @property
    def nbytes(self) -> int:
        """Return the bytes of what is kept of earlier tasks' images: rows, logits or statistics.

        Override it if you keep any. They count as the run's memory, and against `memory.budget: {bytes: n}`. Weights,
        teachers and what belongs to classes alone, such as thresholds, do not count.
        """
        return 0

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        """Return numbers of the task just trained by their tag; they are logged with the metrics of the task."""
        return {}

    def written_labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
        """Return labels that the plugin has written itself: row ids, columns and values in 0..1, [n] each.

        Override it if a plugin fills unknown labels elsewhere than in a replay memory, which is looked at anyway. After
        each task the process that scores compares them with the truth, and logs how good they are as
        `written/<plugin>_entries`, `_precision`, `_FPR` and `_FNR`. Nothing comes back.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what the plugin keeps between two steps: tensors, numbers, texts, and dicts and lists of these.

        A plugin that keeps nothing returns {}.

        Raises:
            NotResumable: not overridden. Such a run cannot be resumed.
        """
        raise NotResumable(f"not resumable: plugin {type(self).__name__} has no state_dict")

    def rebuild_model(self, model: MultiLabelNet, state: dict[str, Any]) -> None:
        """Change the make of a resumed run's network before its weights are loaded. `state` is of `state_dict`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`.

        Raises:
            NotResumable: not overridden, although there is a state.
        """
        if state:
            raise NotResumable(f"not resumable: plugin {type(self).__name__} has no load_state_dict")
