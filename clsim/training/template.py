"""The training template: Avalanche's SupervisedTemplate whose loop over tasks, epochs and steps we own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval
from avalanche.training.utils import trigger_plugins
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError
from clsim.models.network import MultiLabelNet
from clsim.scenario.stream.benchmark import MultiLabelBenchmark
from clsim.scenario.stream.rows import RowStore
from clsim.scenario.training_schema import TrainingSection
from clsim.training.augmentation import Augmentation
from clsim.training.batches import EpochLoader, EvaluationLoader
from clsim.training.events import STEP_EVENTS, callbacks
from clsim.training.optimization import build_optimizer, build_schedule
from clsim.training.precision import forward
from clsim.training.seeding import seed_generators


class FirstTask(Protocol):
    """Where runs that train the same first task share it."""

    def take(self, template: MultiLabelTemplate) -> bool:
        """Call `take_task` with the state that another run has left, and log its epochs; False if there is none."""
        ...

    def give(self, template: MultiLabelTemplate) -> None:
        """Leave `task_state` for other runs."""
        ...


@dataclass
class Position:
    """Where a run stands: `step` steps of `epoch` of `task` are done; `started`: the task's before-hooks have run."""

    task: int = 0
    epoch: int = 0
    step: int = 0
    started: bool = False


LOOK_EVERY = {"cpu": 1}
OTHER_DEVICES = 50
"""Steps between two looks at whether the losses are finite; a look waits for the device, which costs on a GPU."""


