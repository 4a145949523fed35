"""What a scenario file may say of its evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag

from clsim.data.path_options import DATA_PATH
from clsim.parts import PartOption
from clsim.scenario.section import PositiveInt, Section, either, named


class GivenImages(Section):
    given: Annotated[str, DATA_PATH] = Field(
        min_length=1,
        description="CSV file with the columns image and task, tasks counted from 0; relative to the scenario",
    )
    lists: Literal["cumulative", "per-task"] = Field(
        "cumulative", description="after task t: the images of tasks 0 to t, or of task t alone"
    )


class EveryImages(Section):
    images: PositiveInt = Field(
        description="number of new training images between two evaluation passes. An image counts in each epoch, "
        "replayed images do not count. The pass follows the step that reaches the number"
    )


ScoredImages = Annotated[
    Annotated[Literal["seen", "all"], Tag("keyword")] | Annotated[GivenImages, Tag("{given}")],
    either("seen", "all", "{given: images.csv}"),
]
Every = Annotated[
    Annotated[Literal["task", "epoch"], Tag("keyword")] | Annotated[EveryImages, Tag("{images}")],
    either("task", "epoch", "{images: 1000}"),
]


class MetricSection(Section):
    name: Annotated[str, PartOption("metric")] = Field(description="file.py:function, relative to the scenario")
    options: dict[str, Any] = Field({}, description="keyword parameters of the function")


class EvaluationSection(Section):
    every: Every = Field(
        "task",
        description="when the model is scored: after each task; with the other values also inside tasks, after "
        "each epoch or after n training images",
    )
    on: Literal["test", "validation"] = Field("test", description="the images that are scored")
    images: ScoredImages = Field(
        "seen", description="mAP over images with at least one seen class, over all images, or over listed ones"
    )
    thresholds: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.5, 0.8], min_length=1, description="probabilities above which a class counts as predicted"
    )
    groups: Literal["counts", "terciles", "auto"] = Field(
        "auto", description="counts: head >= 100 positives, medium 20-99, tail < 20; auto: terciles if a group is empty"
    )
    empty_classes: Literal["skip", "zero"] = Field(
        "skip",
        description="classes without a positive test image: skip leaves them out of means over classes (mAP, CF1,"
        " groups), zero counts them as 0 (KRT, ASL)",
    )
    samples: int = Field(
        12,
        ge=0,
        le=48,
        description="number of evaluation images, and equally many training images, that TensorBoard shows with "
        "labels and predictions; 0: none",
    )
    pictures: Literal["every", "sparse", "last", "none"] = Field(
        "sparse",
        description="after which tasks pictures and precision-recall curves are drawn for TensorBoard: every "
        "task; sparse: after 1, 2, 4, 8, ... tasks and the last; the last task; or none. Results do "
        "not depend on it",
    )
    keep_scores: Literal["last", "all", "none"] = Field(
        "last",
        description="logits of the evaluated images that a run keeps for `clsim evaluate`: after the last task, "
        "after every task, or none. Results do not depend on it",
    )
    metrics: list[Annotated[MetricSection, BeforeValidator(named, json_schema_input_type=str | MetricSection)]] = Field(
        [], description="your own functions that are called after each task, such as my_metrics.py:micro_auc"
    )

    @property
    def score_every(self) -> Literal["task", "epoch"] | int:
        """What `every` says: task, epoch, or the number of images."""
        return self.every.images if isinstance(self.every, EveryImages) else self.every
