"""A backbone with a multi-label head that grows with the classes seen."""

from __future__ import annotations

from torch import Tensor, nn

from clsim.models.head import Head


class MultiLabelNet(nn.Module):
    """Backbone, perhaps a feature transform, and growing head: images float [B, 3, H, W] -> logits float [B, S].

    A strategy may replace each of the three in its `network`.

    Args:
        backbone: images -> features float [B, d].
        head: what the head reads, float [B, h] -> logits of the S classes seen so far.
        hidden: feature transform, features -> what the head reads, such as the scenario's hidden layer; None: the
            features themselves.
        frozen_statistics: batch norm of the backbone always uses its stored statistics and never updates them.
        n_features: width d of the backbone's features; None: that of what the head reads.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        hidden: nn.Module | None = None,
        frozen_statistics: bool = False,
        n_features: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.hidden = nn.Identity() if hidden is None else hidden
        self.head: Head = head
        self.frozen_statistics = frozen_statistics
        self.n_features = head.n_features if n_features is None else n_features

    @property
    def n_classes(self) -> int:
        """Number of outputs S."""
        return self.head.n_classes

    @property
    def growth(self) -> list[int]:
        """Numbers of classes the head has grown to; `grow(*growth)` gives a fresh network the same shapes."""
        return list(self.head.growth)

    def grow(self, *n_classes: int) -> None:
        """Let the head grow to each of the numbers of classes in turn."""
        for number in n_classes:
            self.head.grow(number)

    @property
    def trunk(self) -> nn.Module:
        """All but the head: images -> what the head reads, float [B, h]."""
        return nn.Sequential(self.backbone, self.hidden)

    def train(self, mode: bool = True) -> MultiLabelNet:
        super().train(mode)
        if self.frozen_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.backbone(x)))
