"""The trained model of a finished run: `model.pt` in its folder, from which the whole network can be built again.

It is a dictionary that `torch.load(weights_only=True)` reads:

    format           1
    model            the scenario's section training.model
    precision        float32 or bfloat16, in which it was trained and scored
    seed             of the run
    class_names      names of the outputs, in order
    growth           numbers of classes the head has grown to
    strategy         None, or (spec, options) of the strategy that makes the network its own
    state            weights and statistics by name, on the CPU
    backbone_sha256  None, or the content hash of a backbone whose weights are not in `state`
    feature_width    None, or the width d of the features [B, d] that the network takes in place of images
    backbone_code    None, or the hash of the code of a backbone that a user brought; the section names its file
    rest             only after an earlier task: None, or (file, names) of weights that are in a file beside it

With `checkpoint.keep: all` the folder `task_models` holds such a file for each trained task but the last. DECIDED: a
tensor that equals, to the last bit, that of the same name in the first of these files is not stored again. So a frozen
backbone is there once, and the folder never exceeds one whole model per task.

DECIDED: a run over features (`training.model.cache_features`) never changes its backbone, which may be hundreds of
megabytes. If the backbone's weights came from a file, or from torchvision, `model.weights` names them and
`backbone_sha256` tells whether they still are the same; if they were drawn from the seed, `state` holds them. All other
models are stored by content, frozen ones too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from clsim.errors import RunError, StrategyError
from clsim.files import written_whole
from clsim.models.build import build_model, with_head
from clsim.models.network import MultiLabelNet
from clsim.models.stand_in import GivenFeatures, StandIn, weights_sha256
from clsim.opening import refuse_packed
from clsim.parts import code_of
from clsim.running.checkpoint_files import save_state
from clsim.running.run_folder import RunFolder
from clsim.scenario.training_schema import ModelSection, TrainingSection
from clsim.training.composition import Composition

FORMAT = 1

log = logging.getLogger("clsim")


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
    folder: Path,
    model: MultiLabelNet,
    config: TrainingSection,
    class_names: Sequence[str],
    seed: int,
    composition: Composition,
    task: int | None = None,
) -> None:
    """Write the trained model into a run folder, atomically.

    Args:
        model: at the end of the run; over features, the part that stands on them.
        class_names: of the whole stream; the model may have seen fewer.
        seed: of the run.
        composition: the strategy, which may have made the network its own.
        task: an earlier task after which this is the model; None: the last one.

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
        "class_names": list(class_names[: model.n_classes]),
        "growth": model.growth,
        "strategy": [composition.located, composition.given] if composition.brings_network else None,
        "state": state,
        "backbone_sha256": backbone_sha256,
        "feature_width": model.backbone.width if isinstance(model.backbone, GivenFeatures) else None,
        "backbone_code": code_of("backbone", config.model.name),
    }
    path = RunFolder(folder).trained_model if task is None else RunFolder(folder).task_model(task)
    if task is not None:
        path.parent.mkdir(exist_ok=True)
        content |= _apart_from_first(path, state)
    with written_whole(path) as file:
        save_state(content, file)
    log.info("model after %s: %d bytes", "the last task" if task is None else f"task {task}", path.stat().st_size)


def _apart_from_first(path: Path, state: dict[str, Tensor]) -> dict[str, Any]:
    """Return `state` and `rest` of a file: what differs from the first task's model, and the name of that file."""
    first = min(path.parent.glob(f"*{path.suffix}"), default=path)
    if first >= path:
        return {"rest": None}
    known = _content(first)["state"]
    same = [name for name, value in state.items() if _equal(value, known.get(name))]
    return {"state": {name: state[name] for name in state if name not in same}, "rest": [first.name, same]}


def _equal(value: Tensor, known: Tensor | None) -> bool:
    return known is not None and value.dtype == known.dtype and torch.equal(value, known)


def read_trained_model(folder: Path, task: int | None = None) -> TrainedModel:
    """Build a trained model from the folder of its run.

    Args:
        folder: of the run.
        task: an earlier task whose model the run has kept; None: the model of the finished run.

    Raises:
        RunError: no such file, a damaged one, one of another format, or a backbone whose weights are not there or have
            changed; a strategy that made the network its own and is not there any more.
    """
    path = RunFolder(folder).trained_model if task is None else RunFolder(folder).task_model(task)
    return build_trained_model(path, read_content(path))


def read_content(path: Path) -> dict[str, Any]:
    """Return what the file of a trained model holds, with all weights that another file has for it.

    Raises:
        RunError: no such file, a damaged one, or one of another format.
    """
    content = _content(path)
    if (rest := content.get("rest")) is not None:
        file, names = rest
        known = _content(path.with_name(file))["state"]
        content["state"] |= {name: known[name] for name in names}
    return content


def build_trained_model(path: Path, content: dict[str, Any]) -> TrainedModel:
    """Build a trained model from what its file holds; errors name `path`.

    Raises:
        RunError: as `read_trained_model`.
    """
    try:
        section = ModelSection.model_validate(content["model"])
    except ValidationError as error:  # the file of its backbone has moved, or the library is not here
        raise RunError(f"{path}: cannot be built again: {error.errors()[0]['msg']}") from None
    if content.get("backbone_code") != code_of("backbone", section.name):
        raise RunError(f"{path}: the code of its backbone {section.name} has changed since")
    state, referred = content["state"], content["backbone_sha256"]
    stock = section if referred else section.model_copy(update={"weights": "none"})
    names = content["class_names"]
    build = partial(build_model, stock, content["seed"], names)
    if (width := content["feature_width"]) is not None:
        build = partial(with_head, GivenFeatures(width), width, section, content["seed"], names)
    network = _network(path, build, content)
    if referred:
        if weights_sha256(network.backbone) != referred:
            raise RunError(f"{path}: its backbone was another one than {_origin(section)} is now")
        state = {f"backbone.{name}": value for name, value in network.backbone.state_dict().items()} | state
    network.grow(*content.get("growth", [len(content["class_names"])]))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # a plugin has changed what the network is made of
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: holds another network than its configuration makes: {reason}") from None
    return TrainedModel(network.eval(), tuple(content["class_names"]), section, content["precision"])


def _network(path: Path, make: Callable[[], MultiLabelNet], content: dict[str, Any]) -> MultiLabelNet:
    if content.get("strategy") is None:
        return make()
    spec, options = content["strategy"]
    try:
        return Composition(spec, options).network(make, content["seed"])
    except StrategyError as error:
        raise RunError(f"{path}: its network is made by {spec}: {error}") from None


def _content(path: Path) -> dict[str, Any]:
    try:
        refuse_packed(path)
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
