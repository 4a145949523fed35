"""Which rows of a task an epoch shows, and how often each: re-sampling for unequal classes.

Every rule gives as many draws as there are rows, so that an epoch costs the same whatever the rule. Rows whose visible
labels have no positive stand for one more class: left out, they could not teach what absent looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import RunError
from clsim.part_kinds import KINDS
from clsim.parts import made
from clsim.randomness import permutation, uniforms
from clsim.scenario.training_schema import SamplerSection, name_and_options

Rows = NDArray[np.int64]
Membership = NDArray[np.bool_]


def membership(targets: NDArray[np.float32]) -> Membership:
    """Which row stands for which class, bool [n, K], from visible labels [n, C]: 1 present, anything else not.

    One column for each class with a positive, and a last one for rows without any, if there are such.
    """
    present = targets == 1
    none = ~present.any(axis=1)
    columns = [present[:, present.any(axis=0)]]
    return np.concatenate([*columns, none[:, None]], axis=1) if none.any() else columns[0]


def class_aware(member: Membership, seed: int, *position: int) -> Rows:
    """Class-aware sampling (Shen et al., ECCV 2016): classes take turns, each showing its next row, int64 [n].

    The classes stand in random order, and anew after every round; a class goes through its rows in random order, and
    anew when they are used up. So every class is drawn equally often, up to one; a row of several classes comes more
    often than that (Wu et al., ECCV 2020, section 3.1).

    Args:
        member: bool [n, K].
        seed: of the run.
        position: task and epoch.
    """
    n, classes = member.shape
    queues = [_endless(np.flatnonzero(member[:, k]), seed, k, *position) for k in range(classes)]
    turns = _endless(np.arange(classes), seed, classes, *position)
    return np.array([next(queues[next(turns)]) for _ in range(n)], dtype=np.int64)


def _endless(items: Rows, seed: int, *purpose: int) -> Iterator[int]:
    """The items in random order, again and again in another one."""
    for turn in count():
        yield from items[permutation(len(items), seed, "class-aware", turn, *purpose)].tolist()


def inverse_frequency(member: Membership, seed: int, *position: int) -> Rows:
    """Rows drawn with probability proportional to 1 / frequency of their rarest class, with repeats, int64 [n].

    DECIDED: the rarest class decides, as in repeat factor sampling (Gupta et al., CVPR 2019); with the sum over the
    classes of a row it would be class-aware sampling once more.

    Args:
        member: bool [n, K].
        seed: of the run.
        position: task and epoch.
    """
    weight = np.where(member, 1 / np.maximum(member.sum(axis=0), 1), 0.0).max(axis=1)
    reach = np.cumsum(weight)
    draws = uniforms(len(member), seed, "inverse-frequency", *position) * reach[-1]
    return np.minimum(np.searchsorted(reach, draws, side="right"), len(member) - 1).astype(np.int64)


def each_once(member: Membership, seed: int, *position: int) -> Rows:
    """Every row once, int64 [n]; in the order of the task, which the loader shuffles together with a memory's rows."""
    return np.arange(len(member))


def make_sampler(choice: str | SamplerSection) -> Callable[..., Rows] | None:
    """Return the function that `training.sampler` names; None: every row once, for which no labels are needed.

    Raises:
        PartError: no such sampler or options.
    """
    name, options = name_and_options(choice)
    if name == "shuffled":
        return None
    sampler: Callable[..., Rows] = made("sampler", name, options, "training.sampler")
    return sampler if name in KINDS["sampler"].shipped else _Checked(name, sampler)


class _Checked:
    """A user's sampler, whose draws must be positions of the task's rows.

    Args:
        name: for messages.
        sampler: (member bool [n, K], seed, task, epoch) -> positions int64 [n].
    """

    def __init__(self, name: str, sampler: Callable[..., Any]) -> None:
        self.name = name
        self.sampler = sampler

    def __call__(self, member: Membership, seed: int, *position: int) -> Rows:
        drawn = np.asarray(self.sampler(member, seed, *position))
        n = len(member)
        if drawn.shape != (n,) or drawn.dtype.kind not in "iu":
            what = f"{drawn.dtype} {list(drawn.shape)}"
        elif drawn.min(initial=0) < 0 or drawn.max(initial=0) >= n:
            what = f"positions from {drawn.min()} to {drawn.max()}"
        else:
            return drawn.astype(np.int64)
        raise RunError(f"training.sampler: {self.name} gives {what}, expected {n} whole numbers, 0 to {n - 1}")