class MultiLabelTemplate(SupervisedTemplate):
    """Trains a growing multi-label network through a stream.

    For plugins, beyond Avalanche's own attributes:
        replayed: bool [B], rows of the batch that came from a memory.
        distillable: bool [B], rows whose unknown old classes a teacher may fill.
        position: task, epoch and step being trained.
        loader: the task's `EpochLoader`, also as `dataloader`, which a stock plugin may replace (the run is then not
            resumable).
        add_loss(name, value), extend_batch(x, y, index).

    Two events more than Avalanche's, for plugins that change what the network is made of inside a task:
        finish_model(strategy): after the last epoch, before any plugin's `after_training_exp` keeps or uses the model.
        rebuild_model(model, state): when a run is resumed, before the weights are loaded; `state` is the plugin's own.

    Attributes:
        at_cut: called with the template wherever the run can be cut and its `state_dict` taken: after each step, and
            once a task is trained and scored. None: nobody wants to know.

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
        score_epochs: score the evaluation stream after every epoch too.
    """

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
        score_epochs: bool = False,
    ) -> None:
        super().__init__(
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
        self.config = config
        self.seed = seed
        self.restarts = restarts
        self.score_epochs = score_epochs
        self.augmentation = Augmentation(config, seed, self.device)
        self.position = Position()
        self.at_cut: Callable[[MultiLabelTemplate], None] | None = None
        self.first_task: FirstTask | None = None
        self.loss_sums: dict[str, Tensor] = {}
        self.learning_rate = 0.0
        self.samples_trained = 0
        self._own = 0
        self._step_callbacks: dict[str, list[Callable[..., Any]]] = {}
        self._task_state: dict[str, Any] = {}
        self._terms: dict[str, Tensor] = {}
        self._unseen: list[tuple[int, dict[str, Tensor]]] = []
        self._stop_training = False

    # the loop over tasks, epochs and steps

    def learn(self, train_stream: Sequence[Any], evaluation_stream: Any) -> None:
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
        if not resumed:
            self.position = Position(self.experience.current_experience)
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
            self._load_task_state()
            return
        trainable = _trainable(self.model)
        trigger_plugins(self, "before_training_exp", **kwargs)
        if _trainable(self.model) != trainable:
            self.make_optimizer()  # a plugin froze, thawed or added parameters
        self._make_schedule()
        self.position.started = True

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        shared = self.first_task if self.position.task == 0 else None
        untrained = self.position.epoch == self.position.step == 0
        if shared is not None and untrained and shared.take(self):
            return
        self._train_epochs(**kwargs)
        if shared is not None:
            shared.give(self)

    def _train_epochs(self, **kwargs: Any) -> None:
        while self.position.epoch < self.train_epochs:
            if self.position.step == 0:
                self.loss_sums = {}
                self._before_training_epoch(**kwargs)
                if self._stop_training:
                    self._stop_training = False
                    break
            self.training_epoch(**kwargs)
            self._after_training_epoch(**kwargs)
            if self.score_epochs:
                self.eval(self.benchmark.evaluation_stream)
            self.position.epoch += 1
            self.position.step = 0

    def _after_training_exp(self, **kwargs: Any) -> None:
        seed_generators(self.seed, "task end", self.position.task, device=self.device)
        trigger_plugins(self, "finish_model", **kwargs)
        super()._after_training_exp(**kwargs)
        self.position = Position(self.position.task + 1)

    def training_epoch(self, **kwargs: Any) -> None:
        """The steps of the current epoch, from `position.step` on."""
        self.loader.start(self.position.epoch, self.position.step)
        for batch in self.dataloader:
            if self._stop_training:
                break
            self.mbatch = batch
            seed_generators(self.seed, "step", *_where(self.position), device=self.device)
            self._unpack_minibatch()
            self.mbatch = [self.augmentation(self.mb_x, "new", *_where(self.position)), *self.mbatch[1:]]
            self.replayed = torch.zeros(len(self.mb_x), dtype=torch.bool, device=self.device)
            self.distillable = ~self.replayed
            self._own = len(self.mb_x)
            self._notify("before_training_iteration")

            self.optimizer.zero_grad()
            self.loss = self._make_empty_loss()
            self._terms = {}
            self._notify("before_forward")
            self.mb_output = self.forward()
            self._notify("after_forward")

            self.add_loss("classification", self.criterion())
            self._notify("before_backward")
            self.backward()
            self._notify("after_backward")

            self._sum_loss("total", self.loss)
            self._watch_losses()
            self._notify("before_update")
            self.optimizer_step()
            self._notify("after_update")
            self.samples_trained += len(self.mb_x)
            self.learning_rate = self.optimizer.param_groups[0]["lr"]
            self.schedule.step()
            self.position.step += 1
            self._notify("after_training_iteration")
            self._offer_cut()
        self.refuse_not_finite()

    def forward(self) -> Tensor:
        """Logits of the current batch, float [B, seen classes]."""
        return self.logits(self.model, self.mb_x)

    def logits(self, model: torch.nn.Module, x: Tensor) -> Tensor:
        """What a module says of images [B, 3, H, W], in the scenario's precision; float32 [B, its outputs]."""
        return forward(model, x, self.config)

    def probabilities(self, model: torch.nn.Module, store: RowStore, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of training rows under evaluation mode, float32 [n, classes of the model's head], in 0..1."""
        return torch.from_numpy(self.scored(model, store, rows)).sigmoid().numpy()

    @torch.no_grad()
    def scored(self, model: torch.nn.Module, store: RowStore, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Outputs of a model, or of its backbone, for training rows under evaluation mode, float32 [n, outputs].

        The model's mode and the random generators are left as they were.
        """
        modes = {module: module.training for module in model.modules()}
        model.to(self.device).eval()
        parts = []
        for start in range(0, len(rows), self.eval_mb_size):
            stop = start + self.eval_mb_size
            x = store.images(rows[start:stop]).to(self.device)
            store.prefetch(rows[stop : stop + self.eval_mb_size])
            parts.append(self.logits(model, x).cpu().numpy())
        for module, training in modes.items():
            module.training = training
        return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)

    def optimizer_step(self) -> None:
        """One step, after limiting the norm of all gradients together if the scenario says so."""
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        super().optimizer_step()

    # what plugins use

    def add_loss(self, name: str, value: Tensor) -> None:
        """Add a scalar term to the loss of this step; its epoch mean is logged as `loss/<name>`."""
        self.loss = self.loss + value
        self._sum_loss(name, value)

    def extend_batch(self, x: Tensor, y: Tensor, index: Tensor) -> None:
        """Append replayed rows to the current batch, changed as `training.augmentation` says.

        Args:
            x: images [R, 3, H, W], uint8 as `RowStore.stored` gives them or float32 and normalised; or features [R, d].
            y: float [R, C].
            index: row ids, int64 [R].
        """
        before = len(self.mb_x) - self._own
        x = self.augmentation(x.to(self.device), "replayed", *_where(self.position), before=before)
        new = [x, y, index, torch.zeros(len(x), dtype=torch.long)]
        self.mbatch = [torch.cat([a, b.to(self.device)]) for a, b in zip(self.mbatch, new, strict=True)]
        self.replayed = torch.cat([self.replayed, torch.ones(len(x), dtype=torch.bool, device=self.device)])
        self.distillable = torch.cat([self.distillable, torch.ones(len(x), dtype=torch.bool, device=self.device)])

    def epoch_losses(self) -> dict[str, float]:
        """Mean over the epoch's steps of each loss term, `total` among them."""
        return {name: float(value) / max(1, self.position.step) for name, value in self.loss_sums.items()}

    def _sum_loss(self, name: str, value: Tensor) -> None:
        value = value.detach()
        known = self.loss_sums.get(name)
        self.loss_sums[name] = value.double() if known is None else known + value
        self._terms[name] = value

    # what is not a number

    def _watch_losses(self) -> None:
        """Look at the losses before the step changes a weight; on a GPU only now and then."""
        self._unseen.append((self.position.step, self._terms))
        if len(self._unseen) >= LOOK_EVERY.get(self.device.type, OTHER_DEVICES):
            self._look_at_losses()

    def _look_at_losses(self) -> None:
        """RunError naming the first step since the last look whose loss is not finite, and the term.

        A term that is not finite makes the total so; if only the total is, a plugin has added to it by itself.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen or torch.cat([terms["total"] for _, terms in unseen]).isfinite().all():
            return
        for step, terms in unseen:
            for name, value in terms.items():
                if not value.isfinite().all():
                    at = f"task {self.position.task}, epoch {self.position.epoch}, step {step}"
                    raise RunError(f"loss term {name!r} is {float(value)} in {at}; training stopped")

    def refuse_not_finite(self) -> None:
        """See that the losses so far and all weights and statistics are finite.

        Raises:
            RunError: naming where, and the loss term or the weight.
        """
        self._look_at_losses()
        for name, value in self.model.state_dict().items():
            if not value.isfinite().all():
                task, epoch, step = _where(self.position)
                raise RunError(f"{name} is not finite after task {task}, epoch {epoch}, step {step}; training stopped")

    # set-up of a task

    def make_train_dataloader(self, **kwargs: Any) -> None:
        task = self.experience.current_experience
        self.loader = EpochLoader(self.adapted_dataset, self.train_mb_size, self.seed, task, self.config.sampler)
        self.dataloader: Any = self.loader

    def make_eval_dataloader(self, **kwargs: Any) -> None:
        self.dataloader = EvaluationLoader(self.adapted_dataset, self.eval_mb_size)

    def model_adaptation(self, model: Any = None) -> MultiLabelNet:
        """Grow the head to the classes seen so far; evaluation changes nothing."""
        if self.is_training:
            self.model.head.grow(len(self.experience.classes_seen_so_far))
        adapted: MultiLabelNet = self.model.to(self.device)
        return adapted

    def make_optimizer(self, **kwargs: Any) -> None:
        """A new optimiser: the one before knows nothing of the rows the head has gained.

        No gradient outlives its task: it would count in `clip_norm` for a parameter that has since been frozen.
        """
        self.model.zero_grad()
        fresh = self.position.task == 0 or self.restarts is not None
        self.optimizer = build_optimizer(self.config.optimizer, self.model, first_task=fresh)

    def _make_schedule(self) -> None:
        self.schedule = build_schedule(self.config.schedule, self.optimizer, self.train_epochs * len(self.dataloader))

    # events

    def _offer_cut(self) -> None:
        if self.at_cut is not None:
            self.at_cut(self)

    def _notify(self, event: str) -> None:
        for callback in self._step_callbacks[event]:
            callback(self)

    # state

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training, after a step or between two tasks.

        Tensors are those of the live run: save or copy them before it goes on.

        Raises:
            RunError: a plugin has no `state_dict`, or has replaced the data loader, so that the run cannot be resumed.
        """
        return {"plugins": [plugin.state_dict() for plugin in self.stateful()], **self.task_state()}

    def task_state(self) -> dict[str, Any]:
        """What the steps of training change, without what plugins, metrics and loggers have of their own.

        Raises:
            RunError: a plugin has replaced the data loader.
        """
        state: dict[str, Any] = {
            "position": asdict(self.position),
            "model": self.model.state_dict(),
            "frozen": [name for name, parameter in self.model.named_parameters() if not parameter.requires_grad],
            "clock": dict(vars(self.clock)),
            "samples_trained": self.samples_trained,
        }
        if self.position.started:
            if self.dataloader is not self.loader:
                raise RunError("not resumable: a plugin has replaced the data loader")
            state["task"] = {
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "pool": self.loader.pool,
                "loss_sums": dict(self.loss_sums),
                "learning_rate": self.learning_rate,
                "in_eval_mode": [name for name, module in self.model.named_modules() if not module.training],
                "stopping": self._stop_training,
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; the next `learn` goes on with the very next step."""
        self.model.head.grow(len(state["model"]["head.bias"]))
        owners = list(zip(self.stateful(), state["plugins"], strict=True))
        for owner, saved in owners:
            if hasattr(owner, "rebuild_model"):
                owner.rebuild_model(self.model, saved)
        self._load_trained(state)
        for owner, saved in owners:
            owner.load_state_dict(saved)

    def take_task(self, state: dict[str, Any]) -> None:
        """Put the `task_state` of another run in the place of this task's steps; the task must be set up."""
        self._load_trained(state)
        self._load_task_state()

    def _load_trained(self, state: dict[str, Any]) -> None:
        self.position = Position(**state["position"])
        self.model.load_state_dict(state["model"])
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in state["frozen"])
        self.clock.__dict__.update(state["clock"])
        self.samples_trained = state["samples_trained"]
        self._task_state = state.get("task", {})

    def _load_task_state(self) -> None:
        saved = self._task_state
        self.loader.pool = saved["pool"]
        self._make_schedule()
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.loss_sums = dict(saved["loss_sums"])
        self.learning_rate = saved["learning_rate"]
        for name, module in self.model.named_modules():
            module.training = name not in saved["in_eval_mode"]
        self._stop_training = saved["stopping"]

    def stateful(self) -> list[Any]:
        """The plugins, metrics and loggers that a state holds, in order.

        Raises:
            RunError: a plugin has no `state_dict`, so that the run cannot be resumed.
        """
        owners = [plugin for plugin in self.plugins if not isinstance(plugin, EvaluationPlugin | Clock | PeriodicEval)]
        observers = [*self.evaluator.metrics, *self.evaluator.loggers]
        owners += [observer for observer in observers if hasattr(observer, "state_dict")]
        for owner in owners:
            if not hasattr(owner, "state_dict"):
                raise RunError(f"not resumable: plugin {type(owner).__name__} has no state_dict")
        return owners


def _where(position: Position) -> tuple[int, int, int]:
    return position.task, position.epoch, position.step


def _trainable(model: torch.nn.Module) -> list[int]:
    return [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
