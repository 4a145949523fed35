"""What a scenario file may say: one typed model per section, unknown keys refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from clsim.data.class_options import SpellingsConfig
from clsim.data.coco import CocoConfig
from clsim.data.digits import DigitsConfig
from clsim.data.features import FeaturesConfig
from clsim.data.folder import FolderConfig
from clsim.data.listed_splits import ListedSplitsConfig
from clsim.data.manifest_config import ManifestConfig
from clsim.data.nuswide import NusWideConfig
from clsim.data.openimages import OpenImagesConfig
from clsim.data.own import ObjectConfig
from clsim.data.own_class import OwnConfig
from clsim.data.path_options import DATA_PATH
from clsim.data.voc import VocConfig
from clsim.parts import PartOption, brought
from clsim.scenario.evaluation_schema import EvaluationSection
from clsim.scenario.online_schema import check_training, with_batch_size
from clsim.scenario.section import PositiveInt, Section, either, named
from clsim.scenario.stream_schema import StreamSection
from clsim.scenario.training_schema import TrainingSection, WeightsSection


class Keep(Section):
    keep: float = Field(gt=0, le=1, description="probability that a label of the task is visible")


class KeepByClass(Section):
    per_class: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        min_length=1, description="probability that a label of a class is visible, by the name of the class"
    )
    others: float = Field(1.0, ge=0, le=1, description="the same of classes that are not named")


class SmallestBox(Section):
    smallest_box: float = Field(
        gt=0,
        lt=1,
        description="a present class is overlooked if its largest box is a smaller share of the image (needs boxes)",
    )
    unseen: Literal["absent", "unknown"] = Field(
        "absent", description="what an overlooked class reads as; unknown, where all else is known, gives it away"
    )


class MachineLabels(Section):
    confidences: Annotated[str, DATA_PATH] = Field(
        min_length=1,
        description="CSV file with the columns image, class and confidence (0 to 1); what it does not say is unknown; "
        "relative to the scenario",
    )
    present: float = Field(gt=0, le=1, description="confidence from which on a class reads as present")
    absent: float = Field(ge=0, le=1, description="confidence below which it reads as absent; between: unknown")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.absent > self.present:
            text = f"allowed: at most present, {self.present}"
            raise PydanticCustomError("misplaced", "{text}", {"below": ("absent",), "text": text})
        return self


class Imbalance(Section):
    imbalance: float = Field(ge=1, description="positives of the commonest class / of the rarest")


class ParetoShape(Section):
    alpha: float = Field(6.0, ge=0.01, description="power of the distribution")
    largest: PositiveInt | None = Field(
        None, description="positives of the commonest class, such as 800 (VOC-MLT); default: what it has"
    )
    smallest: PositiveInt = Field(1, description="positives that rare classes tend to")


class Pareto(Section):
    pareto: ParetoShape = Field(description="a Pareto profile, as of VOC-MLT and COCO-MLT (Wu et al., ECCV 2020)")


class Ids(Section):
    ids: Annotated[str, DATA_PATH] = Field(
        min_length=1, description="file with one training image id a line; relative to the scenario"
    )


class PerClass(Section):
    per_class: PositiveInt = Field(description="rows kept for each class of a task")


class Total(Section):
    total: PositiveInt = Field(description="rows kept in all, shared among the seen classes")


class Bytes(Section):
    bytes: PositiveInt = Field(
        description="bytes kept in all: rows (image and labels), and what methods store beside or in place of them"
    )


Visibility = Annotated[
    Annotated[Literal["task", "full", "single-positive"], Tag("keyword")]
    | Annotated[Keep, Tag("{keep}")]
    | Annotated[KeepByClass, Tag("{per_class}")]
    | Annotated[SmallestBox, Tag("{smallest_box}")]
    | Annotated[MachineLabels, Tag("{confidences}")],
    either(
        "task",
        "full",
        "{keep: 0.5}",
        "single-positive",
        "{per_class: {cat: 0.5}}",
        "{smallest_box: 0.01}",
        "{confidences: file.csv}",
    ),
]
LongTail = Annotated[
    Annotated[Literal["none"], Tag("keyword")]
    | Annotated[Imbalance, Tag("{imbalance}")]
    | Annotated[Pareto, Tag("{pareto}")]
    | Annotated[Ids, Tag("{ids}")],
    either("none", "{imbalance: 50}", "{pareto: {alpha: 6}}", "{ids: file}"),
]
Budget = Annotated[
    Annotated[Literal["none"], Tag("keyword")]
    | Annotated[PerClass, Tag("{per_class}")]
    | Annotated[Total, Tag("{total}")]
    | Annotated[Bytes, Tag("{bytes}")],
    either("none", "{per_class: 4}", "{total: 1000}", "{bytes: 1000000}"),
]


class DataSection(SpellingsConfig):
    """What every data set section offers beside the data set's own options."""

    classes: Literal["all", "used"] | list[str] = Field(
        "all", description="all, used: those that an image shows, or the classes to stream"
    )
    validation: float = Field(0.0, ge=0, lt=1, description="share of the training images kept for validation")
    validation_ids: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="file with one training image id a line, kept for validation; relative to the scenario",
    )
    test_ids: Annotated[str | None, DATA_PATH] = Field(
        None, min_length=1, description="file with one test image id a line: only these; relative to the scenario"
    )

    @model_validator(mode="after")
    def _one_validation(self) -> Self:
        if self.validation and self.validation_ids is not None:
            text = "not together with validation, a share"
            raise PydanticCustomError("misplaced", "{text}", {"below": ("validation_ids",), "text": text})
        return self

    @model_validator(mode="after")
    def _train_and_test(self) -> Self:
        if isinstance(self, ListedSplitsConfig) and self.test_ids is None and (shared := self.shared_splits()):
            text = f"allowed: another split than train has, or test_ids, which says what of {shared[0]} is for testing"
            raise PydanticCustomError("misplaced", "{text}", {"below": ("test",), "text": text})
        return self


