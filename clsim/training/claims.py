"""What the parts of a composition claim, leave to each other and need, and which cannot be combined."""

from __future__ import annotations

from collections.abc import Sequence

from clsim.errors import StrategyError
from clsim.training.strategy import Strategy


def name_of(kind: type[Strategy]) -> str:
    """Return the name that a class, and its options, go by."""
    return kind.name or kind.__name__.lower()


def claims_of(kind: type[Strategy]) -> frozenset[str]:
    """Return what a class decides; whoever overrides `network` claims it."""
    return kind.claims | ({"network"} if kind.network is not Strategy.network else set())


def _left(kind: type[Strategy], classes: Sequence[type[Strategy]]) -> set[str]:
    """The claims that a part leaves to others of a composition."""
    others = {claim for other in classes if other is not kind for claim in claims_of(other)}
    return {claim for claim, taker in kind.leaves.items() if taker in others}


def refuse_conflicts(spec: str, classes: Sequence[type[Strategy]]) -> None:
    """See that parts can be combined.

    Args:
        spec: what the user asked for, for messages.

    Raises:
        StrategyError: a part is named twice, two decide the same, one lacks what it needs, or one goes only alone.
    """
    names = [name_of(kind) for kind in classes]
    if len(set(names)) < len(names):
        raise StrategyError(f"{spec}: a part is named twice")
    for claim in sorted({claim for kind in classes for claim in claims_of(kind)}):
        claimants = [name_of(kind) for kind in classes if claim in claims_of(kind) - _left(kind, classes)]
        if len(claimants) > 1:
            raise StrategyError(f"{spec}: {' and '.join(claimants)} both decide the {claim} and cannot be combined")
    for kind in classes:
        for need in sorted(kind.needs - {claim for other in classes for claim in claims_of(other)}):
            such = ", such as lwf" if need == "distillation" else ", such as er" if need == "memory" else ""
            raise StrategyError(f"{spec}: {name_of(kind)} needs a part that brings the {need}{such}")
    if len(classes) > 1 and any(kind.restarts for kind in classes):
        whole = next(name_of(kind) for kind in classes if kind.restarts)
        raise StrategyError(f"{spec}: {whole} retrains from scratch at every task and cannot be combined")
