"""The training template: Avalanche's SupervisedTemplate whose loop over tasks, epochs and steps we own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from avalanche.benchmarks import CLStream
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.utils import trigger_plugins
from torch import Tensor

from clsim.errors import RunError
from clsim.models.network import MultiLabelNet
from clsim.scenario.stream.benchmark import MultiLabelBenchmark
from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.scenario.training_schema import TrainingSection
from clsim.training import on_ranks, state
from clsim.training.batches import EpochLoader, EvaluationLoader
from clsim.training.events import STEP_EVENTS, callbacks
from clsim.training.image_count import ScoreEvery
from clsim.training.learner import Experience, Kind, Learner, Position
from clsim.training.optimization import build_optimizer, build_schedule
from clsim.training.precision import laid_out
from clsim.training.ranks import Ranks
from clsim.training.seeding import seed_generators
from clsim.training.step import StepTemplate


class FirstTask(Protocol):
    """Where runs that train the same first task share it."""

    def take(self, template: MultiLabelTemplate) -> bool:
        """Call `take_task` with the state that another run has left, and log its epochs; False if there is none."""
        ...

    def give(self, template: MultiLabelTemplate) -> None:
        """Leave `task_state` for other runs."""
        ...


class MultiLabelTemplate(StepTemplate):
    """Trains a growing multi-label network through a stream.

    To clsim's plugins it is a `Learner`, and `Plugin` lists the events it calls. Stock Avalanche plugins get the events
    and attributes of Avalanche's template. One that replaces `dataloader` makes a run that cannot be resumed.

    Attributes:
        at_cut: called with the template wherever the run can be cut and its `state_dict` taken: after each step, and
            once a task is trained and scored. None: no checkpoints.
        first_task: where the trained first task is shared with other runs, or None.

    Args:
        benchmark: the streams, for whoever holds the template.
        model: network with a growing head.
        config: the scenario's training section.
        criterion: function of (logits float [B, S], targets float [B, C]) -> scalar.
        plugins: Avalanche plugins of the strategy.
        evaluator: metrics and loggers.
        seed: the run's seed; every random number of training derives from it.
        device: where to train.
        restarts: makes a fresh model for every task (`joint`), or None.
        score_every: when the evaluation stream is scored, besides after each task.
        ranks: the processes of the run; None: this one alone.
        online: whether each row of a task comes once; a row that has not come is then closed.
    """

    experience: Experience
    adapted_dataset: MultiLabelDataset

    def __init__(
        self,
        *,
        benchmark: MultiLabelBenchmark,
        model: MultiLabelNet,
        config: TrainingSection,
        criterion: Callable[[Tensor, Tensor], Tensor],
        plugins: Sequence[Any],
        evaluator: EvaluationPlugin,
        seed: int,
        device: str = "cpu",
        restarts: Callable[[], MultiLabelNet] | None = None,
        score_every: ScoreEvery = "task",
        ranks: Ranks | None = None,
        online: bool = False,
    ) -> None:
        super().__init__(
            config=config,
            seed=seed,
            ranks=ranks or Ranks(),
            model=model,
            optimizer=build_optimizer(config.optimizer, model, first_task=True),
            criterion=criterion,
            train_mb_size=config.batch_size,
            train_epochs=config.epochs,
            eval_mb_size=4 * config.batch_size,
            device=device,
            plugins=list(plugins),
            evaluator=evaluator,
            eval_every=-1,
        )
        self.benchmark = benchmark
        self.restarts = restarts
        self.score_every = score_every
        self.online = online
        self._distributed_check = not self.ranks.alone  # Avalanche's would warn of all plugins
        self.at_cut: Callable[[MultiLabelTemplate], None] | None = None
        self.first_task: FirstTask | None = None
        self.learning_rate = 0.0
        self.samples_trained = 0
        self._step_callbacks: dict[str, list[Callable[..., Any]]] = {}
        self.saved_task: dict[str, Any] = {}
        self._stop_training = False

    # the loop over tasks, epochs and steps

    def learn(self, train_stream: Sequence[Any], evaluation_stream: CLStream[Any]) -> None:
        """Train through the stream from `position` on; score the evaluation stream after each task.

        A task without rows (a derived plan may have some) is passed over.
        """
        for experience in train_stream[self.position.task :]:
            if len(experience.dataset):
                self.train(experience, eval_streams=[])
                self.eval(evaluation_stream)
                self._offer_cut()
            else:
                self.position = Position(experience.current_experience + 1)

    def _before_training(self, **kwargs: Any) -> None:
        if not self.position.started:
            super()._before_training(**kwargs)

    def _before_training_exp(self, **kwargs: Any) -> None:
        """Data, model, optimiser and schedule of the task.

        Inside a resumed task the set-up is rebuilt and its state loaded; the before-hooks are not run again.
        """
        resumed = self.position.started
        self.benchmark.begin(self.experience.current_experience)
        if self.online:
            self.store.hold_back(self.experience.dataset.rows())
        if not resumed:
            self.position = Position(self.experience.current_experience)
            self.images.task = 0
            if self.restarts is not None and self.position.task:
                self.model = self.restarts()
            self.model.train()  # within one call of `train`, a plugin may have left it in eval mode
            seed_generators(self.seed, "task", self.position.task, device=self.device)
        self._before_train_dataset_adaptation(**kwargs)
        self.train_dataset_adaptation(**kwargs)
        self._after_train_dataset_adaptation(**kwargs)
        self.make_train_dataloader(**kwargs)
        self.model = self.model_adaptation()
        self._step_callbacks = {event: callbacks(self.plugins, event) for event in STEP_EVENTS}
        self.make_optimizer()
        if resumed:
            state.load_task_state(self)
            return
        trainable = _trainable(self.model)
        self.notify("before_training_exp", **kwargs)
        if _trainable(self.model) != trainable:
            self.make_optimizer()  # a plugin froze, thawed or added parameters
        self.make_schedule()
        self.position.started = True

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        shared = self.first_task if self.position.task == 0 else None
        untrained = self.position.epoch == self.position.step == 0
        if shared is not None and untrained and shared.take(self):
            return
        on_ranks.prepare_task(self)
        if self.online and self.dataloader is not self.loader:
            raise RunError(f"{on_ranks.who_replaced(self)} has replaced the data loader, which stream.online has not")
        self._train_epochs(**kwargs)
        if shared is not None:
            shared.give(self)

    def _train_epochs(self, **kwargs: Any) -> None:
        while self.position.epoch < self.train_epochs:
            if self.position.step == 0:
                self.loss_sums = {}
                self._before_training_epoch(**kwargs)
                on_ranks.begin_epoch(self)
                if self._stop_training:
                    self._stop_training = False
                    break
            self.training_epoch(**kwargs)
            self._after_training_epoch(**kwargs)
            if self.score_every == "epoch":
                self.eval(self.benchmark.evaluation_stream)
            self.position.epoch += 1
            self.position.step = 0

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.store.release()
        seed_generators(self.seed, "task end", self.position.task, device=self.device)
        self.notify("finish_model", **kwargs)
        super()._after_training_exp(**kwargs)
        self.position = Position(self.position.task + 1)

    def training_epoch(self, **kwargs: Any) -> None:
        """The steps of the current epoch, from `position.step` on."""
        self.loader.start(self.position.epoch, self.position.step)
        for batch in self.dataloader:
            if self._stop_training:
                break
            self._begin_step(batch)
            self._at_step("before_training_iteration")

            self.optimizer.zero_grad()
            self._begin_loss()
            self._at_step("before_forward")
            self.mb_output = self.forward()
            self._at_step("after_forward")

            self.add_loss("classification", self.criterion())
            self._at_step("before_backward")
            self.backward()
            self._at_step("after_backward")

            self._sum_losses()
            self._finite.watch(self.position, self._terms)
            self._at_step("before_update")
            self.optimizer_step()
            self._at_step("after_update")
            self.samples_trained += self._step_rows
            self.learning_rate = self.optimizer.param_groups[0]["lr"]
            self.schedule.step()
            self.position.step += 1
            due = self.images.add(self._new_rows, self.score_every, self.online)
            self._at_step("after_training_iteration")
            if due:
                self._score_between_steps()
            self._offer_cut()
        self.refuse_not_finite()
        on_ranks.end_epoch(self)

    def _score_between_steps(self) -> None:
        """Score the evaluation stream; what a plugin sees of the step that is done stays as it is."""
        kept = self.mbatch, self.rows, self.mb_output, self.outputs, self.loss
        self.eval(self.benchmark.evaluation_stream)
        self.mbatch, self.rows, self.mb_output, self.outputs, self.loss = kept

    def stop_training(self) -> None:
        """End the training of the current task after this step.

        With several ranks, one step later if it is called inside of a step: by then all know of it.
        """
        if self.ranks.alone:
            super().stop_training()
        else:
            self.ranks.ending = True

    def eval_epoch(self, **kwargs: Any) -> None:
        """Score the evaluation stream; several ranks take its batches in turn."""
        if self.ranks.alone:
            super().eval_epoch(**kwargs)
        else:
            on_ranks.score(self, **kwargs)

    # what plugins use

    @property
    def store(self) -> RowStore:
        """Images and visible labels of all training rows."""
        return self.benchmark.train_rows

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch of the current task."""
        return len(self.dataloader)

    def find_plugin(self, kind: type[Kind]) -> Kind | None:
        """Return the first plugin of a kind that the run has, or None."""
        plugins: list[Any] = self.plugins
        return next((plugin for plugin in plugins if isinstance(plugin, kind)), None)

    def notify(self, event: str, **kwargs: Any) -> None:
        """Call an event of each plugin that has it, in order."""
        trigger_plugins(self, event, **kwargs)

    # set-up of a task

    def make_train_dataloader(self, *args: Any, **kwargs: Any) -> None:
        task = self.experience.current_experience
        self.loader = EpochLoader(
            self.adapted_dataset, self.train_mb_size, self.seed, task, self.config.sampler, self.ranks
        )
        self.dataloader: Any = self.loader

    def make_eval_dataloader(self, *args: Any, **kwargs: Any) -> None:
        self.dataloader = EvaluationLoader(self.adapted_dataset, self.eval_mb_size, self.ranks)

    def model_adaptation(self, model: Any = None) -> MultiLabelNet:
        """Grow the head to the classes seen so far; evaluation changes nothing."""
        if self.is_training:
            self.model.grow(len(self.experience.classes_seen_so_far))
        return laid_out(self.model, self.config, self.device)

    def make_optimizer(self, *args: Any, **kwargs: Any) -> None:
        """A new optimiser: the one before knows nothing of the rows the head has gained.

        No gradient outlives its task: it would count in `clip_norm` for a parameter that has since been frozen.
        """
        self.model.zero_grad()
        fresh = self.position.task == 0 or self.restarts is not None
        self.optimizer = build_optimizer(self.config.optimizer, self.model, first_task=fresh)

    def make_schedule(self) -> None:
        """Make the learning-rate schedule of the task, at its start."""
        self.schedule = build_schedule(self.config.schedule, self.optimizer, self.train_epochs * self.steps_per_epoch)

    # events

    def _offer_cut(self) -> None:
        if not self.position.started:
            self.ranks.agree()
        if self.at_cut is not None:
            self.at_cut(self)

    def _at_step(self, event: str) -> None:
        for callback in self._step_callbacks[event]:
            callback(self)

    # state and checks, see `clsim.training.state` and `clsim.training.finite`

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes during training, after a step or between two tasks.

        Tensors are those of the live run: save or copy them before it goes on.

        Raises:
            RunError: a plugin has no `state_dict`, or has replaced the data loader, so that the run cannot be resumed.
        """
        return state.state_of(self)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from `state_dict`; the next `learn` goes on with the very next step."""
        state.load_state(self, saved)

    def task_state(self) -> dict[str, Any]:
        """Return what the steps of training change, without what plugins, metrics and loggers have of their own.

        Raises:
            RunError: a plugin has replaced the data loader.
        """
        return state.task_state(self)

    def take_task(self, saved: dict[str, Any]) -> None:
        """Put the `task_state` of another run in the place of this task's steps; the task must be set up."""
        state.load_model(self, saved)
        state.load_task_state(self)

    def stateful(self) -> list[Any]:
        """Return the plugins, metrics and loggers that a state holds, in order.

        Raises:
            RunError: a plugin has no `state_dict`, so that the run cannot be resumed.
        """
        return state.stateful(self)

    def refuse_not_finite(self) -> None:
        """Look at the losses so far and at all weights and statistics.

        Raises:
            RunError: one is not finite. The message names where, and the loss term or the weight.
        """
        self._finite.look_at_all(self.model, self.position)


def _trainable(model: torch.nn.Module) -> list[int]:
    return [id(parameter) for parameter in model.parameters() if parameter.requires_grad]


if TYPE_CHECKING:

    def _as_learner(template: MultiLabelTemplate) -> Learner:
        return template
