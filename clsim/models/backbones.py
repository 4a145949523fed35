"""The backbone that `training.model.name` names: clsim's own, torchvision's, timm's, open_clip's, or a user's.

Whoever made it, it is an nn.Module that maps images float [B, 3, H, W] to features float [B, d].
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from clsim.errors import ClsimError, RunError, did_you_mean
from clsim.model_names import TORCHVISION
from clsim.parts import file_of, find, library_of, made
from clsim.plugin_files import told
from clsim.scenario.training_schema import ModelSection, PretrainedSection

KEY = "training.model"
AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""Training-time classifiers of GoogLeNet and Inception v3, which their files hold and our backbones do not."""


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    Attributes:
        network: images -> features.
        left_out: names of modules that files of weights may hold and `network` does not.
        inside: what stands before its keys in such files, "visual." in those of a CLIP.
    """

    network: nn.Module
    left_out: Sequence[str] = ()
    inside: str = ""


def make_backbone(config: ModelSection) -> Backbone:
    """Make a backbone; of its weights only those that its library downloads are loaded.

    Raises:
        RunError, PartError: no such network, options or image size it does not take, weights that cannot be had.
    """
    library = library_of("backbone", config.name)
    try:
        if library is not None:
            backbone = (_of_timm if library.module == "timm" else _of_open_clip)(config)
        elif config.name in TORCHVISION:
            backbone = _of_torchvision(config)
        else:
            backbone = Backbone(made("backbone", config.name, config.options, KEY))
    except ClsimError:
        raise
    except (ValueError, AssertionError) as error:  # a transformer is made for one size
        raise impossible_size(config, error) from None
    except Exception as error:
        raise RunError(f"{KEY}: {config.name} cannot be made: {told(error)}") from error
    if not isinstance(backbone.network, nn.Module):
        raise RunError(f"{KEY}: {config.name} makes {type(backbone.network).__name__}, expected a torch.nn.Module")
    return backbone


@torch.no_grad()
def width_of(network: nn.Module, config: ModelSection) -> int:
    """Return the width d of a backbone's features; its mode is left at train.

    A backbone of the user's may say d by an attribute `feature_dim`, and must give such features then. All others are
    asked by one blank image in eval mode.

    DECIDED: a real image, not one on the meta device: an impossible size fails here, before training, on the kernels
    that will compute. It takes 1 ms for a small network, where a pass on meta takes 7, and 0.5 s against 0.06 for a
    ResNet-50 at 448 px, once per network; and what cannot run on the CPU can say its width.

    Raises:
        RunError: it says something else than a whole number above 0, does not take such images, or gives something
            else than float [B, d].
    """
    said = getattr(network, "feature_dim", None) if file_of("backbone", config.name) is not None else None
    if said is not None:
        if not isinstance(said, int) or isinstance(said, bool) or said < 1:
            raise RunError(f"{KEY}: {config.name} says feature_dim {said!r}, expected a whole number above 0")
        network.register_forward_hook(partial(_keep_to_width, said, config.name))
        return said
    size = config.image_size
    try:
        features = network.eval()(torch.zeros(1, 3, size, size))
    except ClsimError:
        raise
    except Exception as error:
        raise impossible_size(config, error) from error
    finally:
        network.train()
    expected = f"{KEY}: {config.name} gives {{}} for one image, expected features float [1, d]"
    if not isinstance(features, torch.Tensor):
        raise RunError(expected.format(type(features).__name__))
    if features.ndim != 2 or len(features) != 1 or not features.is_floating_point():
        kind = str(features.dtype).removeprefix("torch.")
        raise RunError(expected.format(f"{kind} {list(features.shape)}"))
    return features.shape[1]


def _keep_to_width(said: int, name: str, network: nn.Module, images: Any, features: Any) -> None:
    """Refuse features of another width than the backbone has said; a forward hook."""
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or features.shape[1] != said:
        given = list(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise RunError(f"{KEY}: {name} says feature_dim {said} and gives {given}, expected features float [B, {said}]")


def impossible_size(config: ModelSection, error: Exception) -> RunError:
    """Return the error that a backbone does not take images of the scenario's size."""
    return RunError(f"{KEY}: {config.name} does not take images of {config.image_size} px: {told(error)}")


def _of_torchvision(config: ModelSection) -> Backbone:
    import torchvision

    options: dict[str, Any] = {"weights": None}
    if config.name.startswith("vit_"):
        options["image_size"] = config.image_size
    if config.name == "maxvit_t":
        options["input_size"] = (config.image_size, config.image_size)
    if config.name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    network = find("backbone", config.name)(**(options | config.options))
    n_outputs = inspect.signature(torchvision.models.ResNet).parameters["num_classes"].default
    (head_name,) = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == n_outputs
    ]
    network.set_submodule(head_name, nn.Identity())
    return Backbone(network, (head_name, *AUXILIARY))


def _of_timm(config: ModelSection) -> Backbone:
    import timm

    name = config.name.partition("/")[2]
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    options: dict[str, Any] = {"num_classes": 0}
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if known is not None and known.fixed_input_size:
        options["img_size"] = config.image_size
    if isinstance(config.weights, PretrainedSection):
        bare = name.partition(".")[0]
        tags = [tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{bare}.*")]
        _check_tag(config, tags)
        tagged_name = f"{bare}.{_tag(config)}"
        network = _downloaded(config, partial(timm.create_model, tagged_name, True, **(options | config.options)))
    else:
        network = timm.create_model(name, **(options | config.options))
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return Backbone(network, (classifier,) if isinstance(classifier, str) else classifier)


def _of_open_clip(config: ModelSection) -> Backbone:
    import open_clip

    name = config.name.partition("/")[2]
    if name not in (known := open_clip.list_models()):
        raise _unknown("open_clip", name, known)
    options = {"force_image_size": config.image_size} | config.options
    if isinstance(config.weights, PretrainedSection):
        _check_tag(config, open_clip.list_pretrained_tags_by_model(name))
        whole = _downloaded(config, partial(open_clip.create_model, name, _tag(config), **options))
    else:
        whole = open_clip.create_model(name, **options)
    return Backbone(whole.get_submodule("visual"), inside="visual.")


def _downloaded(config: ModelSection, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except (TypeError, AssertionError):
        raise
    except Exception as error:
        raise RunError(
            f"{KEY}.weights.pretrained: {config.name} {_tag(config)} cannot be downloaded: {told(error)}; or give "
            "weights: {file: PATH, trained_on: [..], source: ..}"
        ) from error


def _check_tag(config: ModelSection, tags: Sequence[str]) -> None:
    if _tag(config) not in tags:
        hint = did_you_mean(_tag(config), tags)
        raise RunError(
            f"{KEY}.weights.pretrained: given {_tag(config)!r}{hint}; allowed for {config.name}: "
            f"{', '.join(tags) or 'none'}"
        )


def _tag(config: ModelSection) -> str:
    assert isinstance(config.weights, PretrainedSection)
    return config.weights.pretrained


def _unknown(library: str, name: str, known: Sequence[str]) -> RunError:
    return RunError(f"{KEY}.name: {library} has no model {name!r}{did_you_mean(name, known)}")
