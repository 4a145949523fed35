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
        description="a plain state dict (.pth, .safetensors) with the key names of the backbone or its library; "
        "relative to the scenario",
    )
    trained_on: list[str] = Field(description="data sets the weights have seen, such as imagenet-1k")
    source: str = Field(min_length=1, description="where the file came from")
    allow_test_data: bool = Field(
        False, description="take weights that were trained on the data set that they are tested on"
    )


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
        description="tiny-resnet, a classification model of torchvision (resnet18 ...), timm/NAME, open_clip/NAME, or "
        "file.py:Name, relative to the scenario; identity: none, for features",
    )
    options: dict[str, Any] = Field({}, description="options of the backbone; clsim parts backbone NAME")
    weights: Weights = Field("none", description="initial weights of the backbone and their provenance")
    freeze: Literal["none", "batch-norm", "backbone"] = Field(
        "none", description="batch-norm: its statistics; backbone: its weights too, so that only the head learns"
    )
    cache_features: bool | Literal["maps"] = Field(
        False,
        description="with `freeze: backbone`: each image goes through it once, in eval mode; heads train on that. "
        "maps: on what it makes its features from, for heads that read maps and others alike, in float16",
    )
    hidden: PositiveInt | None = Field(
        None, description="width of a trainable hidden layer with ReLU between backbone and head; default: none"
    )
    image_size: int = Field(32, ge=16, le=1024, description="side of the square input in pixels")
    mean: list[float] = Field([0.5, 0.5, 0.5], min_length=3, max_length=3, description="subtracted from RGB in 0..1")
    std: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 0.5, 0.5], min_length=3, max_length=3, description="then divided by"
    )
    channels_last: Literal["auto"] | bool = Field(
        "auto",
        description="memory layout of images and kernels; auto: on a CPU each convolution computes in the way that "
        "is fastest for its shape, on a GPU of NVIDIA as true, elsewhere as false",
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
        description="adamw (decays weights decoupled from gradients), adam, sgd, a name of torch.optim as RMSprop, or "
        "file.py:Name, relative to the scenario",
    )
    options: dict[str, Any] = Field({}, description="further options of the optimiser; clsim parts optimizer NAME")
    lr: float = Field(gt=0, description="peak learning rate of the first task")
    later_lr: float | None = Field(None, gt=0, description="peak learning rate of later tasks; default: lr")
    weight_decay: float = Field(0.0, ge=0, description="on weights, not on biases and norms")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")


class BceSection(Section):
    name: Literal["bce"] = Field(description="binary cross-entropy")


class FocalSection(Section):
    name: Literal["focal"] = Field(description="focal loss (Lin et al., ICCV 2017)")
    gamma: float = Field(2.0, ge=0, description="how much well-classified entries count less")
    alpha: float | None = Field(None, gt=0, lt=1, description="weight of positives; negatives get 1 - alpha")


class AslSection(Section):
    name: Literal["asl"] = Field(description="asymmetric loss (Ridnik et al., ICCV 2021)")
    gamma_neg: float = Field(4.0, ge=0, description="focusing of negatives")
    gamma_pos: float = Field(1.0, ge=0, description="focusing of positives; the KRT recipe has 0")
    clip: float = Field(0.05, ge=0, lt=1, description="probability below which a negative is dropped")


class DbSection(Section):
    name: Literal["db"] = Field(description="distribution-balanced loss (Wu et al., ECCV 2020)")
    alpha: float = Field(0.1, ge=0, description="least weight of an entry")
    beta: float = Field(10.0, ge=0, description="steepness of the weight as a function of the re-sampling rate r")
    mu: float = Field(0.3, description="r in the middle of the weights: 0.3 for VOC-MLT, 0.2 for COCO-MLT")
    kappa: float = Field(0.05, ge=0, description="how far the class prior shifts logits")
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
        "classes", description="each entry by its class, or all entries of an image by the mean of those it shows"
    )


class RldamSection(Section):
    name: Literal["rldam"] = Field(
        description="a margin between present and absent rows of a class, wider for rare ones (Zhang et al., AAAI 2025)"
    )
    margin: float = Field(0.6, ge=0, description="of a class with one positive; of one with n: margin n^(-1/4)")


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
    name: Annotated[str, PartOption("sampler")] = Field(description="as `sampler` itself")
    options: dict[str, Any] = Field({}, description="options of the sampler; clsim parts sampler NAME")


