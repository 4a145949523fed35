"""Elastic weight consolidation, as the example of a stock Avalanche plugin in clsim (Kirkpatrick et al., PNAS 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from clsim import kit


class EWC(kit.Strategy):
    """Avalanche's EWCPlugin: a quadratic penalty on weights that mattered for earlier tasks.

    DECIDED: the importances are of the scenario's loss on the task's visible labels, in mini-batches of its size, as
    the plugin computes them; the loss sums over classes, so `weight` has another scale than in single-label papers.
    """

    name = "ewc"
    claims: ClassVar[frozenset[str]] = frozenset({"weights"})
    family = "regularisation"
    year = 2017
    stores = "a copy and an importance of each weight, per task"
    cost = "a pass with gradients over the rows of a task after it; a penalty per step and earlier task"
    bib = """@article{kirkpatrick2017overcoming,
  author = {Kirkpatrick, James and others},
  title = {Overcoming catastrophic forgetting in neural networks},
  journal = {Proceedings of the National Academy of Sciences},
  year = {2017},
}"""

    class Options(kit.Options):
        weight: float = Field(1.0, ge=0, description="factor of the penalty (lambda)")

    options: Options

    def plugins(self, context: kit.Context) -> list[Any]:
        import torch
        from avalanche.training.plugins import EWCPlugin
        from avalanche.training.utils import ParamData

        from clsim.training.quadratic_penalty import plus_penalty

        class ResumableEWC(EWCPlugin):
            """The stock plugin with a state, so that its run can be resumed, and with its penalty in few operations."""

            def before_backward(self, strategy: Any, **kwargs: Any) -> None:
                parameters = dict(strategy.model.named_parameters())
                for tasks in (self.saved_params, self.importances):
                    for entries in tasks.values():
                        for key, entry in entries.items():
                            entries[key] = fitted(entry, parameters.get(key, entry.data))
                total = torch.zeros((), device=strategy.device)
                for task in range(strategy.clock.train_exp_counter):
                    saved, importances = self.saved_params[task], self.importances[task]
                    known = [key for key in parameters if key in saved]
                    total = plus_penalty(
                        total,
                        [parameters[key] for key in known],
                        [saved[key].data for key in known],
                        [importances[key].data for key in known],
                    )
                if strategy.clock.train_exp_counter:
                    strategy.loss += self.ewc_lambda * total

            def after_training_exp(self, strategy: kit.Learner, **kwargs: Any) -> None:
                with torch.random.fork_rng(devices=[]):  # its data loader draws a seed it has no use for
                    super().after_training_exp(strategy, **kwargs)

            def state_dict(self) -> dict[str, Any]:
                return {
                    name: {
                        task: {key: entry.data.clone() for key, entry in entries.items()}
                        for task, entries in getattr(self, name).items()
                    }
                    for name in ("saved_params", "importances")
                }

            def load_state_dict(self, state: dict[str, Any]) -> None:
                for name, tasks in state.items():
                    getattr(self, name).clear()
                    for task, entries in tasks.items():
                        getattr(self, name)[task] = {
                            key: ParamData(key, init_tensor=value, device=value.device)
                            for key, value in entries.items()
                        }

        def fitted(entry: ParamData, like: torch.Tensor) -> ParamData:
            """The entry with its parameter's shape and device, 0 for new classes; Avalanche's own growth warns."""
            if entry.data.shape == like.shape and entry.data.device == like.device:
                return entry
            grown = torch.zeros_like(like, requires_grad=False)
            grown[tuple(slice(n) for n in entry.data.shape)] = entry.data.to(like.device)
            return ParamData(entry.name, init_tensor=grown, device=like.device)

        return [ResumableEWC(self.options.weight)]

    def first_task_key(self) -> str | None:
        return ""  # the penalty begins with the second task
