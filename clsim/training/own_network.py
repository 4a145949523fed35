"""The network of a run as a strategy makes it, held to its contract before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from clsim.errors import StrategyError
from clsim.models.head import Head
from clsim.models.maps import NoMap
from clsim.models.network import MultiLabelNet
from clsim.models.stand_in import StandIn
from clsim.randomness import derive_seed


def own_network(
    name: str, change: Callable[[MultiLabelNet, int], MultiLabelNet], network: MultiLabelNet, seed: int
) -> MultiLabelNet:
    """Return what `change(network, seed)` makes of a network whose head has no classes.

    torch's global generator is seeded for it and left as it was.

    Args:
        name: of the strategy, for errors.

    Raises:
        StrategyError: no `MultiLabelNet`, or a head that is no `Head`, has classes, or grows differently each time; a
            backbone changed although its features are cached; a head that reads maps where there are none.
    """
    over_features = isinstance(network.backbone, StandIn)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "network"))
        found = _changed(name, change, network, seed)
    if not isinstance(found, MultiLabelNet):
        raise StrategyError(f"{name}: network() gave {type(found).__name__}, expected a clsim.kit.MultiLabelNet")
    if not isinstance(found.head, Head):
        raise StrategyError(f"{name}: the network's head is a {type(found.head).__name__}, expected a clsim.kit.Head")
    if found.n_classes:
        raise StrategyError(f"{name}: network() gave a head of {found.n_classes} classes, expected one without classes")
    if over_features and not isinstance(found.backbone, StandIn):
        raise StrategyError(
            f"{name}: changes the backbone, whose features training.model.cache_features computes only once; set that "
            "key to false"
        )
    if found.head.reads == "maps":
        _see_map(name, found)
    _try_growth(name, found.head)
    return found


def _changed(
    name: str, change: Callable[[MultiLabelNet, int], MultiLabelNet], network: MultiLabelNet, seed: int
) -> MultiLabelNet:
    try:
        return change(network, seed)
    except NoMap as error:
        raise StrategyError(f"{name} reads the backbone's map: {error}") from None


def _see_map(name: str, network: MultiLabelNet) -> None:
    """See that a head that reads maps gets some."""
    if not isinstance(network.hidden, nn.Identity):
        raise StrategyError(
            f"{name} reads the backbone's map, behind which there is no feature transform; leave training.model.hidden "
            "out"
        )
    network.look_again()
    try:
        network.map_place  # noqa: B018  it is found when it is asked for
    except NoMap as error:
        raise StrategyError(f"{name} reads the backbone's map: {error}") from None


def _try_growth(name: str, head: Head) -> None:
    """See that copies of a head that grow alike are alike, as a resumed run needs them."""
    states = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            grown = copy.deepcopy(head)
            grown.grow(2)
            grown.grow(3)
            states.append(grown.state_dict())
    one, other = states
    differing = [key for key in one if key not in other or not torch.equal(one[key], other[key])]
    if differing or one.keys() != other.keys():
        raise StrategyError(
            f"{name}: {type(head).__name__}.add_classes makes another {(differing or ['state'])[0]} each time; draw "
            "from self.generator(...)"
        )
