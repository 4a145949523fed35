"""One run in several processes, its ranks, each of which trains on its part of every batch.

There is no wrapper around the network. Every rank makes the same batches and takes a contiguous part of each one. Once
the gradients are there, one all-reduce makes them those of the whole batch, so that all ranks take the same step from
the same weights. Parameters may come and go between two steps, and a step may have any number of forward passes.

What is computed of many images without gradient (scores, features) is dealt out batch by batch and gathered in order,
so that all ranks hold the same result. All else is computed by every rank alike. Rank 0 writes, all ranks read.

It is exact for any loss that is a mean over rows: rank r computes the gradient of (its rows) * (its loss), and the sum
over the ranks is divided by the rows of all.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.torchrun import this_process

START = timedelta(minutes=2)
"""Until when all ranks must have come: an attempt that hangs here never ends by itself."""
WAIT = timedelta(hours=2)
"""For a rank that is alive. DECIDED: long, because rank 0 may decode a data set or write pictures meanwhile; that a
rank has ended is known at once."""

SLOTS = 32
"""Loss terms of a step, at most: a fixed number, so that what is summed lies where it lay before a run was resumed."""
ROWS, STOP, END, NEWS, FIRST_TERM = range(5)
"""Columns of what each rank says of itself with the gradients of a step."""


class RankLost(RunError):
    """Another rank has ended, or has not come."""


@dataclass(frozen=True)
class Part:
    """The rows [start, stop) of this rank among the `whole` rows that all ranks have together."""

    start: int
    stop: int
    whole: int

    @classmethod
    def all_of(cls, n: int) -> Part:
        """All of n rows."""
        return cls(0, n, n)

    @property
    def rows(self) -> slice:
        """The part as an index."""
        return slice(self.start, self.stop)

    @property
    def undivided(self) -> bool:
        """Whether it is all there is."""
        return self.stop - self.start == self.whole


class Ranks:
    """The ranks of a run, as one of them sees them; `Ranks()` is a run in one process, for which nothing changes.

    Attributes:
        rank: of this process.
        count: of all.
        asks_to_stop: returns whether this process has been asked to stop.
        requested: all ranks have agreed to stop at this step, because one was asked to.
        divided: each rank has only a part of the current batch.
        ending: this rank's plugins ask for the end of the task's training.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count
        self.asks_to_stop: Callable[[], bool] = bool
        self.requested = False
        self.divided = False
        self.ending = False
        self._terms: list[str] = []

    @property
    def alone(self) -> bool:
        """Whether the run has one process only."""
        return self.count == 1

    @property
    def seed_path(self) -> tuple[int, ...]:
        """What distinguishes this rank's random numbers from another's, as a path of `derive_seed`."""
        return () if self.alone else (self.rank,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Ranks:
        """Stay the same: modules of a copied network belong to the same ranks."""
        return self

    # what this rank takes

    def part(self, n: int) -> Part:
        """Return this rank's part of a batch of n rows.

        DECIDED: of fewer than two rows per rank every rank takes all, so that no rank has none, and no batch norm one.
        """
        return Part.all_of(n) if self.alone or n < 2 * self.count else self.split(n)

    def split(self, n: int) -> Part:
        """Return this rank's part of n rows that belong to a divided batch; it may be empty."""
        return Part(self.rank * n // self.count, (self.rank + 1) * n // self.count, n)

    def starts(self, n: int, size: int) -> range:
        """Return where the batches of `size` out of n rows start that this rank computes; the ranks take turns."""
        return range(self.rank * size, n, self.count * size)

    # a step

    def backward(
        self,
        loss: Tensor,
        parameters: Iterable[nn.Parameter],
        rows: int,
        terms: dict[str, Tensor],
        retain_graph: bool = False,
    ) -> tuple[int, dict[str, Tensor]]:
        """Add the gradient of the whole batch's loss to `grad` of the parameters; alike on all ranks.

        A parameter without gradient on every rank keeps None. Whether to stop is agreed on with it.

        Args:
            loss: mean over this rank's rows, scalar.
            parameters: that are trained, in the same order on all ranks.
            rows: of this rank.
            terms: the terms of its loss, scalars; not all ranks need to have each.

        Returns:
            The rows of the whole batch, and its loss terms.

        Raises:
            RankLost: another rank has ended.
            RunError: too many terms.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        earlier = [parameter.grad for parameter in trained]
        for parameter in trained:
            parameter.grad = None
        (loss * rows).backward(retain_graph=retain_graph)
        own = loss.new_zeros(self.count, FIRST_TERM + 2 * SLOTS)  # the terms, and which of them there are
        known = [name for name in self._terms if name in terms]
        own[self.rank, :FIRST_TERM] = own.new_tensor([rows, self.asks_to_stop(), self.ending, len(known) < len(terms)])
        for name in known:
            place = FIRST_TERM + self._terms.index(name)
            own[self.rank, [place, place + SLOTS]] = torch.stack([terms[name].reshape(()), own.new_tensor(1.0)])
        there = own.new_tensor([parameter.grad is not None for parameter in trained])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([part.reshape(-1).to(own) for part in (own, there, *gradients)])
        self._sum(flat)
        own, found, *gradients = _pieces(flat, [own, there, *gradients])
        total = own[:, ROWS].sum()
        for parameter, gradient, some, before in zip(trained, gradients, found.tolist(), earlier, strict=True):
            if some:
                mean = torch.empty_like(parameter).copy_(gradient / total)  # strides as the fused optimisers want them
                parameter.grad = mean if before is None else before + mean
            else:
                parameter.grad = before
        if own[:, NEWS].any():
            own = self._with_new_terms(own, terms)
        said = own.sum(dim=0).tolist()
        self.requested = self.requested or bool(said[STOP])
        self.ending = bool(said[END])  # which the caller takes
        weighted = own[:, FIRST_TERM:].double() * own[:, ROWS].double()[:, None]
        values = (weighted.sum(dim=0) / total.double()).to(loss.dtype)
        present = said[FIRST_TERM + SLOTS :]
        return int(said[ROWS]), {
            name: values[place].reshape_as(terms[name]) if name in terms else values[place]
            for place, name in enumerate(self._terms)
            if present[place]
        }

    def _with_new_terms(self, own: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Agree on the names of loss terms, and return the table of the step with those of all ranks."""
        said: list[Any] = [None] * self.count
        with others_needed():
            dist.all_gather_object(said, {name: float(value) for name, value in terms.items()})
        self._terms = sorted({name for each in said for name in each} | set(self._terms))
        if len(self._terms) > SLOTS:
            raise RunError(f"a run on several ranks has at most {SLOTS} loss terms, given {', '.join(self._terms)}")
        empty = [0.0] * (SLOTS - len(self._terms))
        values = [[each.get(name, 0.0) for name in self._terms] + empty for each in said]
        there = [[float(name in each) for name in self._terms] + empty for each in said]
        return torch.cat([own[:, :FIRST_TERM], own.new_tensor(values), own.new_tensor(there)], dim=1)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the ranks, alike on all of them."""
        if self.alone:
            return value
        summed = value.clone()
        self._sum(summed)
        return summed

    def _sum(self, value: Tensor) -> None:
        with others_needed():
            dist.all_reduce(value)

    # dealt out and gathered

    def gathered(self, parts: Sequence[NDArray[np.float32]], n: int, size: int) -> NDArray[np.float32]:
        """Return the results of all batches in order, float32 [n, width], from those that this rank computed.

        Args:
            parts: float32 [rows of the batch, width] of each of `starts(n, size)`.
        """
        if not n:
            return np.empty((0, 0), dtype=np.float32)
        if self.alone:
            return np.concatenate(parts)
        width = torch.tensor(parts[0].shape[1] if self.rank == 0 else 0)  # rank 0 has the first batch
        self._sum(width)
        whole = torch.zeros(n, int(width))
        for start, part in zip(self.starts(n, size), parts, strict=True):
            whole[start : start + len(part)] = torch.from_numpy(part)
        self._sum(whole)
        return whole.numpy()

    # agreement

    def share(self, said: Any = None) -> Any:
        """Return what rank 0 says, anything that can be pickled; the others wait for it."""
        if self.alone:
            return said
        content = [said]
        with others_needed():
            dist.broadcast_object_list(content)
        return content[0]

    def agree(self) -> None:
        """Wait for all ranks, and stop if one was asked to; between two tasks, where no step says it."""
        if not self.alone:
            self.requested = self.requested or bool(self.sum(torch.tensor(int(self.asks_to_stop()))))

    def refuse_divergence(self, model: nn.Module, at: str, suspects: Sequence[str]) -> None:
        """See that all ranks have the same weights and statistics, to the last bit.

        Args:
            at: where the run stands, for the message.
            suspects: plugins that clsim does not know.

        Raises:
            RunError: they differ. The message names the first that does.
        """
        if self.alone:
            return
        state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
        sums = torch.stack([_bits(value) for value in state.values()])
        extremes = torch.cat([sums, -sums])
        with others_needed():
            dist.all_reduce(extremes, dist.ReduceOp.MAX)
        most, least = extremes[: len(sums)], -extremes[len(sums) :]
        if differing := [name for name, same in zip(state, (most == least).tolist(), strict=True) if not same]:
            cause = f"; {' or '.join(suspects)} may decide or draw by the rows of its rank" if suspects else ""
            raise RunError(f"the ranks have different values of {differing[0]} {at}; training stopped{cause}")


def start_ranks(device: str) -> Ranks:
    """Meet the other processes that torchrun has started, unless that is done.

    Args:
        device: of this process, cpu or cuda:N.

    Returns:
        The ranks of a run here.

    Raises:
        RankLost: not all came.
    """
    process = this_process()
    if process.count == 1:
        return Ranks()
    if not dist.is_initialized():
        import avalanche.training  # noqa: F401  first: it makes a logger, which it refuses where ranks are known

        on_gpu = device.startswith("cuda")
        if on_gpu:
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=START)
            dist.all_reduce(torch.zeros(1))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise RankLost(f"not all of {process.count} ranks came within {START.seconds} s: {reason}") from error
        _set_timeout(WAIT)
        atexit.register(_end)
    return Ranks(process.rank, process.count)


def _set_timeout(timeout: timedelta) -> None:
    if hasattr(dist, "set_timeout"):
        dist.set_timeout(timeout)
    else:  # torch before 2.10
        dist.distributed_c10d._set_pg_timeout(timeout, dist.group.WORLD)


_lost = False


def _end() -> None:
    if dist.is_initialized() and not _lost:  # after a loss it may wait for what will never come
        dist.destroy_process_group()


@contextmanager
def others_needed() -> Iterator[None]:
    """Turn the error of a call that needs all ranks into one line."""
    global _lost
    try:
        yield
    except RuntimeError as error:
        _lost = True
        raise RankLost(
            "another rank has ended; what it said tells why. The run goes on from its last checkpoint when it is "
            "launched again with clsim resume"
        ) from error


def _pieces(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of a flat tensor in the shapes of `like`."""
    return [part.view(shape.shape) for part, shape in zip(flat.split([x.numel() for x in like]), like, strict=True)]


def _bits(value: Tensor) -> Tensor:
    """Return the sum of the bits of a tensor, read as integers, int64."""
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[value.element_size()]
    return value.contiguous().reshape(-1).view(kind).sum(dtype=torch.int64)
