"""A comparison as a YAML file, for `clsim compare comparison.yaml` and `clsim.compare("comparison.yaml")`.

comparison:
  scenario: digits-b0c2                          # a shipped name, or a path relative to this file
  overrides: {training.epochs: 4}                # keys of the scenario, and strategy.* for all strategies
  seeds: 0-4                                     # or [0, 1, 2]
  strategies:
    - er
    - er(selection=herding) as herding
    - {strategy: lwf+er, label: strong, options: {lwf.weight: 2}}
  groups:
    asl: {overrides: {training.loss.name: asl}, strategies: [er, rebll], seeds: [0]}   # "er, asl", "rebll, asl"
  baseline: er
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import isfile
from pathlib import Path
from typing import Any

from pydantic import Field

from clsim.data.path_options import make_absolute
from clsim.errors import ClsimError, ScenarioError
from clsim.launch.arguments import parse_seeds
from clsim.launch.variant_text import split_at_commas
from clsim.launch.variants import Variant, as_variant
from clsim.parts import located
from clsim.scenario.document import Document, KeyPath, plain, read_document
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.section import Section
from clsim.scenario.validate import checked
from clsim.training.composition import Composition
from clsim.training.strategy_specs import absolute_options

KEY = "comparison"


class VariantSection(Section):
    strategy: str = Field(description="a name, lwf+er, or path/to/file.py:Class, perhaps with settings and a label")
    label: str | None = Field(None, description="names folder, curves and rows")
    options: dict[str, Any] = Field({}, description="of the strategy")
    overrides: dict[str, Any] = Field({}, description="keys of training and memory that only these runs have")
    seeds: list[int] | str | None = Field(None, description="of these runs; default: those of the comparison")


class GroupSection(Section):
    strategies: list[str | VariantSection] | str | None = Field(None, description="default: those of the comparison")
    options: dict[str, Any] = Field({}, description="of these strategies")
    overrides: dict[str, Any] = Field({}, description="keys of training and memory that only these runs have")
    seeds: list[int] | str | None = Field(None, description="of these runs; default: those of the comparison")


class ComparisonSection(Section):
    scenario: str | dict[str, Any] = Field(description="a shipped name, a path, or the content of a scenario file")
    name: str | None = Field(None, description="of the folder of the runs; default: the scenario's")
    strategies: list[str | VariantSection] | str = Field([], description="what is compared")
    groups: dict[str, GroupSection] = Field({}, description="further runs on the same stream, by what they share")
    seeds: list[int] | str = Field([0], description="training seeds")
    order_seeds: list[int] | str = Field([], description="seeds of the class order")
    overrides: dict[str, Any] = Field({}, description="keys of the scenario, and strategy.* for all strategies")
    grid: dict[str, list[Any]] = Field({}, description="keys with lists of values: every combination is run")
    baseline: str | None = Field(None, description="the strategy that the others are compared with")


class ComparisonFile(Section):
    """The whole file."""

    comparison: ComparisonSection


def comparison_of(value: Any) -> dict[str, Any] | None:
    """Return the arguments of `clsim.compare` that a file, or a mapping of its content, holds; None: a scenario.

    The key "origins" is where each override was written. Relative paths start at the file, else at the working
    directory.

    Raises:
        ClsimError: an error in the file, with file, line and key.
    """
    found = content_of(value, KEY)
    return None if found is None else _arguments(*found)


def content_of(value: Any, key: str) -> tuple[Document, Path] | None:
    """Return the document of a file, or of a mapping, that has the key, and where its paths start; None: it has not."""
    if isinstance(value, Mapping) and key in value:
        return Document(key, plain(value, key)), Path.cwd()
    if isinstance(value, str | Path) and (Path(value).suffix in (".yaml", ".yml") or isfile(value)):
        document = read_document(Path(value))
        return (document, Path(value).resolve().parent) if key in document.data else None
    return None


def _arguments(document: Document, folder: Path) -> dict[str, Any]:
    section = checked(document, ComparisonFile).comparison
    at = Place(document, folder, (KEY,))
    variants = at.variants(section.strategies)
    groups = []
    for name, group in section.groups.items():
        below = at.below("groups", name)
        given = variants if group.strategies is None else below.variants(group.strategies)
        groups += [below.in_group(variant, name, group) for variant in given]
    overrides, origins = at.overrides(section.overrides, [*variants, *groups])
    return {
        "scenario": at.scenario(section.scenario),
        "name": section.name,
        "strategies": [*variants, *groups],
        "seeds": at.seeds(section.seeds, "seeds"),
        "order_seeds": at.seeds(section.order_seeds, "order_seeds"),
        "overrides": overrides,
        "grid": section.grid,
        "baseline": section.baseline,
        "origins": origins,
    }


class Place:
    """A place in the file, for the errors of what stands there.

    Args:
        folder: where relative paths start.
    """

    def __init__(self, document: Document, folder: Path, path: KeyPath) -> None:
        self.document, self.folder, self.path = document, folder, path

    def below(self, *keys: str | int) -> Place:
        """Return a place below this one."""
        return Place(self.document, self.folder, (*self.path, *keys))

    def scenario(self, value: str | dict[str, Any]) -> str | dict[str, Any]:
        """Return the scenario, the path of a file made absolute."""
        if isinstance(value, dict):
            made: dict[str, Any] = plain(value, KEY)
            make_absolute(made, ScenarioConfig, self.folder)
            return made
        path = self.folder / value
        return str(path) if path.suffix in (".yaml", ".yml") or isfile(path) else value

    def seeds(self, value: list[int] | str | None, key: str) -> Any:
        """Return the seeds of a list, or of a text such as 0-4."""
        if not isinstance(value, str):
            return value
        return parse_seeds(value, f"{self.document.origin((*self.path, key))}: {key}")

    def variants(self, value: Sequence[str | VariantSection] | str) -> list[Variant]:
        """Return the strategies of a list, or of a text of names joined with commas."""
        place = self.below("strategies")
        if isinstance(value, str):
            value = split_at_commas(value, f"{self.document.origin(place.path)}: strategies")
            return [place.variant(one) for one in value]
        return [place.below(index).variant(one) for index, one in enumerate(value)]

    def variant(self, value: str | VariantSection) -> Variant:
        """Return one strategy, with the paths of its file and its options made absolute."""
        origin = self.document.origin(self.path)
        try:
            if isinstance(value, str):
                found = as_variant(value)
            else:
                seeds = self.seeds(value.seeds, "seeds")
                found = as_variant({**value.model_dump(exclude_none=True), **({"seeds": seeds} if seeds else {})})
            spec = "+".join(located(part.strip(), self.folder) for part in found.spec.split("+"))
            return Variant(
                spec,
                found.label,
                absolute_options(spec, found.options, self.folder),
                self.overrides(found.overrides, [])[0],
                found.seeds,
                origin,
            )
        except ClsimError as error:
            raise ScenarioError([f"{origin}: {error}"]) from None

    def in_group(self, variant: Variant, name: str, group: GroupSection) -> Variant:
        """Return a variant with the settings of its group behind its own, and the group in its label."""
        origin = self.document.origin(self.path)
        try:
            own = {**absolute_options(variant.spec, group.options, self.folder), **variant.options}
            overrides = {**self.overrides(group.overrides, [])[0], **variant.overrides}
            seeds = variant.seeds or self.seeds(group.seeds, "seeds")
            label = f"{variant.name(Composition(variant.spec, variant.options))}, {name}"
            return Variant(variant.spec, label, own, overrides, seeds, origin)
        except ClsimError as error:
            raise ScenarioError([f"{origin}: {error}"]) from None

    def overrides(self, value: Mapping[str, Any], variants: Sequence[Variant]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return overrides with absolute paths, and where each was written."""
        made = Document(self.document.name, {})
        keys = [key for key in value if not key.startswith("strategy.")]
        for key in keys:
            made.override(key, value[key], key)
        make_absolute(made.data, ScenarioConfig, self.folder)
        options = {key.removeprefix("strategy."): value[key] for key in value if key.startswith("strategy.")}
        for spec in {variant.spec for variant in variants}:
            options = absolute_options(spec, options, self.folder)
        found = {key: _value(made.data, key) for key in keys} | {f"strategy.{key}": one for key, one in options.items()}
        return found, {key: self.document.origin((*self.path, "overrides", key)) for key in value}


def _value(data: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        data = data[key]
    return data
