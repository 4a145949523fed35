"""Streams with blurred borders between tasks: i-Blurry and Si-Blurry, for images of several classes.

In i-Blurry (Koh et al., ICLR 2022) a share N of the classes is disjoint, each of one task. The other classes are
blurry: each has a home task, and a share M of its images comes in other tasks. In Si-Blurry (Moon et al., ICCV 2023)
the number of classes of a task is random. Both are of images with one class. DECIDED for several:

- An image comes in exactly one task, that of its rarest class (fewest positives, ties by column), as with
  `disjoint: rarest`. If this class is disjoint, it is the task of the class. If it is blurry, it is the home of the
  class, or with probability M another task, each with equal probability.
- Blurry classes are classes of every task, from the first on, so each task annotates them. A disjoint class is
  annotated in its own task alone, although its rarer companions take some of its images elsewhere.
- Disjoint are the first N of the class order; `order: seed` draws them, as the authors do.

With one class per image this is i-Blurry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clsim.randomness import raw_integers, uniforms
from clsim.scenario.plan.counts import rarest_class
from clsim.scenario.stream_schema import BlurrySection

Ids = NDArray[np.int64]


def n_blurry(rule: BlurrySection, n_classes: int) -> int:
    """Return the number of blurry classes, which are the first columns."""
    return n_classes - round(rule.disjoint * n_classes)


def homes(rule: BlurrySection, n_classes: int, seed: int) -> Ids:
    """Return the home task of each class, int64 [C] in stream order; for a disjoint class its only task.

    Blurry and disjoint classes are dealt out each by themselves, in their order. DECIDED for `sizes: random`: cut into
    runs at points that are drawn with equal probability, so a task may get none.
    """
    blurry = n_blurry(rule, n_classes)
    parts = (("blurry", blurry), ("disjoint", n_classes - blurry))
    return np.concatenate([_dealt(rule, count, seed, kind) for kind, count in parts])


def _dealt(rule: BlurrySection, count: int, seed: int, kind: str) -> Ids:
    """Return the task of each of `count` classes, int64, ascending."""
    if rule.sizes == "even":
        tasks = np.arange(rule.tasks, dtype=np.int64)
        return np.repeat(tasks, count // rule.tasks + (tasks < count % rule.tasks))
    cuts = raw_integers(rule.tasks - 1, seed, "blurry", kind) % np.uint64(count + 1)
    return np.searchsorted(np.sort(cuts.astype(np.int64)), np.arange(count), side="right").astype(np.int64)


def first_tasks(rule: BlurrySection, n_classes: int, seed: int) -> Ids:
    """Return the task that each class appears in first, int64 [C] ascending: a blurry class in task 0."""
    found = homes(rule, n_classes, seed)
    found[: n_blurry(rule, n_classes)] = 0
    return found


def assign_blurry(rule: BlurrySection, truth: NDArray[np.int8], seed: int) -> list[Ids]:
    """Return the training images of each task, int64 [n] ascending; each image with a positive is in one of them.

    Args:
        truth: int8 [N, C] in stream order.
    """
    owner = rarest_class(truth)
    home = homes(rule, truth.shape[1], seed)[owner]
    moved = (owner < n_blurry(rule, truth.shape[1])) & (uniforms(len(truth), seed, "blurred") < rule.blurred)
    steps = 1 + raw_integers(len(truth), seed, "blurred to") % np.uint64(rule.tasks - 1)
    task = np.where(moved, (home + steps.astype(np.int64)) % rule.tasks, home)
    task[owner < 0] = -1
    return [np.flatnonzero(task == index).astype(np.int64) for index in range(rule.tasks)]
