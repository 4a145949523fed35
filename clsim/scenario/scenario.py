"""Scenario: a validated configuration with its data, plan and benchmark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cached_property
from importlib import resources
from os.path import isfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.own import object_source, remember
from clsim.data.path_options import make_absolute
from clsim.data.source import FeatureSource, ImageSource, NotingSource, Split
from clsim.data.sources import open_source
from clsim.errors import RunError, ScenarioError, Unplannable, did_you_mean
from clsim.html_table import html_table
from clsim.model_names import NO_BACKBONE
from clsim.scenario.document import Document, parse_assignment, plain, read_document
from clsim.scenario.plan.description import plan_notes
from clsim.scenario.plan.planning import StreamData, build_plan
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.read_data import read_data
from clsim.scenario.schema import DataSection, ObjectSection, ScenarioConfig
from clsim.scenario.validate import validate
from clsim.sealing import refuse_sealed

if TYPE_CHECKING:
    from clsim.scenario.stream.benchmark import MultiLabelBenchmark


class Scenario:
    """One stream, the same for every strategy.

    Args:
        config: the validated configuration.
        source: images and true labels in place of the data set that `config.dataset` names: for `plan` and `benchmark`.
            `clsim.run` and `clsim.compare` refuse it, because a run reads the configured data set.
        document: where the configuration was written, for error messages.

    Attributes:
        config, source, document: as given; without one, `source` is the configured data set.
    """

    def __init__(
        self, config: ScenarioConfig, source: ImageSource | None = None, document: Document | None = None
    ) -> None:
        self.config = config
        self.document = document or Document(config.name, {})
        with self.located():
            self._source: ImageSource | None = open_source(config.dataset) if source is None else source
        self._configured = self._source if source is None else None

    @property
    def source(self) -> ImageSource:
        """Images and true labels; closed while a run trains.

        Raises:
            Sealed: a run trains in this process.
        """
        refuse_sealed("Scenario.source")
        if self._source is None:
            raise RunError("Scenario.source: its labels have been forgotten, because a run trains on them")
        return self._source

    @source.setter
    def source(self, source: ImageSource) -> None:
        self._source = source

    @property
    def name(self) -> str:
        return self.config.name

    def _repr_html_(self) -> str:
        """Return what the file says, and the plan if it is made; reads no data."""
        content = self.config.model_dump(mode="json", exclude_unset=True)
        rows = [(key, _lines(value)) for key, value in content.items()]
        return "\n".join([html_table(rows), *([self._plan._repr_html_()] if "_plan" in self.__dict__ else [])])

    @property
    def has_own_source(self) -> bool:
        """Whether `source` is another than the data set that the configuration names."""
        return self._source is not self._configured

    def with_source(self, train: Any, test: Any = None) -> Scenario:
        """Return this scenario on other data, given as objects: for `plan`, `benchmark` and `clsim.run`.

        `clsim.compare`, whose runs are other processes, refuses objects: give it a file, as
        `dataset: {name: my_data.py:MyData}`.

        Args:
            train: a map-style data set of (image, labels) with `classes`; see `clsim.data.own`. Or, alone, an
                `ImageSource`.
            test: the same for the test images.

        Raises:
            ScenarioError: neither of them, or labels that cannot be read.
        """
        with self.located():
            source = object_source(train, test)
            options = remember(source, type(train).__name__)
        old = self.config.dataset
        section = ObjectSection(**options.model_dump(), **{key: getattr(old, key) for key in DataSection.model_fields})
        return Scenario(self.config.model_copy(update={"dataset": section}), document=self.document)

    def with_overrides(
        self, overrides: Mapping[str, Any], origins: Mapping[str, str] = MappingProxyType({})
    ) -> Scenario:
        """Return this scenario with other values of some keys, on the same source of images.

        What has been read of the data is shared where no key of another section than `training` and `memory` changes,
        because no stream depends on these two.

        Args:
            overrides: {"training.epochs": 2}.
            origins: key of `overrides` -> where it was written, for error messages.

        Raises:
            ScenarioError: an unknown key, or a value that it cannot have.
        """
        document = self._written()
        _override(document, overrides, origins)
        made = Scenario(validate(document), self.source, document)
        made._configured = made._source if not self.has_own_source else None
        if all(key.partition(".")[0] in ("training", "memory") for key in overrides):
            shared = ("_data", "_plan", "fingerprint", "labels_sha256")
            vars(made).update({name: vars(self)[name] for name in shared if name in vars(self)})
        return made

    def _written(self) -> Document:
        """Return the configuration as it was written, if it is still that, else with every default; a copy."""
        document = Document(self.document.name, deepcopy(self.document.data), dict(self.document.origins))
        with suppress(ScenarioError):
            if validate(document) == self.config:
                return document
        return Document(document.name, self.config.model_dump(mode="json"), document.origins)

    def plan(self) -> StreamPlan:
        """The stream, extensionally: needs labels, no images; computed once.

        Raises:
            ScenarioError: the configuration makes no stream of its data; with file, line and key.
            Sealed: a run trains in this process.
        """
        refuse_sealed("Scenario.plan()")
        return self._plan

    @cached_property
    def _plan(self) -> StreamPlan:
        with self.located():
            return build_plan(self.config, self._data)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Errors of the data leave this block with the file and line of the key they belong to."""
        try:
            yield
        except Unplannable as error:
            raise ScenarioError([self.document.problem(error.path, error.text)]) from None

    def truth(self) -> NDArray[np.int8]:
        """True training labels in stream order, int8 [N, C]: for evaluators and derived plans, never for a learner.

        Raises:
            Sealed: a run trains in this process.
        """
        refuse_sealed("Scenario.truth()")
        return self._data.train

    def soft_truth(self) -> NDArray[np.float32] | None:
        """Soft training labels in stream order, float32 [N, C], 0 where a label is not soft; None: no label is.

        Raises:
            Sealed: a run trains in this process.
        """
        refuse_sealed("Scenario.soft_truth()")
        return self._data.soft

    def forget_labels(self) -> None:
        """Drop the data set and what has been read of it, so that this object leads to no label any more."""
        self._source = self._configured = None
        for name in ("_data", "_plan"):
            vars(self).pop(name, None)

    @cached_property
    def _data(self) -> StreamData:
        return read_data(self.config, self.source)

    def data_notes(self) -> list[str]:
        """Return what was left out of the data, joined or taken in a way that somebody should know, a line each."""
        with self.located():
            own = self.source.notes() if isinstance(self.source, NotingSource) else []
            return [*own, *self._data.notes]

    def notes(self) -> list[str]:
        """Return what somebody should know who runs this stream, a line each: of its data, and of its plan.

        The latter are classes and tasks that teach or test little, see `plan_notes`.
        """
        return plan_notes(self.plan(), self.data_notes())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what determines the images, as their source makes it; computed once."""
        with self.located():
            return self.source.fingerprint()

    @cached_property
    def labels_sha256(self) -> str:
        """SHA-256 of all true labels of the streamed classes, also of those that no plan shows; computed once.

        DECIDED: of what was read, not of the bytes of label files, id lists and tables, so that a comment in one of
        them, or the order of its lines, does not make another run.
        """
        with self.located():
            data = self._data
        digest = hashlib.sha256(repr((data.class_names, data.train.shape, data.test.shape)).encode())
        digest.update(data.train.data)
        digest.update(data.test.data)
        if data.soft is not None:
            digest.update(data.soft.data)
        return digest.hexdigest()

    def benchmark(
        self,
        plan: StreamPlan | None = None,
        features: Mapping[Split, NDArray[np.floating[Any]]] | None = None,
        for_run: bool = False,
    ) -> MultiLabelBenchmark:
        """Return the Avalanche benchmark of a plan; imports torch and Avalanche.

        Args:
            plan: what is streamed; None: the scenario's own plan.
            features: float32 [N, d], or maps float16 [N, ...], of each split, in the place of its images.
            for_run: without `test_stream`, and rows are closed until their task begins, as a method meets them.

        Raises:
            Sealed: a run trains in this process.
        """
        from clsim.scenario.stream.benchmark import MultiLabelBenchmark

        model = self.config.training.model
        with self.located():
            return MultiLabelBenchmark(
                plan or self.plan(), self.source, model.image_size, model.mean, model.std, features, for_run
            )

    def check_images(self) -> None:
        """Raise ScenarioError unless the source has images of the model's size, or features for a model without a
        backbone; reads no image."""
        model, features = self.config.training.model, isinstance(self.source, FeatureSource)
        with self.located():
            if features and model.name != NO_BACKBONE:
                text = f"given {model.name!r}, but the data are features; allowed: {NO_BACKBONE}"
                raise Unplannable(("training", "model", "name"), text)
            if model.name == NO_BACKBONE and not features:
                text = f"given {NO_BACKBONE!r}, which takes features, but the data are images"
                raise Unplannable(("training", "model", "name"), text)
            self.source.check_size(model.image_size)


def shipped_scenarios() -> dict[str, Path]:
    """Name -> file of the scenarios that come with clsim, sorted by name."""
    folder = Path(str(resources.files("clsim.scenarios")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_scenario(
    scenario: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Iterable[str] = (),
    origins: Mapping[str, str] = MappingProxyType({}),
) -> Scenario:
    """Read a scenario by path or shipped name, or check one that is given as a mapping.

    Args:
        scenario: path of a YAML file, a name such as "digits-b0c2", or what a file would hold:
            `{"name": "mine", "dataset": {"name": "digits"}, ...}`, with relative paths from the working directory.
        overrides: `{"training.epochs": 2}`, or texts such as "training.epochs=2" with a YAML value.
        origins: key of `overrides` -> where it was written, for error messages.

    Raises:
        ScenarioError: no such scenario, or problems in it, each with file, line and key.

    Example:
        >>> scenario = load_scenario("digits-b0c2", {"stream.increment": 4, "dataset.train": 60})
        >>> plan = scenario.plan()
        >>> [plan.names(task) for task in plan.tasks]
        [['0', '1', '2', '3'], ['4', '5', '6', '7'], ['8', '9']]
    """
    if isinstance(scenario, Mapping):
        document, folder = Document("scenario", plain(scenario, "scenario")), Path.cwd()
    elif isinstance(scenario, str | Path):
        path = _find(scenario)
        document, folder = read_document(path), path.resolve().parent
    else:
        raise ScenarioError(
            [f"scenario: given {type(scenario).__name__}, expected a path, a shipped name, a mapping or clsim.Scenario"]
        )
    make_absolute(document.data, ScenarioConfig, folder)  # before what --set or Python give, from elsewhere
    _override(document, overrides, origins)
    return Scenario(validate(document), document=document)


def open_dataset(name: str, overrides: Mapping[str, Any] | Iterable[str] = ()) -> ImageSource:
    """The source of a data set, without a stream.

    Args:
        name: digits, voc, coco, nuswide, openimages, manifest, folder or features.
        overrides: its options, as for `load_scenario`: `{"dataset.train": 100}` or "dataset.train=100".

    Raises:
        ScenarioError: no such data set, or problems with its options.
    """
    training = {"epochs": 1, "optimizer": {"lr": 1.0}}
    content = {"name": "dataset", "dataset": {"name": name}, "stream": {"increment": 1}, "training": training}
    document = Document("data set", content)
    _override(document, overrides)
    streamed = [path for path in document.origins if path[0] != "dataset" or path[-1] in DataSection.model_fields]
    if streamed:
        raise ScenarioError(
            [document.problem(path, "says what is streamed, which is not asked here") for path in streamed]
        )
    return Scenario(validate(document), document=document).source


def _override(
    document: Document,
    overrides: Mapping[str, Any] | Iterable[str],
    origins: Mapping[str, str] = MappingProxyType({}),
) -> None:
    if isinstance(overrides, Mapping):
        for dotted, value in overrides.items():
            document.override(dotted, value, origins.get(dotted, f"override {dotted}"))
    elif isinstance(overrides, Iterable) and not isinstance(overrides, str):
        for text in overrides:
            document.override(*parse_assignment(text), f"--set {text}")
    else:
        expected = "{'training.epochs': 2} or ['training.epochs=2']"
        raise ScenarioError([f"overrides: given {overrides!r}, expected keys and values such as {expected}"])
    make_absolute(document.data, ScenarioConfig, Path.cwd())


def _find(scenario: str | Path) -> Path:
    path = Path(scenario)
    if path.suffix in (".yaml", ".yml") or isfile(path):  # unlike is_file, False for an impossible name
        return path
    shipped = shipped_scenarios()
    if str(scenario) not in shipped:
        hint = did_you_mean(scenario, shipped)
        raise ScenarioError([f"{scenario}: no such file or shipped scenario{hint}; shipped: {', '.join(shipped)}"])
    return shipped[str(scenario)]


def _lines(section: Any) -> str:
    """Return a section as text, one key per line."""
    if not isinstance(section, dict):
        return str(section)
    return "\n".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in section.items()
    )
