"""Where a backbone has its map: its mean or class token is the features, whatever the backbone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from clsim.models.build import build_model
from clsim.models.head import positions
from clsim.models.maps import Maps, NoMap, StoredMaps, find_map
from clsim.scenario.training_schema import ModelSection


@pytest.mark.parametrize(
    ("name", "size", "stored", "shape"),
    [
        ("tiny-resnet", 28, (64, 7, 7), (64, 7, 7)),
        ("resnet18", 64, (512, 2, 2), (512, 2, 2)),
        ("mobilenet_v2", 64, (1280, 2, 2), (1280, 2, 2)),
        ("densenet121", 64, (1024, 2, 2), (1024, 2, 2)),
        ("vit_b_32", 64, (5, 768), (4, 768)),
    ],
)
def test_a_map_gives_the_features_of_its_backbone(name: str, size: int, stored: tuple, shape: tuple) -> None:
    model = build_model(ModelSection(name=name, image_size=size), 0)
    modes = [module.training for module in model.modules()]
    place = model.map_place
    assert [module.training for module in model.modules()] == modes
    assert (place.stored, place.shape, place.width) == (stored, shape, model.n_features)
    x = torch.randn(3, 3, size, size)
    with torch.no_grad():
        features, tensor = model.eval().backbone(x), StoredMaps(model.backbone, place)(x)
        torch.testing.assert_close(place.features(tensor), features)
        assert torch.equal(place.of_stored.map(nn.Identity(), tensor), Maps(model.backbone, place)(x))
    assert Maps(model.backbone, place)(x).requires_grad


class Own(nn.Module):
    """Pools the last axes but the last one; its map is seen at an Identity."""

    def __init__(self, seen: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.map = nn.Identity() if seen else None

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.patches(x)).permute(0, 2, 3, 1)
        return (maps if self.map is None else self.map(maps)).mean(dim=(1, 2))


def test_a_map_with_channels_last_is_one_with_channels_first() -> None:
    backbone = Own(seen=True)
    place = find_map(backbone, 16)
    assert (place.module, place.layout, place.shape) == ("map", "channels last", (8, 4, 4))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(place.map(backbone, x).mean(dim=(2, 3)), backbone(x))
    assert torch.equal(positions(place.map(backbone, x))[:, 5], place.map(backbone, x)[:, :, 1, 1])


@pytest.mark.parametrize("size", [16, 4])
def test_what_no_module_shows_and_what_has_one_position_is_no_map(size: int) -> None:
    with pytest.raises(NoMap, match=f"the backbone has no map at {size} px"):
        find_map(Own(seen=size == 4), size)
