"""Networks from their configuration: backbone by name, initial weights, what is frozen."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clsim.data.content import content_sha256
from clsim.errors import RunError
from clsim.models.convolution import choose_ways
from clsim.models.head import GrowingHead
from clsim.models.network import MultiLabelNet
from clsim.models.tiny_resnet import TinyResNet
from clsim.randomness import derive_seed
from clsim.scenario.training_schema import ModelSection, TorchvisionSection, WeightsSection

AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""Training-time classifiers of GoogLeNet and Inception v3, which their files hold and our backbones do not."""


def build_model(config: ModelSection, seed: int) -> MultiLabelNet:
    """A network with a head of no classes; everything random in it depends on the seed alone.

    torch's global generator is left as it was.

    Raises:
        RunError: weights that are missing, damaged or of another architecture; a size the backbone cannot take.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "model"))  # torch.manual_seed would reach the GPUs' too
        try:
            backbone, n_features, head_name = _backbone(config)
        except (ValueError, AssertionError) as error:  # a transformer is made for one size
            raise _impossible_size(config, error) from None
    if isinstance(config.weights, WeightsSection):
        path = Path(config.weights.file)
        _load(backbone, _state_of_file(path), str(path), head_name)
    elif isinstance(config.weights, TorchvisionSection):
        which = f"torchvision's {config.name} {config.weights.torchvision}"
        _load(backbone, _state_of_torchvision(config.name, config.weights.torchvision), which, head_name)
    if config.freeze == "backbone":
        backbone.requires_grad_(False)
    model = with_head(backbone, n_features, config, seed)
    _try_out(model, config)
    if config.channels_last == "auto":
        choose_ways(model)
        return model
    return model.to(memory_format=torch.channels_last) if config.channels_last else model


def with_head(backbone: nn.Module, n_features: int, config: ModelSection, seed: int) -> MultiLabelNet:
    """The network over a backbone, or over features [B, n_features] that one has made: a head without classes on top.

    DECIDED: the hidden layer is a linear map and ReLU, as the one hidden layer of the usual two-layer head.
    """
    hidden, width = None, n_features
    if config.hidden is not None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "hidden"))
            hidden, width = nn.Sequential(nn.Linear(n_features, config.hidden), nn.ReLU()), config.hidden
    return MultiLabelNet(backbone, GrowingHead(width, seed), hidden, frozen_statistics=config.freeze != "none")


def _backbone(config: ModelSection) -> tuple[nn.Module, int, str]:
    """Backbone, width of its features, and the name its classifier had in torchvision ("" without)."""
    if config.name == "tiny-resnet":
        tiny = TinyResNet()
        return tiny, tiny.n_features, ""
    import torchvision

    builder = torchvision.models.get_model_builder(config.name)
    options: dict[str, Any] = {"weights": None}
    if config.name.startswith("vit_"):
        options["image_size"] = config.image_size
    if config.name == "maxvit_t":
        options["input_size"] = (config.image_size, config.image_size)
    if config.name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    backbone = builder(**options)
    n_outputs = inspect.signature(torchvision.models.ResNet).parameters["num_classes"].default
    (head_name,) = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == n_outputs
    ]
    n_features = backbone.get_submodule(head_name).in_features
    backbone.set_submodule(head_name, nn.Identity())
    return backbone, n_features, head_name


def _state_of_file(path: Path) -> Any:
    if not os.path.isfile(path):
        raise RunError(f"training.model.weights.file: no such file {path}")
    try:
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


def _load(backbone: nn.Module, state: Any, where: str, head_name: str) -> None:
    """Load a plain state dict with torchvision's key names; its classifiers, if any, are left out.

    Files from before torch 0.4 do not count the batches of batch norm, which matters to nobody.
    """
    left_out = tuple(f"{name}." for name in (head_name, *AUXILIARY) if name)
    try:
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


def _try_out(model: MultiLabelNet, config: ModelSection) -> None:
    """One blank image through the backbone, so that an impossible size fails before training."""
    size = config.image_size
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _impossible_size(config, error) from None
    finally:
        model.train()


def _impossible_size(config: ModelSection, error: Exception) -> RunError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RunError(f"training.model: {config.name} does not take images of {config.image_size} px: {reason}")
