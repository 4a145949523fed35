"""From the scores of one evaluation pass to every number that is reported."""

from clsim.evaluation.metrics import average_precision

__all__ = ["average_precision"]