class DigitsSection(DataSection, DigitsConfig):
    """`dataset: {name: digits, ...}`."""


class VocSection(DataSection, VocConfig):
    """`dataset: {name: voc, ...}`."""


class CocoSection(DataSection, CocoConfig):
    """`dataset: {name: coco, ...}`."""


class NusWideSection(DataSection, NusWideConfig):
    """`dataset: {name: nuswide, ...}`."""


class OpenImagesSection(DataSection, OpenImagesConfig):
    """`dataset: {name: openimages, ...}`."""


class ManifestSection(DataSection, ManifestConfig):
    """`dataset: {name: manifest, ...}`."""


class FolderSection(DataSection, FolderConfig):
    """`dataset: {name: folder, ...}`."""


class FeaturesSection(DataSection, FeaturesConfig):
    """`dataset: {name: features, ...}`."""


class OwnSection(DataSection, OwnConfig):
    """`dataset: {name: my_data.py:MyData, ...}`."""


class ObjectSection(DataSection, ObjectConfig):
    """The data set of `Scenario.with_source`."""


OWN = "path/to/file.py:Class"
ONLY_IN_PYTHON = "object"


def _name_of_dataset(value: object) -> str | None:
    name = value.get("name", value) if isinstance(value, dict) else getattr(value, "name", value)
    return None if name is value else OWN if brought("dataset", str(name)) else str(name)


DatasetSection = Annotated[
    Annotated[DigitsSection, Tag("digits")]
    | Annotated[VocSection, Tag("voc")]
    | Annotated[CocoSection, Tag("coco")]
    | Annotated[NusWideSection, Tag("nuswide")]
    | Annotated[OpenImagesSection, Tag("openimages")]
    | Annotated[ManifestSection, Tag("manifest")]
    | Annotated[FolderSection, Tag("folder")]
    | Annotated[FeaturesSection, Tag("features")]
    | Annotated[OwnSection, Tag(OWN)]
    | Annotated[SkipJsonSchema[ObjectSection], Tag(ONLY_IN_PYTHON)],
    Discriminator(_name_of_dataset),
    Field(description="where images and true labels come from"),
]


class NoiseSection(Section):
    false_negative: float = Field(0.0, ge=0, lt=1, description="probability that a visible positive reads as absent")
    false_positive: float = Field(0.0, ge=0, lt=1, description="probability that a visible negative reads as present")


