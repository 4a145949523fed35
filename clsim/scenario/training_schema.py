"""The section `training` of a scenario file: network, loss, augmentation, optimiser."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from clsim.data.path_options import FILE_CONTENT
from clsim.model_names import NO_BACKBONE, TORCHVISION
from clsim.part_kinds import KINDS
from clsim.parts import PartOption, brought, library_of
from clsim.scenario.section import PositiveInt, Section


class WeightsSection(Section):
    file: Annotated[str, FILE_CONTENT] = Field(
        min_length=1,
        description="file with a plain state dict (.pth, .safetensors) and the key names of the backbone or its "
        "library; relative to the scenario",
    )
    trained_on: list[str] = Field(description="data sets the weights have seen, such as imagenet-1k")
    source: str = Field(min_length=1, description="where the file came from")
    allow_test_data: bool = Field(False, description="allow weights that were trained on the data set used for testing")


class TorchvisionSection(Section):
    torchvision: Literal["IMAGENET1K_V1", "IMAGENET1K_V2", "IMAGENET1K_SWAG_E2E_V1", "IMAGENET1K_SWAG_LINEAR_V1"] = (
        Field(
            description="ImageNet weights of this name, which torchvision downloads once and keeps (folder: TORCH_HOME)"
        )
    )


class PretrainedSection(Section):
    pretrained: str = Field(
        min_length=1, description="weights of this tag, which timm or open_clip downloads once and keeps (HF_HOME)"
    )


def _form_of_weights(value: Any) -> str | None:
    """Tag of a form; none of the tags is a key of a form, so that errors can tell one from the other."""
    if value == "none":
        return "keyword"
    keys = set(type(value).model_fields if isinstance(value, BaseModel) else value if isinstance(value, dict) else ())
    if "torchvision" in keys:
        return "by name"
    if "pretrained" in keys:
        return "by tag"
    return "by file" if keys & WeightsSection.model_fields.keys() else None


Weights = Annotated[
    Annotated[Literal["none"], Tag("keyword")]
    | Annotated[WeightsSection, Tag("by file")]
    | Annotated[TorchvisionSection, Tag("by name")]
    | Annotated[PretrainedSection, Tag("by tag")],
    Discriminator(
        _form_of_weights,
        custom_error_type="one_of",
        custom_error_message="allowed: none | {torchvision: IMAGENET1K_V1} | {pretrained: TAG} | "
        "{file: x, trained_on: [..], source: y}",
        custom_error_context={},
    ),
]


class ModelSection(Section):
    name: Annotated[str, PartOption("backbone")] = Field(
        "tiny-resnet",
        description="tiny-resnet, a classification model of torchvision (such as resnet18), timm/NAME, "
        "open_clip/NAME, or file.py:Name relative to the scenario; identity: no backbone, for data "
        "sets of features",
    )
    options: dict[str, Any] = Field({}, description="options of the backbone; clsim parts backbone NAME")
    weights: Weights = Field("none", description="initial weights of the backbone and their provenance")
    freeze: Literal["none", "batch-norm", "backbone"] = Field(
        "none",
        description="batch-norm: freeze its statistics; backbone: freeze all weights of the backbone too, so that"
        " only the hidden layer and the head learn",
    )
    cache_features: bool | Literal["maps"] = Field(
        False,
        description="with `freeze: backbone`: compute the features of each image once, in eval mode, and train on"
        " them. maps: cache the maps before pooling, in float16, for heads that read maps; other "
        "heads use them too",
    )
    hidden: PositiveInt | None = Field(
        None,
        description="width of a trainable hidden layer with ReLU between backbone and head; default: no such layer",
    )
    image_size: int = Field(32, ge=16, le=1024, description="side of the square input in pixels")
    mean: list[float] = Field(
        [0.5, 0.5, 0.5],
        min_length=3,
        max_length=3,
        description="mean of each colour channel (RGB, range 0..1), subtracted from images",
    )
    std: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 0.5, 0.5],
        min_length=3,
        max_length=3,
        description="standard deviation of each colour channel, by which images are then divided",
    )
    channels_last: Literal["auto"] | bool = Field(
        "auto",
        description="channels-last memory layout of images and kernels; auto: on a CPU the fastest layout for "
        "each convolution, on an NVIDIA GPU true, elsewhere false",
    )

    @field_validator("cache_features")
    @classmethod
    def _frozen_first(cls, value: bool | str, info: ValidationInfo) -> bool | str:
        frozen = info.data.get("freeze", "backbone")  # absent: it has an error of its own
        if value and frozen != "backbone":
            raise ValueError(f"allowed only with freeze: backbone, here it is {frozen}")
        return value

    @model_validator(mode="after")
    def _library_has_weights(self) -> Self:
        if isinstance(self.weights, TorchvisionSection) and self.name not in TORCHVISION:
            text = f"{self.name} is not torchvision's; allowed: none, or a file"
            raise PydanticCustomError("no_weights", "{text}", {"below": ("weights",), "text": text})
        if isinstance(self.weights, PretrainedSection) and library_of("backbone", self.name) is None:
            text = f"{self.name} is not of timm or open_clip; allowed: none, or a file"
            raise PydanticCustomError("no_weights", "{text}", {"below": ("weights",), "text": text})
        return self

    @model_validator(mode="after")
    def _identity_has_none(self) -> Self:
        if self.name == NO_BACKBONE:
            for key, what in (("weights", "weights"), ("freeze", "weights"), ("options", "options")):
                if getattr(self, key) not in ("none", {}):
                    text = f"allowed: none, because {NO_BACKBONE} has no {what}"
                    raise PydanticCustomError("no_weights", "{text}", {"below": (key,), "text": text})
        return self


class OptimizerSection(Section):
    name: Annotated[str, PartOption("optimizer")] = Field(
        "adamw",
        description="adamw (weight decay decoupled from gradients), adam, sgd, a name of torch.optim such as "
        "RMSprop, or file.py:Name relative to the scenario",
    )
    options: dict[str, Any] = Field({}, description="further options of the optimiser; clsim parts optimizer NAME")
    lr: float = Field(gt=0, description="peak learning rate of the first task")
    later_lr: float | None = Field(None, gt=0, description="peak learning rate of later tasks; default: lr")
    weight_decay: float = Field(
        0.0, ge=0, description="weight decay, applied to weights but not to biases and normalisation layers"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")


class BceSection(Section):
    name: Literal["bce"] = Field(description="binary cross-entropy")


class FocalSection(Section):
    name: Literal["focal"] = Field(description="focal loss (Lin et al., ICCV 2017)")
    gamma: float = Field(2.0, ge=0, description="exponent that reduces the weight of well-classified entries")
    alpha: float | None = Field(None, gt=0, lt=1, description="weight of positives; negatives get 1 - alpha")


class AslSection(Section):
    name: Literal["asl"] = Field(description="asymmetric loss (Ridnik et al., ICCV 2021)")
    gamma_neg: float = Field(4.0, ge=0, description="focusing exponent of negatives")
    gamma_pos: float = Field(1.0, ge=0, description="focusing exponent of positives; KRT uses 0")
    clip: float = Field(
        0.05, ge=0, lt=1, description="shift of a negative's probability; below it the negative has no loss"
    )


class DbSection(Section):
    name: Literal["db"] = Field(description="distribution-balanced loss (Wu et al., ECCV 2020)")
    alpha: float = Field(0.1, ge=0, description="smallest weight of an entry")
    beta: float = Field(10.0, ge=0, description="steepness of the weight as a function of the re-sampling rate r")
    mu: float = Field(
        0.3, description="value of r at the middle of the weight curve: 0.3 for VOC-MLT, 0.2 for COCO-MLT"
    )
    kappa: float = Field(0.05, ge=0, description="scale of the shift of logits by the class prior")
    lam: float = Field(5.0, gt=0, description="scale of negative logits: 5 for VOC-MLT, 2 for COCO-MLT")
    gamma: float = Field(2.0, ge=0, description="focal factor; 0: none")


class LogitAdjustedSection(Section):
    name: Literal["logit-adjusted"] = Field(
        description="binary cross-entropy on logits plus the log odds of the class prior (Menon et al., ICLR 2021)"
    )
    tau: float = Field(1.0, ge=0, description="factor of the log odds")


class ClassBalancedSection(Section):
    name: Literal["class-balanced"] = Field(
        description="binary cross-entropy weighted by the effective number of samples (Cui et al., CVPR 2019)"
    )
    beta: float = Field(0.9, ge=0, lt=1, description="0: no weights; towards 1: inverse frequency")
    weigh: Literal["classes", "images"] = Field(
        "classes",
        description="classes: weigh each entry by its class; images: weigh all entries of an image by the mean "
        "weight of the classes it shows",
    )


class RldamSection(Section):
    name: Literal["rldam"] = Field(
        description="margin between present and absent rows of a class, larger for rare classes (Zhang et al., "
        "AAAI 2025)"
    )
    margin: float = Field(
        0.6, ge=0, description="margin of a class with one positive; a class with n positives has margin n^(-1/4)"
    )


class CrossEntropySection(Section):
    name: Literal["cross-entropy"] = Field(description="softmax over the known classes, for single-label data")


class LogitAdjustedCeSection(Section):
    name: Literal["logit-adjusted-ce"] = Field(
        description="softmax on logits plus the log class prior, for single-label data (Menon et al., ICLR 2021)"
    )
    tau: float = Field(1.0, ge=0, description="factor of the log prior")


class OwnLossSection(Section):
    name: Annotated[str, PartOption("loss")] = Field(
        description="file.py:Name, relative to the scenario, or the name of an entry point",
        examples=["my_loss.py:symmetric"],
        json_schema_extra={"not": {"enum": list(KINDS["loss"].shipped)}},
    )
    options: dict[str, Any] = Field({}, description="options of the loss; clsim parts loss NAME")


ShippedLossSection = Annotated[
    BceSection
    | FocalSection
    | AslSection
    | DbSection
    | LogitAdjustedSection
    | ClassBalancedSection
    | RldamSection
    | CrossEntropySection
    | LogitAdjustedCeSection,
    Field(discriminator="name"),
]
SOFTMAX_LOSSES = ("cross-entropy", "logit-adjusted-ce")
"""Losses over the classes of a row, which take no soft labels."""


def _whose_loss(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return "own" if isinstance(name, str) and brought("loss", name) else "shipped"


LossSection = Annotated[
    Annotated[ShippedLossSection, Tag("shipped")] | Annotated[OwnLossSection, Tag("own")], Discriminator(_whose_loss)
]


class SamplerSection(Section):
    name: Annotated[str, PartOption("sampler")] = Field(description="name of the sampler, see `sampler`")
    options: dict[str, Any] = Field({}, description="options of the sampler; clsim parts sampler NAME")


class ScheduleSection(Section):
    name: Annotated[str, PartOption("schedule")] = Field(description="name of the schedule, see `schedule`")
    options: dict[str, Any] = Field({}, description="options of the schedule; clsim parts schedule NAME")


def name_and_options(choice: str | SamplerSection | ScheduleSection) -> tuple[str, dict[str, Any]]:
    """Return what `name` or `{name: ..., options: {...}}` says."""
    return (choice, {}) if isinstance(choice, str) else (choice.name, choice.options)


def _ascending(value: list[float]) -> list[float]:
    if value[0] > value[1]:
        raise ValueError("allowed: the smaller number first")
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Magnitude = Annotated[float, Field(ge=0, le=30)]
Pair = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
Areas = Annotated[
    list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]
Magnitudes = Annotated[list[Magnitude], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


class RandomResizedCropSection(Section):
    """Random crops, scaled to the input's size (Szegedy et al., CVPR 2015).

    DECIDED: areas from 0.7 by default, not from 0.08 as for single-label ImageNet: a small crop loses objects that its
    labels still name.
    """

    scale: Areas = Field([0.7, 1.0], description="range of the crop's area as a share of the image: [min, max]")
    ratio: Pair = Field([0.75, 1.333], description="range of width / height of the crop: [min, max]")


class ColourSection(Section):
    """Colours changed at random, as torchvision's ColorJitter does; 0 leaves out."""

    brightness: float = Field(0.0, ge=0, description="b: random factor between max(0, 1 - b) and 1 + b")
    contrast: float = Field(0.0, ge=0, description="likewise, for the distance to the image's mean grey")
    saturation: float = Field(0.0, ge=0, description="likewise, for the distance to the grey image")
    hue: float = Field(
        0.0, ge=0, le=0.5, description="h: random rotation of the hue between -h and h of the colour circle"
    )


