"""Elastic weight consolidation, as the example of a stock Avalanche plugin in clsim (Kirkpatrick et al., PNAS 2017).

Its mode `online` is the penalty of Schwarz et al. ("Progress & Compress", ICML 2018), which papers call oEWC.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from clsim import kit


class EWC(kit.Strategy):
    """Penalise changes of weights that matter for earlier tasks (EWC, by Avalanche's EWCPlugin).

    DECIDED: the importances are of the scenario's loss on the task's visible labels, in mini-batches of its size, as
    the plugin computes them; the loss sums over classes, so `weight` has another scale than in single-label papers.
    Gradients of batch means are squared, so that importances fall with the batch size: search `weight` on a log grid,
    1 to 1e7. (A multi-label study chose 1e6 from 1e2, 1e4, 1e5, 1e6 and 1e7.)
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
    whole_task = "measures importances on"

    class Options(kit.Options):
        weight: float = Field(1.0, ge=0, description="factor of the penalty (lambda)")
        mode: Literal["separate", "online"] = Field(
            "separate",
            description="one penalty per earlier task; online: one in all, around the weights after the last task",
        )
        decay: float = Field(
            1.0, ge=0, le=1, description="what earlier importances keep when a task's are added (gamma), if online"
        )

    options: Options

    def plugins(self, context: kit.Context) -> list[Any]:
        import torch
        from avalanche.training.plugins import EWCPlugin
        from avalanche.training.utils import ParamData

        from clsim.training.quadratic_penalty import grown, plus_penalty

        class ResumableEWC(EWCPlugin):
            """The stock plugin with a state, so that its run can be resumed, and with its penalty in few operations."""

            def before_backward(self, strategy: Any, **kwargs: Any) -> None:
                parameters = dict(strategy.model.named_parameters())
                for tasks in (self.saved_params, self.importances):
                    for entries in tasks.values():
                        for key, entry in entries.items():
                            entries[key] = fitted(entry, parameters.get(key, entry.data))
                total = torch.zeros((), device=strategy.device)
                for task in sorted(self.saved_params):
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
            """The entry with its parameter's shape and device; Avalanche's own growth warns."""
            data = grown(entry.data, like)
            return entry if data is entry.data else ParamData(entry.name, init_tensor=data, device=like.device)

        options = self.options
        online = {"mode": "online", "decay_factor": options.decay} if options.mode == "online" else {}
        return [ResumableEWC(options.weight, **online)]

    def first_task_key(self) -> str | None:
        return ""  # the penalty begins with the second task