class ScheduleSection(Section):
    name: Annotated[str, PartOption("schedule")] = Field(description="as `schedule` itself")
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

    scale: Areas = Field([0.7, 1.0], description="area of the crop as a share of the image: least, most")
    ratio: Pair = Field([0.75, 1.333], description="width / height of the crop: least, most")


class ColourSection(Section):
    """Colours changed at random, as torchvision's ColorJitter does; 0 leaves out."""

    brightness: float = Field(0.0, ge=0, description="b: factor from 1 - b to 1 + b, not below 0")
    contrast: float = Field(0.0, ge=0, description="likewise, away from the image's mean grey")
    saturation: float = Field(0.0, ge=0, description="likewise, away from the grey image")
    hue: float = Field(0.0, ge=0, le=0.5, description="h: turned by -h to h of the colour circle")


class RandAugmentSection(Section):
    """RandAugment (Cubuk et al., NeurIPS 2020); defaults are torchvision's, the paper's for a ResNet-50 on ImageNet."""

    operations: PositiveInt = Field(2, description="operations in a row, each drawn anew")
    magnitude: Magnitude | Magnitudes = Field(
        9.0, description="strength of the operations, 0..30; or [least, most], drawn for each"
    )
    probability: Share = Field(1.0, description="of an operation to be carried out once drawn")
    pool: Literal["paper", "krt"] = Field(
        "paper", description="operations to draw from: the paper's 14, or the 15 of the code that KRT and ASL use"
    )


class AugmentationSection(Section):
    """Random changes of training images, in this order; never of images that are scored."""

    random_resized_crop: RandomResizedCropSection | None = Field(None, description="random crops; default: none")
    flip: Share = Field(0.0, description="probability of a horizontal flip")
    colour: ColourSection | None = Field(None, description="random brightness, contrast, saturation, hue")
    cutout: Share = Field(0.0, description="side of a square of random colour, as a share of the image's; 0: none")
    randaugment: RandAugmentSection | None = Field(None, description="RandAugment; default: none")
    name: Annotated[str | None, PartOption("augmentation")] = Field(
        None,
        description="before all of these: file.py:Name, relative to the scenario, or v2/NAME of torchvision.transforms",
    )
    options: dict[str, Any] = Field({}, description="options of what `name` names; clsim parts augmentation NAME")


class TrainingSection(Section):
    model: ModelSection = Field(ModelSection(), description="network")
    loss: LossSection = Field(
        BceSection(name="bce"), description="classification loss, unless a strategy brings its own"
    )
    augmentation: Literal["none"] | AugmentationSection = Field(
        "none", description="random changes of training images; the same for every strategy"
    )
    epochs: int = Field(ge=0, description="passes over each task's images; 0: none, for heads in closed form")
    batch_size: PositiveInt = Field(64, description="new images in a step; replay adds its own")
    sampler: Annotated[str | SamplerSection, PartOption("sampler", "")] = Field(
        "shuffled",
        description="new rows of an epoch: shuffled, each once; or as many draws: class-aware, with equal turns of all "
        "classes, inverse-frequency, with probability 1 / frequency of a row's rarest class, or by file.py:Name",
    )
    optimizer: OptimizerSection = Field(description="built anew for each task")
    schedule: Annotated[str | ScheduleSection, PartOption("schedule", "")] = Field(
        "one-cycle",
        description="learning rate inside a task: one-cycle, constant, a name of torch.optim.lr_scheduler such as "
        "CosineAnnealingLR, or file.py:Name",
    )
    clip_norm: float | None = Field(None, gt=0, description="largest norm of all gradients together; default: no limit")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the forward pass; bfloat16 by autocast, losses and weights stay float32"
    )
    data: Literal["auto", "device", "host"] = Field(
        "auto",
        description="where images are for a run on a GPU: device: all in its memory; host: each batch is sent; auto: "
        "in its memory if they take at most a fourth of what is free there; no number depends on it",
    )
    compile: Literal["none", "backbone"] = Field(
        "none",
        description="on a GPU of NVIDIA: have torch.compile make kernels for the backbone, which takes minutes at the "
        "first step and changes last bits; without effect on other devices",
    )
    tf32: bool = Field(
        False,
        description="on a GPU of NVIDIA: faster convolutions and products, of float32 numbers cut to 10 bits of "
        "mantissa; without effect on other devices",
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
