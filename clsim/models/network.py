"""A backbone with a multi-label head that grows with the classes seen."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from clsim.models.head import Head
from clsim.models.maps import MapPlace, Maps, NoMap, find_map
from clsim.models.stand_in import GivenFeatures, StandIn


class MultiLabelNet(nn.Module):
    """Backbone, optional feature transform and growing head: images float [B, 3, H, W] -> logits float [B, S].

    A strategy may replace each of the three in its `network`.

    Args:
        backbone: images -> features float [B, d].
        head: what the head reads, float [B, h] -> logits of the S classes seen so far.
        hidden: feature transform, features -> what the head reads, such as the scenario's hidden layer; None: the
            features themselves.
        frozen_statistics: batch norm of the backbone always uses its stored statistics and never updates them.
        n_features: width d of the backbone's features; None: that of what the head reads.
        image_size: side of its images in pixels, at which the backbone is asked for its map; None: it is not asked.
        class_names: of the stream's classes, or of the first ones, for a head that makes use of names.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        hidden: nn.Module | None = None,
        frozen_statistics: bool = False,
        n_features: int | None = None,
        image_size: int | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.hidden = nn.Identity() if hidden is None else hidden
        self.head: Head = head
        self.frozen_statistics = frozen_statistics
        self.n_features = head.n_features if n_features is None else n_features
        self.image_size = image_size
        self.class_names = tuple(class_names)
        self._place: MapPlace | None = None

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
        """All but the head: images -> what the head reads, features float [B, h] or maps."""
        return Maps(self.backbone, self.map_place) if self.head.reads == "maps" else self.pooled

    @property
    def pooled(self) -> nn.Module:
        """Backbone and feature transform: images -> one vector each, float [B, h], whatever the head reads."""
        return nn.Sequential(self.backbone, self.hidden)

    @property
    def map_place(self) -> MapPlace:
        """Where the backbone has its map; its `shape` is (d, h, w), or (N, d) of a transformer's patch tokens.

        Raises:
            NoMap: the backbone has none, or pooled features stand in its place.
        """
        if self._place is None:
            self._place = self._found_place()
        return self._place

    def _found_place(self) -> MapPlace:
        if isinstance(self.backbone, GivenFeatures):
            raise NoMap("the data are features, which have no map")
        if isinstance(self.backbone, StandIn):
            if self.backbone.place is None:
                raise NoMap("training.model.cache_features: true keeps no maps; allowed: maps, or false")
            return self.backbone.place
        if self.image_size is None:
            raise NoMap("a network of unknown image_size cannot be asked for its map")
        return find_map(self.backbone, self.image_size)

    def look_again(self) -> None:
        """Find the map anew, because the backbone has been changed."""
        self._place = None

    def train(self, mode: bool = True) -> MultiLabelNet:
        super().train(mode)
        if self.frozen_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.head.reads == "maps":
            return self.head(self.map_place.map(self.backbone, x))
        return self.head(self.hidden(self.backbone(x)))
