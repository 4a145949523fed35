"""The map that a backbone makes of an image, found in the backbone and taken from it.

A map is a tensor inside a backbone from which it makes its features: float [B, d, h, w] or tokens [B, N, d] whose mean
over all positions is the features [B, d], or a transformer's tokens [B, 1 + N, d] of which the first, the class token,
is. Whether a backbone has one is seen on two images of noise in evaluation mode, so that no backbone needs to declare
it; one of the user's has one if a module of it, such as nn.Identity, gives or takes the tensor.

DECIDED: a map of one position is none, because it says no more than the features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from clsim.errors import RunError

Layout = Literal["grid", "channels last", "tokens", "class token"]

POOLS: dict[Layout, Callable[[Tensor], Tensor]] = {
    "grid": lambda x: x.mean(dim=(2, 3)),
    "channels last": lambda x: x.mean(dim=(1, 2)),
    "tokens": lambda x: x.mean(dim=1),
    "class token": lambda x: x[:, 0],
}
"""Layout of a tensor -> its features."""

LAYOUTS: dict[int, tuple[Layout, ...]] = {4: ("grid", "channels last"), 3: ("tokens", "class token")}
"""Number of dimensions -> layouts."""


class NoMap(RunError):
    """A network without a spatial map."""


@dataclass(frozen=True)
class MapPlace:
    """Where in a backbone the map is.

    Attributes:
        module: name of a module in it; "": itself.
        taken: the map is its first argument, or its result.
        layout: of that tensor.
        stored: shape of the tensor of one image as a cache keeps it: (d, h, w), (N, d), or (1 + N, d) with class token.
    """

    module: str
    taken: Literal["input", "output"]
    layout: Layout
    stored: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the map of one image: (d, h, w), or (N, d) of a transformer's patch tokens."""
        return (self.stored[0] - 1, self.stored[1]) if self.layout == "class token" else self.stored

    @property
    def width(self) -> int:
        """Width d, which is that of the features."""
        return self.stored[0] if len(self.stored) == 3 else self.stored[1]

    @property
    def of_stored(self) -> MapPlace:
        """Return where the map is in what takes stored tensors in place of images."""
        return MapPlace("", "input", "grid" if self.layout == "channels last" else self.layout, self.stored)

    def features(self, stored: Tensor) -> Tensor:
        """Return the features [B, d] of stored tensors."""
        return POOLS[self.of_stored.layout](stored)

    def map(self, backbone: nn.Module, x: Tensor) -> Tensor:
        """Run a backbone on images x [B, 3, H, W]; return their maps [B, d, h, w] or [B, N, d]."""
        tensor = self.tensor(backbone, x)
        return tensor[:, 1:] if self.layout == "class token" else tensor

    def tensor(self, backbone: nn.Module, x: Tensor) -> Tensor:
        """Run a backbone on images x [B, 3, H, W]; return the tensor as it is stored."""
        found: list[Tensor] = []

        def note(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            found.append(given[0] if self.taken == "input" else result)

        handle = backbone.get_submodule(self.module).register_forward_hook(note)
        try:
            backbone(x)
        finally:
            handle.remove()
        return found[-1].permute(0, 3, 1, 2) if self.layout == "channels last" else found[-1]


class StoredMaps(nn.Module):
    """Images -> the tensor that a cache of maps keeps."""

    def __init__(self, backbone: nn.Module, place: MapPlace) -> None:
        super().__init__()
        self.backbone = backbone
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        return self.place.tensor(self.backbone, x)


class Maps(StoredMaps):
    """Images -> maps float [B, d, h, w], or patch tokens [B, N, d]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.place.map(self.backbone, x)


@torch.no_grad()
def find_map(backbone: nn.Module, image_size: int) -> MapPlace:
    """Return where a backbone has its map: of several such tensors the last one of the most positions.

    The modes of its modules are left as they were.

    Raises:
        NoMap: none at that size.
    """
    weight = next(backbone.parameters(), torch.empty(0))
    noise = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tensors: dict[tuple[str, Literal["input", "output"]], Any] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            for taken, tensor in (("input", given[0] if given else None), ("output", result)):
                tensors.pop((name, taken), None)  # type: ignore[arg-type]
                tensors[name, taken] = tensor  # type: ignore[index]

        return note

    modes = {module: module.training for module in backbone.modules()}
    handles = [module.register_forward_hook(noting(name)) for name, module in backbone.named_modules() if name]
    try:
        features = backbone.eval()(noise.to(weight))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    found: list[MapPlace] = []
    for (name, taken), tensor in tensors.items():
        for layout in LAYOUTS.get(tensor.ndim, ()) if isinstance(tensor, Tensor) else ():
            if _pools_to(tensor, layout, features):
                shape = tensor.shape[1:] if layout != "channels last" else tensor.permute(0, 3, 1, 2).shape[1:]
                found.append(MapPlace(name, taken, layout, tuple(shape)))
    if not found:
        raise NoMap(
            f"the backbone has no map at {image_size} px: no tensor [B, d, h, w] or [B, N, d] of several positions in "
            "it has the features as its mean or first token"
        )
    return max(reversed(found), key=_positions)


def _pools_to(tensor: Tensor, layout: Layout, features: Tensor) -> bool:
    if tensor.numel() <= features.numel() or not tensor.is_floating_point():
        return False
    pooled = POOLS[layout](tensor)
    if pooled.shape != features.shape:
        return False
    return torch.allclose(pooled, features, rtol=1e-3, atol=1e-4 * float(features.abs().max()))


def _positions(place: MapPlace) -> int:
    size = 1
    for length in place.shape:
        size *= length
    return size // place.width
