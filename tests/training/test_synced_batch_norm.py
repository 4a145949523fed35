"""Batch norm over ranks: alone in its group it is torch's; other makes are refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.training.ranks import Ranks
from clsim.training.synced_batch_norm import SyncedBatchNorm, synchronise


class Several(Ranks):
    """One process that is treated as one of several."""

    alone = False


@pytest.fixture
def group() -> Iterator[Ranks]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    ranks = Several()
    ranks.divided = True
    yield ranks
    dist.destroy_process_group()


KINDS = [
    (nn.BatchNorm1d(3), (6, 3)),
    (nn.BatchNorm1d(3, affine=False), (6, 3, 4)),
    (nn.BatchNorm2d(3, momentum=None), (6, 3, 4, 5)),
    (nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 1, 2)),
    (nn.BatchNorm3d(3, eps=0.1, momentum=0.3), (2, 3, 2, 2, 2)),
]


@pytest.mark.parametrize(("norm", "shape"), KINDS)
def test_it_is_torch_s(norm: nn.Module, shape: tuple[int, ...], group: Ranks) -> None:
    ours, theirs = nn.Sequential(copy.deepcopy(norm)), nn.Sequential(copy.deepcopy(norm))
    synchronise(ours, group)
    assert isinstance(ours[0], SyncedBatchNorm)
    assert copy.deepcopy(ours)[0].ranks is group
    for seed in range(3):
        x = 5 + torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        outputs = [network(each) for network, each in zip((ours, theirs), inputs, strict=True)]
        for output in outputs:
            (output**3).sum().backward()
        torch.testing.assert_close(*outputs)
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


class Own(nn.BatchNorm2d):
    """A batch norm that does something else."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def test_another_make_is_refused_unless_it_is_frozen() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Own(3))
    with pytest.raises(RunError, match=r"1 is a Own, which cannot be synchronised .*freeze=batch-norm"):
        synchronise(network, Ranks(0, 2))
    synchronise(network.eval(), Ranks(0, 2))
    synchronise(network.train(), Ranks())
