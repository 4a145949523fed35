"""The trained model of a finished run: `model.pt` in its folder, from which the whole network can be built again.

It is a dictionary that `torch.load(weights_only=True)` reads:

    format           1
    model            the scenario's section training.model
    precision        float32 or bfloat16, in which it was trained and scored
    seed             of the run
    class_names      names of the outputs, in order
    state            weights and statistics by name, on the CPU
    backbone_sha256  None, or the content hash of a backbone whose weights are not in `state`
    backbone_code    None, or the hash of the code of a backbone that a user brought; the section names its file

DECIDED: a run over features (`training.model.cache_features`) never changes its backbone, which may be hundreds of
megabytes. If the backbone's weights came from a file, or from torchvision, `model.weights` names them and
`backbone_sha256` tells whether they still are the same; if they were drawn from the seed, `state` holds them. All other
models are stored by content, frozen ones too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from clsim.errors import RunError
from clsim.files import written_whole
from clsim.models.build import build_model
from clsim.models.network import MultiLabelNet
from clsim.models.stand_in import StandIn, weights_sha256
from clsim.parts import code_of
from clsim.running.checkpoint_files import save_state
from clsim.scenario.training_schema import ModelSection, TrainingSection

FILE = "model.pt"
FORMAT = 1


@dataclass(frozen=True)
class TrainedModel:
    """A trained network and what must be known to use it.

    Attributes:
        network: images float32 [B, 3, H, W] -> logits [B, S], on the CPU, in eval mode.
        class_names: of its S outputs.
        section: size, mean and standard deviation of its images, and what it is made of.
        precision: float32 or bfloat16, in which its run scored.
    """

    network: MultiLabelNet
    class_names: tuple[str, ...]
    section: ModelSection
    precision: str


def write_trained_model(
    folder: Path, model: MultiLabelNet, config: TrainingSection, class_names: Sequence[str], seed: int
) -> None:
    """Write `model.pt` into a run folder, atomically.

    Args:
        model: at the end of the run; over features, the part that stands on them.
        class_names: of the whole stream; the model may have seen fewer.
        seed: of the run.

    Raises:
        OSError: it cannot be written.
    """
    state = {name: value.cpu() for name, value in model.state_dict().items()}
    backbone_sha256 = None
    if isinstance(model.backbone, StandIn):
        if config.model.weights == "none":
            drawn = build_model(config.model, seed).backbone.state_dict()
            state = {f"backbone.{name}": value for name, value in drawn.items()} | state
        else:
            backbone_sha256 = model.backbone.weights_sha256
    content = {
        "format": FORMAT,
        "model": config.model.model_dump(mode="json"),
        "precision": config.precision,
        "seed": seed,
        "class_names": list(class_names[: model.head.n_classes]),
        "state": state,
        "backbone_sha256": backbone_sha256,
        "backbone_code": code_of("backbone", config.model.name),
    }
    with written_whole(folder / FILE) as file:
        save_state(content, file)


def read_trained_model(folder: Path) -> TrainedModel:
    """Build the trained model of a finished run from its folder.

    Raises:
        RunError: no such file, a damaged one, one of another format, or a backbone whose weights are not there or have
            changed.
    """
    path = folder / FILE
    content = _content(path)
    try:
        section = ModelSection.model_validate(content["model"])
    except ValidationError as error:  # the file of its backbone has moved, or the library is not here
        raise RunError(f"{path}: cannot be built again: {error.errors()[0]['msg']}") from None
    if content.get("backbone_code") != code_of("backbone", section.name):
        raise RunError(f"{path}: the code of its backbone {section.name} has changed since")
    state, referred = content["state"], content["backbone_sha256"]
    network = build_model(section if referred else section.model_copy(update={"weights": "none"}), content["seed"])
    if referred:
        if weights_sha256(network.backbone) != referred:
            raise RunError(f"{path}: its backbone was another one than {_origin(section)} is now")
        state = {f"backbone.{name}": value for name, value in network.backbone.state_dict().items()} | state
    network.head.grow(len(content["class_names"]))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # a plugin has changed what the network is made of
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: holds another network than its configuration makes: {reason}") from None
    return TrainedModel(network.eval(), tuple(content["class_names"]), section, content["precision"])


def _content(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["format"]
    except FileNotFoundError:
        raise RunError(f"{path}: no trained model here; a run of this version has one once it is finished") from None
    except Exception as error:  # torch raises many kinds for damaged or code-carrying files
        first = str(error).partition("\n")[0]
        raise RunError(f"{path}: damaged, or not a trained model: {type(error).__name__}: {first}") from None
    if found != FORMAT:
        raise RunError(f"{path}: format is {found!r}, this version of clsim reads {FORMAT}")
    return content


def _origin(section: ModelSection) -> str:
    weights = section.weights
    return str(getattr(weights, "file", None) or f"the library's {section.name}")
