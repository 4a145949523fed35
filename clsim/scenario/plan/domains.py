"""Domain-incremental streams: the same classes in every task, under new conditions; a task per value of a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clsim.errors import Unplannable, did_you_mean
from clsim.scenario.stream_schema import DomainsSection

_KEY = ("stream", "domains")
_MOST_SHOWN = 10


class Domains(NamedTuple):
    """The domains of a stream, a task each.

    Attributes:
        names: in the order of the tasks.
        of_image: int64 [N], task of each training image; -1: in none.
    """

    names: tuple[str, ...]
    of_image: NDArray[np.int64]


def domains_of(rule: DomainsSection, values: Sequence[str]) -> Domains:
    """Return the domains that a rule chooses and orders.

    DECIDED: sorted are names as numbers, if all are whole numbers, else as text. Images of a domain that a list does
    not name are in no task.

    Args:
        values: domain of each training image.

    Raises:
        Unplannable: a listed domain is unknown or listed twice, or there is only one.
    """
    known = Counter(values)
    if isinstance(rule.order, str):
        names = sorted(known, key=int) if all(map(_is_whole, known)) else sorted(known)
    else:
        names = rule.order
        for name, count in Counter(names).items():
            if name not in known:
                shown = ", ".join(sorted(known)[:_MOST_SHOWN])
                text = (
                    f"unknown domain {name!r}{did_you_mean(name, sorted(known))}; column {rule.column!r} has: {shown}"
                )
                raise Unplannable((*_KEY, "order"), text)
            if count > 1:
                raise Unplannable((*_KEY, "order"), f"domain {name!r} is listed more than once")
    if len(names) < 2:
        raise Unplannable(
            _KEY, f"column {rule.column!r}: {', '.join(names) or 'no'} domain alone; allowed: two or more"
        )
    task = {name: index for index, name in enumerate(names)}
    return Domains(tuple(names), np.array([task.get(value, -1) for value in values], dtype=np.int64))


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and name.isascii()