class RandAugmentSection(Section):
    """RandAugment (Cubuk et al., NeurIPS 2020); defaults are torchvision's, the paper's for a ResNet-50 on ImageNet."""

    operations: PositiveInt = Field(
        2, description="number of operations applied one after another, each drawn independently"
    )
    magnitude: Magnitude | Magnitudes = Field(
        9.0, description="strength of the operations, 0..30; or [min, max], drawn for each operation"
    )
    probability: Share = Field(1.0, description="probability that a drawn operation is applied")
    pool: Literal["paper", "krt"] = Field(
        "paper", description="operations to draw from: the paper's 14, or the 15 of the code that KRT and ASL use"
    )


class AugmentationSection(Section):
    """Random changes of training images, in this order; never of images that are scored."""

    random_resized_crop: RandomResizedCropSection | None = Field(None, description="random crops; default: none")
    flip: Share = Field(0.0, description="probability of a horizontal flip")
    colour: ColourSection | None = Field(None, description="random brightness, contrast, saturation, hue")
    cutout: Share = Field(
        0.0, description="side of a square that is filled with a random colour, as a share of the image's side; 0: none"
    )
    randaugment: RandAugmentSection | None = Field(None, description="RandAugment; default: none")
    name: Annotated[str | None, PartOption("augmentation")] = Field(
        None,
        description="transform applied before all others: file.py:Name relative to the scenario, or v2/NAME of "
        "torchvision.transforms",
    )
    options: dict[str, Any] = Field({}, description="options of the transform `name`; clsim parts augmentation NAME")


