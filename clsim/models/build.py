"""Networks from their configuration: backbone by name, initial weights, what is frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clsim.data.content import content_sha256
from clsim.errors import RunError
from clsim.global_generators import drawn_from
from clsim.models.backbones import Backbone, make_backbone, width_of
from clsim.models.convolution import choose_ways
from clsim.models.head import GrowingHead
from clsim.models.network import MultiLabelNet
from clsim.opening import refuse_packed
from clsim.randomness import derive_seed
from clsim.scenario.training_schema import ModelSection, TorchvisionSection, WeightsSection


def build_model(config: ModelSection, seed: int, class_names: Sequence[str] = ()) -> MultiLabelNet:
    """A network with a head of no classes; everything random in it depends on the seed alone.

    The global generators are left as they were.

    Args:
        class_names: of the stream, in its order.

    Raises:
        RunError: weights that are missing, damaged or of another architecture; a size the backbone cannot take.
        PartError: no such backbone, or options that it does not have.
    """
    with drawn_from(derive_seed(seed, "model")):
        made = make_backbone(config)
    backbone = made.network
    if isinstance(config.weights, WeightsSection):
        path = Path(config.weights.file)
        _load(made, _state_of_file(path), str(path))
    elif isinstance(config.weights, TorchvisionSection):
        which = f"torchvision's {config.name} {config.weights.torchvision}"
        _load(made, _state_of_torchvision(config.name, config.weights.torchvision), which)
    with drawn_from(derive_seed(seed, "blank image")):  # for a network that draws numbers
        n_features = width_of(backbone, config)
    if config.freeze == "backbone":
        backbone.requires_grad_(False)
    model = with_head(backbone, n_features, config, seed, class_names)
    if config.channels_last == "auto":
        choose_ways(model)
        return model
    return model.to(memory_format=torch.channels_last) if config.channels_last else model


def with_head(
    backbone: nn.Module, n_features: int, config: ModelSection, seed: int, class_names: Sequence[str] = ()
) -> MultiLabelNet:
    """The network over a backbone, or over features [B, n_features] that one has made: a head without classes on top.

    DECIDED: the hidden layer is a linear map and ReLU, as the one hidden layer of the usual two-layer head.
    """
    hidden, width = None, n_features
    if config.hidden is not None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "hidden"))
            hidden, width = nn.Sequential(nn.Linear(n_features, config.hidden), nn.ReLU()), config.hidden
    frozen_statistics = config.freeze != "none"
    head = GrowingHead(width, seed)
    return MultiLabelNet(backbone, head, hidden, frozen_statistics, n_features, config.image_size, class_names)


def _state_of_file(path: Path) -> Any:
    if not os.path.isfile(path):
        raise RunError(f"training.model.weights.file: no such file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        refuse_packed(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or code-carrying files
        raise _no_state_dict(str(path), error) from None


def _state_of_torchvision(model: str, name: str) -> Any:
    """State dict of torchvision's own weights, from its cache folder or downloaded into it."""
    import torchvision

    kind = torchvision.models.get_model_weights(model)
    if name not in (known := [weights.name for weights in kind]):
        allowed = ", ".join(known)
        raise RunError(f"training.model.weights.torchvision: given {name!r}, allowed for {model}: {allowed}")
    url = kind[name].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        state = kind[name].get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:
        if os.path.isfile(path):
            raise _no_state_dict(str(path), error) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"training.model.weights.torchvision: {url} cannot be downloaded: {reason}; put it into {path.parent}, "
            "or give weights: {file: PATH, trained_on: [imagenet-1k], source: torchvision}"
        ) from None
    _check_download(path)
    return state


def _check_download(path: Path) -> None:
    """Refuse a file of torchvision's whose content is not what its name says, as torch looks at downloads only.

    A run's identity holds the name of such weights; so the name must fix the content.
    """
    stated = re.search(r"-([0-9a-f]{8,})\.", path.name)
    sha256 = content_sha256(path)
    if stated is not None and not sha256.startswith(stated[1]):
        raise RunError(f"{path}: damaged or not torchvision's: its SHA-256 begins with {sha256[:8]}; remove the file")


def _load(made: Backbone, state: Any, where: str) -> None:
    """Load a plain state dict with the key names of the backbone's library; its classifiers, if any, are left out.

    Files from before torch 0.4 do not count the batches of batch norm, which is no error.
    """
    backbone, inside = made.network, made.inside
    left_out = tuple(f"{name}." for name in made.left_out)
    try:
        if inside and any(key.startswith(inside) for key in state):
            state = {key.removeprefix(inside): value for key, value in state.items() if key.startswith(inside)}
        state = {key: value.detach() for key, value in state.items() if not key.startswith(left_out)}
    except Exception as error:
        raise _no_state_dict(where, error) from None
    own = backbone.state_dict()
    state = {key: value for key, value in own.items() if key.endswith(".num_batches_tracked")} | state
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    misfits = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    for what, keys in (("lacks", missing), ("has the unknown", surplus), ("has another shape of", sorted(misfits))):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise RunError(f"{where}: weights of another architecture: {what} {keys[0]}{more}")
    backbone.load_state_dict(state)


def _no_state_dict(where: str, error: Exception) -> RunError:
    return RunError(f"{where}: not a plain state dict: {type(error).__name__}: {error}".splitlines()[0])
