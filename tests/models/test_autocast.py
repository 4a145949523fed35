"""Networks that compute in their own precision."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from clsim.models.autocast import without_autocast


def test_an_autocast_around_it_is_off_inside_and_on_after_it() -> None:
    x = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        with without_autocast("cpu"):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
    assert (x @ x).dtype == torch.float32


def test_where_none_is_on_nothing_is_made() -> None:
    assert isinstance(without_autocast("cpu"), nullcontext)
    assert isinstance(without_autocast("meta"), nullcontext), "a kind of device that has no autocast"
