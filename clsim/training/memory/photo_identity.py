"""What a replay memory could know if it recognised photographs: a named control, not a method."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin


class PhotoIdentity(Plugin):
    """Fills the unknown labels of memory rows from the knowledge which training rows show the same photograph.

    In an overlap stream a photograph comes back in every task it has a positive for. So when a task begins, a stored
    photograph that came back has the labels it came back with, and one that did not has none of the task's classes;
    when the task's own rows are stored, their older labels are filled likewise from the tasks before. Given labels are
    never overwritten; provenance says after which task an entry was filled, as for relabelled ones.

    Args:
        samples: int64 [R], photograph of each training row.
        tasks: classes of each task.
    """

    def __init__(self, samples: NDArray[np.int64], tasks: tuple[TaskClasses, ...]) -> None:
        super().__init__()
        self.samples = samples
        self.tasks = tasks
        self.known = np.zeros((int(samples.max(initial=-1)) + 1, tasks[-1].stop), dtype=np.float32)

    def before_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Note the labels that the task's rows show; also on resume."""
        rows = learner.experience.dataset.rows()
        columns = self.tasks[learner.experience.current_experience].current
        shown = self._replay(learner).store.targets(rows).numpy()[:, columns]
        self.known[np.ix_(self.samples[rows], columns)] = shown

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        self.memory_updated(learner, self._replay(learner))

    def memory_updated(self, learner: Learner, replay: Replay, **kwargs: Any) -> None:
        """Write what is known of every stored photograph into the classes seen so far."""
        memory, task = replay.memory, learner.experience.current_experience
        seen = np.arange(self.tasks[task].stop)
        known = self.known[np.ix_(self.samples[memory.rows], seen)]
        memory.relabel(np.arange(len(memory)), seen, known, task)

    def _replay(self, learner: Learner) -> Replay:
        replay = learner.find_plugin(Replay)
        assert replay is not None  # a composition with relabelling needs a memory
        return replay

    def state_dict(self) -> dict[str, Any]:
        return {"known": torch.from_numpy(self.known.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.known = state["known"].numpy().copy()
