"""What stands in the place of a backbone whose features were computed before training."""

from __future__ import annotations

import hashlib

from torch import Tensor, nn

from clsim.models.maps import MapPlace


class StandIn(nn.Identity):
    """Hands features through as a backbone would give them, and keeps which backbone that was.

    Attributes:
        weights_sha256: see the function of that name.
        place: of the maps that stand in for images, whose features it gives; None: the features themselves do.
    """

    def __init__(self, weights_sha256: str, place: MapPlace | None = None) -> None:
        super().__init__()
        self.weights_sha256 = weights_sha256
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        return x if self.place is None else self.place.features(x)


def weights_sha256(network: nn.Module) -> str:
    """Return the SHA-256 of all weights and statistics of a network: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.cpu().numpy().tobytes())  # in logical order, whatever the memory layout
    return digest.hexdigest()


class GivenFeatures(nn.Identity):
    """In the place of a backbone where the data are features: passes them on, float32 [B, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
