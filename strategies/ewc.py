"""Elastic weight consolidation, as the example of a stock Avalanche plugin in clsim (Kirkpatrick et al., PNAS 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from clsim.training import strategy
from clsim.training.strategy import Context, Strategy


class EWC(Strategy):
    """Avalanche's EWCPlugin: a quadratic penalty on weights that mattered for earlier tasks.

    DECIDED: the importances are of the scenario's loss on the task's visible labels, in mini-batches of its size, as
    the plugin computes them; the loss sums over classes, so `weight` has another scale than in single-label papers.
    """

    name = "ewc"
    claims: ClassVar[frozenset[str]] = frozenset({"weight_penalty"})

    class Options(strategy.Options):
        weight: float = Field(1.0, ge=0, description="factor of the penalty (lambda)")

    def plugins(self, context: Context) -> list[Any]:
        import torch
        from avalanche.training.plugins import EWCPlugin
        from avalanche.training.utils import ParamData

        class ResumableEWC(EWCPlugin):
            """The stock plugin with a state, so that its run can be resumed, on whatever device the state comes."""

            def before_backward(self, strategy: Any, **kwargs: Any) -> None:
                for tasks in (self.saved_params, self.importances):
                    for entry in (entry for entries in tasks.values() for entry in entries.values()):
                        entry.device, entry.data = strategy.device, entry.data.to(strategy.device)
                super().before_backward(strategy, **kwargs)

            def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
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

        return [ResumableEWC(self.options.weight)]

    def first_task_key(self) -> str | None:
        return ""  # the penalty begins with the second task
