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
        min_length=1, description="probability that a label of the class is visible, for each named class"
    )
    others: float = Field(1.0, ge=0, le=1, description="the same probability for classes that are not named")


class SmallestBox(Section):
    smallest_box: float = Field(
        gt=0,
        lt=1,
        description="a present class is missed if its largest box takes a smaller share of the image than this "
        "(needs boxes)",
    )
    unseen: Literal["absent", "unknown"] = Field(
        "absent", description="label of a missed class; unknown reveals it where all other labels are known"
    )


class MachineLabels(Section):
    confidences: Annotated[str, DATA_PATH] = Field(
        min_length=1,
        description="CSV file with the columns image, class and confidence (0 to 1); pairs that are not in it are"
        " unknown; relative to the scenario",
    )
    present: float = Field(gt=0, le=1, description="lowest confidence at which a class counts as present")
    absent: float = Field(
        ge=0, le=1, description="confidence below which a class counts as absent; between the two: unknown"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.absent > self.present:
            text = f"allowed: at most present, {self.present}"
            raise PydanticCustomError("misplaced", "{text}", {"below": ("absent",), "text": text})
        return self


class Imbalance(Section):
    imbalance: float = Field(
        ge=1, description="ratio of the positives of the most frequent class to those of the rarest"
    )


class ParetoShape(Section):
    alpha: float = Field(6.0, ge=0.01, description="exponent of the distribution")
    largest: PositiveInt | None = Field(
        None, description="positives of the most frequent class, such as 800 (VOC-MLT); default: all it has"
    )
    smallest: PositiveInt = Field(1, description="number of positives that rare classes approach")


class Pareto(Section):
    pareto: ParetoShape = Field(
        description="Pareto-shaped class counts, as in VOC-MLT and COCO-MLT (Wu et al., ECCV 2020)"
    )


class Ids(Section):
    ids: Annotated[str, DATA_PATH] = Field(
        min_length=1, description="file with one training image id per line; relative to the scenario"
    )


class PerClass(Section):
    per_class: PositiveInt = Field(description="rows kept for each class of a task")


class Total(Section):
    total: PositiveInt = Field(description="total number of rows kept, shared among the seen classes")


class Bytes(Section):
    bytes: PositiveInt = Field(
        description="total number of bytes kept: rows (image and labels), and what methods store beside them or "
        "in place of them"
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
        "all", description="classes to stream: all, used (shown by some image), or a list of names"
    )
    validation: float = Field(0.0, ge=0, lt=1, description="share of the training images kept for validation")
    validation_ids: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="file with the ids of the training images kept for validation, one per line; relative to the "
        "scenario",
    )
    test_ids: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="file with the ids of the test images to use, one per line; relative to the scenario",
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
    false_negative: float = Field(0.0, ge=0, lt=1, description="probability that a visible positive is shown as absent")
    false_positive: float = Field(
        0.0, ge=0, lt=1, description="probability that a visible negative is shown as present"
    )


class LabelsSection(Section):
    visible: Visibility = Field("task", description="which labels of a task's images are annotated")
    noise: NoiseSection = Field(NoiseSection(), description="annotation errors in the visible labels")
    long_tail: LongTail = Field(
        "none",
        description="remove training images, so that class counts fall exponentially or follow a Pareto profile, "
        "or keep only the listed images",
    )


class MemorySection(Section):
    budget: Budget = Field("none", description="how much may be kept of earlier tasks")
    labels: Literal["as_seen", "oracle"] = Field(
        "as_seen",
        description="labels of stored rows. as_seen: those that the stream showed; oracle: true labels, a control"
        " (KRT's released code)",
    )


class LoggerSection(Section):
    name: Annotated[str, PartOption("logger")] = Field(
        description="tensorboard, csv, wandb, mlflow, or file.py:Class, relative to the scenario"
    )
    options: dict[str, Any] = Field({}, description="options of the logger; clsim parts logger NAME")


class CheckpointSection(Section):
    minutes: float | None = Field(
        5.0, gt=0, description="minutes between checkpoints inside a task; null: checkpoints at task ends only"
    )
    steps: PositiveInt | None = Field(
        None, description="steps between checkpoints inside a task; default: by `minutes` only"
    )
    keep: Literal["all", "last"] = Field(
        "last",
        description="which trained models a finished run keeps: that of the last task, or those of all tasks; "
        "weights that equal those of the first task's model are stored once",
    )


class ExpectedRow(Section):
    strategy: str = Field(description="strategy to which the value belongs, such as lwf+er")
    metric: str = Field(description="name of the metric as in results.csv, such as last_mAP, avg_mAP, CF1@0.8")
    value: float = Field(description="value in percent or percent points")
    tolerance: float | None = Field(None, ge=0, description="largest accepted difference, in the same unit")
    source: str = Field(description="origin of the value: own or measured (with the command), or paper and table")


class ScenarioConfig(Section):
    """A whole scenario file."""

    name: str = Field(
        min_length=1,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of the scenario and of its folder of runs",
    )
    source: str = Field("own", description="own, or the paper and table that the scenario follows")
    dataset: DatasetSection
    stream: StreamSection = Field(description="which classes arrive when, and which images a task has")
    labels: LabelsSection = Field(LabelsSection(), description="which labels the learner sees")
    memory: MemorySection = Field(MemorySection(), description="what may be kept of earlier tasks")
    evaluation: EvaluationSection = Field(
        EvaluationSection(), description="which images are scored, when, and with which metrics"
    )
    training: TrainingSection = Field(description="network and optimisation, the same for every strategy")
    threads: Literal["auto"] | PositiveInt = Field("auto", description="CPU threads of a run, part of its identity")
    checkpoint: CheckpointSection = Field(
        CheckpointSection(), description="when a run is saved, in addition to task ends; results do not depend on it"
    )
    loggers: list[Annotated[LoggerSection, BeforeValidator(named, json_schema_input_type=str | LoggerSection)]] = Field(
        [LoggerSection(name="tensorboard")], description="where metrics are logged; results do not depend on it"
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