class TrainingSection(Section):
    model: ModelSection = Field(ModelSection(), description="network")
    loss: LossSection = Field(
        BceSection(name="bce"), description="classification loss, unless a strategy brings its own"
    )
    augmentation: Literal["none"] | AugmentationSection = Field(
        "none", description="random changes of training images; the same for every strategy"
    )
    epochs: int = Field(
        ge=0, description="passes over each task's images; 0: no training steps, for heads in closed form"
    )
    batch_size: PositiveInt = Field(64, description="new images per step; replay adds its rows to them")
    sampler: Annotated[str | SamplerSection, PartOption("sampler", "")] = Field(
        "shuffled",
        description="which new rows an epoch uses. shuffled: each row once. The others draw equally many rows "
        "with repetition: class-aware: all classes in equal turns; inverse-frequency: with "
        "probability 1 / frequency of a row's rarest class; file.py:Name: your own",
    )
    optimizer: OptimizerSection = Field(description="optimiser, created anew for each task")
    schedule: Annotated[str | ScheduleSection, PartOption("schedule", "")] = Field(
        "one-cycle",
        description="learning rate schedule inside a task: one-cycle, constant, a name of "
        "torch.optim.lr_scheduler such as CosineAnnealingLR, or file.py:Name",
    )
    clip_norm: float | None = Field(
        None, gt=0, description="largest norm of the whole gradient, clipped above it; default: no limit"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of the forward pass; bfloat16 uses autocast; losses and weights stay float32"
    )
    data: Literal["auto", "device", "host"] = Field(
        "auto",
        description="where images are kept in a run on a GPU: device: all in GPU memory; host: each batch is "
        "sent; auto: GPU memory if they take at most a quarter of what is free there; results do not "
        "depend on it",
    )
    compile: Literal["none", "backbone"] = Field(
        "none",
        description="compile the backbone with torch.compile on an NVIDIA GPU; takes minutes at the first step "
        "and changes results in the last bits; no effect on other devices",
    )
    tf32: bool = Field(
        False,
        description="faster convolutions and matrix products on an NVIDIA GPU, with float32 inputs cut to a "
        "mantissa of 10 bits; no effect on other devices",
    )

    @model_validator(mode="after")
    def _features_are_of_images_as_they_are(self) -> Self:
        if self.augmentation != "none" and self.model.cache_features:
            text = "allowed: none, because training.model.cache_features computes each image's features only once"
            raise PydanticCustomError("no_images", "{text}", {"below": ("augmentation",), "text": text})
        if self.augmentation != "none" and self.model.name == NO_BACKBONE:
            text = f"allowed: none, because training.model.name {NO_BACKBONE} takes features, which are no images"
            raise PydanticCustomError("no_images", "{text}", {"below": ("augmentation",), "text": text})
        return self
