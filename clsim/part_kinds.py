"""The kinds of parts that a user may bring, the names that come with clsim, and what a part of a kind must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from clsim.model_names import NO_BACKBONE, OPTIMIZERS, SCHEDULERS, TORCHVISION


@dataclass(frozen=True)
class Library:
    """A package that brings parts of its own.

    Attributes:
        module: where its parts are found.
        package: as it is installed; its version is part of a run's identity.
        extra: of clsim, which installs it; "": it comes with clsim.
    """

    module: str
    package: str
    extra: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of part.

    Attributes:
        name: what users type.
        contract: what a part of the kind is, in one line.
        makes: what clsim has of a class and of a function: "object": what they return, called with the options;
            "function": an object of the class, or the function with the options bound; "constructor": either with the
            options bound.
        shipped: name -> "module:attribute", imported when used.
        supplied: parameters that clsim fills, which are therefore no options.
        filled: parameters that clsim fills if they are not given as options.
        paths: options that are paths, whatever a file says of them -> what of them identifies a run.
        libraries: what stands before the slash in `timm/resnet50` -> its library.
        identified: whether its code is part of a run's identity.
        group: of entry points.
    """

    name: str
    contract: str
    makes: Literal["object", "function", "constructor"] = "function"
    shipped: Mapping[str, str] = field(default_factory=dict)
    supplied: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    paths: Mapping[str, Literal["data", "content"]] = field(default_factory=dict)
    libraries: Mapping[str, Library] = field(default_factory=dict)
    identified: bool = True
    plural: str = ""

    @property
    def group(self) -> str:
        return f"clsim.{self.plural or self.name.replace('-', '_') + 's'}"


def _within(module: str, **names: str) -> dict[str, str]:
    return {name.replace("_", "-"): f"{module}:{attribute}" for name, attribute in names.items()}


KINDS = {
    kind.name: kind
    for kind in (
        Kind("strategy", "a subclass of clsim.Strategy", plural="strategies"),
        Kind(
            "backbone",
            "an nn.Module: images float [B, 3, H, W] -> features float [B, d]; or a function that makes one",
            "object",
            {"tiny-resnet": "clsim.models.tiny_resnet:TinyResNet", NO_BACKBONE: "torch.nn:Identity"}
            | {name: f"torchvision.models:{name}" for name in TORCHVISION},
            libraries={
                "timm": Library("timm", "timm", "timm"),
                "open_clip": Library("open_clip", "open_clip_torch", "open-clip"),
            },
        ),
        Kind(
            "dataset",
            "a map-style data set of (image, labels) with `classes`; or a clsim.data.source.ImageSource",
            "object",
            {
                "digits": "clsim.data.digits:Digits",
                "voc": "clsim.data.voc:Voc",
                "coco": "clsim.data.coco:Coco",
                "nuswide": "clsim.data.nuswide:NusWide",
                "openimages": "clsim.data.openimages:OpenImages",
                "manifest": "clsim.data.manifest:Manifest",
                "folder": "clsim.data.folder:Folder",
                "features": "clsim.data.features:Features",
            },
            filled=("split", "train"),
            paths={"root": "data"},
            libraries={"torchvision": Library("torchvision.datasets", "torchvision")},
        ),
        Kind(
            "loss",
            "(logits float [B, S], targets float [B, S], -1 unknown) -> scalar: sum over known entries / B",
            shipped=_within("clsim.training.losses.binary", bce="masked_bce", focal="focal", asl="asymmetric")
            | _within(
                "clsim.training.losses.class_frequencies",
                db="distribution_balanced",
                logit_adjusted="logit_adjusted",
                class_balanced="class_balanced",
                rldam="rldam",
            )
            | _within(
                "clsim.training.losses.softmax",
                cross_entropy="cross_entropy",
                logit_adjusted_ce="logit_adjusted_cross_entropy",
            ),
            supplied=("logits", "targets", "counts"),
            plural="losses",
        ),
        Kind(
            "selection",
            "(labels float32 [n, k], seed, task, count, features float32 [n, d]) -> order int64 [n]; or a class as "
            "clsim.kit.Selection",
            shipped=_within(
                "clsim.training.memory.selection",
                class_balanced="ClassBalancedSelection",
                herding="HerdingSelection",
                random="RandomSelection",
                reservoir="ReservoirSelection",
            )
            | {
                "prs": "clsim.training.memory.partitioning_reservoir:PartitioningReservoir",
                "ocdm": "clsim.training.memory.class_distribution:ClassDistribution",
                "cbrs": "clsim.training.memory.class_balancing_reservoir:ClassBalancingReservoir",
                "label-density": "clsim.training.memory.label_density:LabelDensity",
                "rainbow": "clsim.training.memory.rainbow:RainbowSelection",
                "gss": "clsim.training.memory.gradient_selection:GradientSelection",
            },
            supplied=("labels", "seed", "task", "count", "features"),
        ),
        Kind(
            "sampler",
            "(member bool [n, K], seed, task, epoch) -> positions int64 [n]",
            shipped=_within(
                "clsim.training.sampling",
                shuffled="each_once",
                class_aware="class_aware",
                inverse_frequency="inverse_frequency",
            ),
            supplied=("member", "seed", "task", "epoch"),
        ),
        Kind(
            "schedule",
            "(optimizer, total_steps) -> LRScheduler, stepped after each step; or a scheduler of torch",
            "constructor",
            _within("clsim.training.optimization", one_cycle="one_cycle", constant="constant")
            | {name: f"torch.optim.lr_scheduler:{name}" for name in SCHEDULERS},
            ("optimizer", "total_steps", "T_max", "max_lr"),
        ),
        Kind(
            "optimizer",
            "a torch.optim.Optimizer, or a function (groups, lr) -> one",
            "constructor",
            {"adamw": "torch.optim:AdamW", "adam": "torch.optim:Adam", "sgd": "torch.optim:SGD"}
            | {name: f"torch.optim:{name}" for name in OPTIMIZERS},
            ("params", "groups", "lr", "weight_decay"),
        ),
        Kind(
            "augmentation",
            "uint8 [B, 3, H, W] -> uint8 of the same shape; v2/NAME: a torchvision transform, image by image",
            libraries={"v2": Library("torchvision.transforms.v2", "torchvision")},
        ),
        Kind(
            "metric",
            "(scores float [N, S], targets int8 [N, S], -1 unknown, images int64 [N], task) -> number, None, or a dict",
            supplied=("scores", "targets", "images", "task"),
            identified=False,
        ),
        Kind(
            "logger",
            "a subclass of avalanche.logging.BaseLogger, perhaps with begin(run) and end(result)",
            "object",
            {
                "tensorboard": "clsim.evaluation.tensorboard:TensorBoardCurves",
                "csv": "clsim.evaluation.loggers:CsvFile",
                "wandb": "clsim.evaluation.wandb_logger:WandbLogger",
                "mlflow": "clsim.evaluation.mlflow_logger:MlflowLogger",
            },
            ("path", "history", "hparams"),
            identified=False,
        ),
        Kind(
            "stream-rule",
            "(labels int8 [N, C], -1 unknown, tasks: column ranges (start, stop), seed) -> rows int64 [n] of each task",
            supplied=("labels", "tasks", "seed"),
            identified=False,
        ),
        Kind("report-section", "(results) -> clsim.report.section.Section, or None", identified=False),
    )
}
"""All kinds by name. A class with an attribute `Options` is called with one object of it, all else with keywords."""
