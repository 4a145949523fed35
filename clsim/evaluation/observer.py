"""The base class of clsim's metrics, which see everything of a run, the truth included, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from clsim.training.template import MultiLabelTemplate


class Observer:
    """A metric for Avalanche's `EvaluationPlugin`, which calls the events that a subclass has.

    An event gets the template alone and returns a list of `MetricValue`, or None. A metric that keeps something between
    two steps has `state_dict` and `load_state_dict`.
    """

    def result(self) -> float | None:
        """Return the one number of this metric, or None."""
        return None

    def reset(self) -> None:
        """Keep everything: Avalanche's evaluator resets all metrics at once, and their numbers belong to a run."""


def scores_evaluation_stream(template: MultiLabelTemplate) -> bool:
    """Return whether the images being scored are those of `evaluation_stream`."""
    experience = cast(Any, template.experience)  # of which methods know no stream
    return bool(experience.origin_stream.name == "evaluation")
