"""A backbone beside a copy that does not learn."""

from __future__ import annotations

import torch
from torch import nn

from clsim.models.anchored_backbone import AnchoredBackbone

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def _backbone() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_the_anchor_stays_where_it_was_dropped() -> None:
    backbone = AnchoredBackbone(_backbone())
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.5)

    def learn() -> None:
        assert backbone.train()(IMAGES).shape == (4, 5)
        backbone(IMAGES).square().sum().backward()
        optimizer.step()

    learn()
    backbone.drop_anchor()
    dropped = backbone.eval()(IMAGES)
    assert torch.equal(dropped[:, :5], dropped[:, 5:])
    learn()
    moved = backbone.eval()(IMAGES)
    assert torch.equal(moved[:, 5:], dropped[:, 5:])
    assert not torch.equal(moved[:, :5], dropped[:, :5])


def test_only_the_live_one_has_parameters_to_train() -> None:
    backbone = AnchoredBackbone(_backbone())
    trained = {name.partition(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"live"}