class LabelsSection(Section):
    visible: Visibility = Field("task", description="which labels of a task's images are annotated")
    noise: NoiseSection = Field(NoiseSection(), description="annotation errors in the visible labels")
    long_tail: LongTail = Field(
        "none",
        description="thinning of the training images: to exponentially falling class counts, to a Pareto profile, or "
        "to the listed images",
    )


class MemorySection(Section):
    budget: Budget = Field("none", description="how much of earlier tasks may be kept")
    labels: Literal["as_seen", "oracle"] = Field(
        "as_seen", description="as_seen: rows keep the labels they came with; oracle: true labels (KRT's table only)"
    )


class LoggerSection(Section):
    name: Annotated[str, PartOption("logger")] = Field(
        description="tensorboard, csv, wandb, mlflow, or file.py:Class, relative to the scenario"
    )
    options: dict[str, Any] = Field({}, description="options of the logger; clsim parts logger NAME")


class CheckpointSection(Section):
    minutes: float | None = Field(
        5.0, gt=0, description="inside a task, save the run once this long has passed; null: at task ends only"
    )
    steps: PositiveInt | None = Field(None, description="inside a task, save the run after this many steps")
    keep: Literal["all", "last"] = Field(
        "last",
        description="trained models that a finished run has: of every task, or of the last one; what a later model "
        "shares with that of the first task is stored once",
    )


class ExpectedRow(Section):
    strategy: str = Field(description="strategy the value is for, such as lwf+er")
    metric: str = Field(description="last_mAP, avg_mAP, CF1@0.8 and the like; names as in results.csv")
    value: float = Field(description="percent or percent points")
    tolerance: float | None = Field(None, ge=0, description="how far a run may be off, same unit")
    source: str = Field(description="own or measured (by which command), or the paper and table")


class ScenarioConfig(Section):
    """A whole scenario file."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="also the run folder's name")
    source: str = Field("own", description="own, or the paper and table it follows")
    dataset: DatasetSection
    stream: StreamSection = Field(description="which classes arrive when, and who is in a task")
    labels: LabelsSection = Field(LabelsSection(), description="what is annotated")
    memory: MemorySection = Field(MemorySection(), description="what replay may keep")
    evaluation: EvaluationSection = Field(EvaluationSection(), description="what is scored, and how it is reported")
    training: TrainingSection = Field(description="network and optimisation, the same for every strategy")
    threads: Literal["auto"] | PositiveInt = Field("auto", description="CPU threads of a run, part of its identity")
    checkpoint: CheckpointSection = Field(
        CheckpointSection(), description="how often a run is saved, besides at task ends; no result depends on it"
    )
    loggers: list[Annotated[LoggerSection, BeforeValidator(named, json_schema_input_type=str | LoggerSection)]] = Field(
        [LoggerSection(name="tensorboard")], description="where curves go; no result depends on it"
    )
    expected: list[ExpectedRow] = Field([], description="results to compare with, measured or published")

    @model_validator(mode="before")
    @classmethod
    def _batches_of_an_online_stream(cls, data: Any) -> Any:
        return with_batch_size(data)

    @model_validator(mode="after")
    def _one_pass_over_an_online_stream(self) -> Self:
        if self.stream.online is not None:
            check_training(self.stream.online, self.training)
        return self

    @model_validator(mode="after")
    def _no_test_data_in_weights(self) -> Self:
        weights, name = self.training.model.weights, self.dataset.name
        if isinstance(weights, WeightsSection) and not weights.allow_test_data and _names(weights.trained_on, name):
            below = ("training", "model", "weights", "trained_on")
            text = f"which names the tested data set {name}; if that is meant, add weights.allow_test_data: true"
            raise PydanticCustomError("test_data", "{text}", {"below": below, "text": text})
        return self


def _names(trained_on: list[str], dataset: str) -> bool:
    """DECIDED: by substring, so that voc finds VOC2007, pascal-voc and the like; of a class by its own name."""
    name = re.split("[:/]", dataset)[-1].lower()
    return any(name in known.lower() for known in trained_on)
