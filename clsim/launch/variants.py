"""Variants: strategies with settings of their own, each under one name.

    er                                   the strategy as it is
    er(selection=herding) as herding     with an option, under a label
    lwf+er(lwf.weight=2)                 its name is the text itself
    er(training.epochs=2)                keys of `training` and `memory` may differ from run to run, too

A label names a folder, curves and rows. It is no part of a run's identity, which holds the real strategy and options.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from clsim.errors import RunError, ScenarioError, StrategyError, did_you_mean
from clsim.launch.arguments import as_option, as_seeds
from clsim.launch.variant_text import check_label, parse_variant, quoted, settings_text, split_at_commas
from clsim.running.run_spec import safe_name
from clsim.scenario.document import plain
from clsim.scenario.schema import ScenarioConfig
from clsim.training.composition import Composition
from clsim.training.strategy_specs import accepts, refuse_unknown_option, registered, spec_of

if TYPE_CHECKING:
    from clsim.training.strategy import Strategy

OWN_SECTIONS = ("training", "memory")
"""Sections of a scenario whose keys may differ from run to run: the stream and what is scored do not depend on them."""


@dataclass(frozen=True)
class Variant:
    """A strategy with its own settings, under one name: `Variant("er", "herding", {"selection": "herding"})`.

    Attributes:
        strategy: a name, names joined with "+", path/to/file.py:Class, or a class that one of these names. A text may
            have settings and a label: "er(selection=herding) as herding".
        label: names folder, curves and rows; None: the strategy's name with the settings in parentheses.
        options: of the strategy, {"lwf.weight": 2}, or {"weight": 2} for every part that has the option. They win over
            the options that all strategies of a comparison are given.
        overrides: keys of `training` and `memory` that only these runs have, {"training.loss.name": "asl"}.
        seeds: of these runs; None: those of the comparison.
        origin: where it was written, for error messages.

    Raises:
        ClsimError: a label, an option or a key that cannot be.
    """

    strategy: str | type[Strategy]
    label: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        spec, label, settings = parse_variant(spec_of(self.strategy))
        own = [_mapping(self.options, "options"), _mapping(self.overrides, "overrides")]
        refuse_other_sections(self.overrides, "overrides")
        options, overrides = _options_and_overrides({**settings, **own[0], **own[1]})
        if self.seeds is not None:
            object.__setattr__(self, "seeds", as_seeds(self.seeds, "seeds"))
        if self.label is not None and label is not None:
            raise StrategyError(f"strategy {self.strategy!r}: has the label {label!r}, and {self.label!r} is given too")
        if (label := self.label if label is None else label) is not None:
            label = check_label(label)
        for name, value in {"strategy": spec, "label": label, "options": options, "overrides": overrides}.items():
            object.__setattr__(self, name, value)

    @property
    def spec(self) -> str:
        """The strategy alone, as a text."""
        return str(self.strategy)

    @property
    def settings(self) -> dict[str, Any]:
        """Options and overrides, as they are written in parentheses."""
        return {**self.options, **self.overrides}

    def text(self) -> str:
        """Return the variant as it can be given on the command line."""
        settings = f"({settings_text(self.settings)})" if self.settings else ""
        return f"{self.spec}{settings}" + (f" as {self.label}" if self.label is not None else "")

    def sets(self, key: str) -> bool:
        """Tell whether the variant has a value of its own for a key such as strategy.lwf.weight or training.epochs."""
        if not key.startswith("strategy."):
            return any(_overlap(key, own) for own in self.overrides)
        part, _, option = key.removeprefix("strategy.").rpartition(".")
        own = [name.rpartition(".") for name in self.options]
        return any(name == option and (not part or not of or of == part) for of, _, name in own)

    def with_settings(self, values: Mapping[str, Any]) -> Variant:
        """Return the variant with further settings, which its label names too."""
        options, overrides = _options_and_overrides(values)
        label = None if self.label is None else f"{self.label}({settings_text({**options, **overrides})})"
        return replace(
            self, label=label, options={**self.options, **options}, overrides={**self.overrides, **overrides}
        )

    def name(self, composition: Composition) -> str:
        """Return the label, or the name that stands for it."""
        if self.label is not None:
            return self.label
        name = re.sub(r"[/\\]", "_", f"{composition.name}({settings_text(self.settings)})")
        try:
            if not self.settings:
                return check_label(safe_name(composition.name), f"name of the strategy {composition.spec}")
            return check_label("".join(one if one.isprintable() else "_" for one in name))
        except StrategyError as error:
            raise StrategyError(f"{error}; give it one: ... as NAME") from None


@dataclass(frozen=True)
class Entry:
    """A variant that is checked and composed.

    Attributes:
        name: of folder, curves and rows.
        spec: the strategy as it was given, without settings.
        overrides: keys of the scenario that only its runs have.
        seeds: of its runs; None: those of the comparison.
        origin: where it was written, for error messages.
    """

    name: str
    spec: str
    composition: Composition
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    origin: str = ""


def as_variants(value: Any) -> list[Variant]:
    """Return variants, each once.

    DECIDED: one text is a list joined with commas, as on the command line; one class is itself, and so is one Variant.

    Args:
        value: names, classes, variants, or mappings with the fields of a `Variant`; or one of them.

    Raises:
        ClsimError: none of them, or settings or a label that cannot be.
    """
    if isinstance(value, str):
        value = split_at_commas(value, f"strategies {value!r}") or [""]
    elif isinstance(value, Variant) or inspect.isclass(value):
        value = [value]
    try:
        each = None if isinstance(value, Mapping) else list(value)
    except TypeError:
        each = None
    if each is None:
        raise StrategyError(f"strategies: given {quoted(value)}, expected names such as ['er', 'lwf+er']")
    found: list[Variant] = []
    for one in map(as_variant, each):
        if one not in found:
            found.append(one)
    return found


def as_variant(value: Any, argument: str = "strategy") -> Variant:
    """Return one variant; see `as_variants`. Errors name the `argument` it was given as."""
    if isinstance(value, Variant):
        return value
    if not isinstance(value, Mapping):
        return Variant(spec_of(value, argument))
    allowed = [entry.name for entry in fields(Variant) if entry.name != "origin"]
    for key in value:
        if key not in allowed:
            raise StrategyError(
                f"strategies: unknown key {key!r}{did_you_mean(key, allowed)}; allowed: {', '.join(allowed)}"
            )
    if "strategy" not in value:
        raise StrategyError(f"strategies: given {quoted(value)}, without the key strategy")
    return Variant(**value)


def compose(variants: Sequence[Variant], options: Mapping[str, Any]) -> list[Entry]:
    """Compose variants with options that they share; each option must fit at least one of them.

    Raises:
        StrategyError: as `Composition`; an option that fits none; two variants of one name.
    """
    unused = set(options)
    entries: dict[str, Entry] = {}
    for variant in variants:
        with _located(variant):
            fitting = {key: value for key, value in options.items() if accepts(variant.spec, key)}
            unused -= set(fitting)
            # an own option without its part wins over a shared one with it, which `Composition` would prefer
            shared = {key: value for key, value in fitting.items() if key.rpartition(".")[2] not in variant.options}
            composition = Composition(variant.spec, {**shared, **variant.options})
            own = (variant.overrides, variant.seeds, variant.origin)
            entry = Entry(variant.name(composition), variant.spec, composition, *own)
            _refuse_borrowed_name(entry, variant)
            same = next((other for other in entries.values() if other.name.casefold() == entry.name.casefold()), None)
            if same is not None:
                raise StrategyError(
                    f"{variant.spec}: another strategy of this comparison is also named {same.name}; "
                    f"give one of them a label: {variant.spec} as NAME"
                )
        entries[entry.name] = entry
    if unused:
        refuse_unknown_option(sorted(unused)[0], [variant.spec for variant in variants])
    return list(entries.values())


def expand(variants: Sequence[Variant], grid: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Return each variant once for each point of a grid.

    A key of the grid that a variant has a value of its own for, or an option that its strategy does not have, does not
    multiply it.

    Args:
        grid: key such as strategy.lwf.weight or training.epochs -> its values.

    Raises:
        ClsimError: a key that fits no variant, or no values.
    """
    found, unused = [], set(grid)
    for variant in variants:
        with _located(variant):
            fitting = {
                key: values
                for key, values in grid.items()
                if not key.startswith("strategy.") or accepts(variant.spec, key.removeprefix("strategy."))
            }
        unused -= set(fitting)
        own = {key: values for key, values in fitting.items() if not variant.sets(key)}
        if not own:
            found.append(variant)
            continue
        found += [
            variant.with_settings(dict(zip(own, point, strict=True))) for point in itertools.product(*own.values())
        ]
    if unused:
        refuse_unknown_option(sorted(unused)[0].removeprefix("strategy."), [variant.spec for variant in variants])
    return found


def as_grid(value: Any) -> dict[str, list[Any]]:
    """Return keys with the lists of their values, each value once."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise RunError(
            f"grid: given {quoted(value)}, expected keys with lists such as {{'strategy.lwf.weight': [1, 2]}}"
        )
    found = {}
    for key, values in value.items():
        values = plain(values, f"grid {key}")
        if not isinstance(values, list) or not values:
            raise RunError(f"grid {key}: given {quoted(values)}, expected a list of values")
        found[key] = [one for place, one in enumerate(values) if one not in values[:place]]
    return found


def _options_and_overrides(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return options of the strategy, and keys of the scenario."""
    options, overrides = {}, {}
    for key, value in settings.items():
        section, dot, _ = key.partition(".")
        if section in ScenarioConfig.model_fields and dot:
            refuse_other_sections([key], "strategy setting")
            overrides[key] = plain(value, f"override {key}")
        else:
            name = key.removeprefix("strategy.")
            options[name] = as_option(f"strategy.{name}", value)
    return options, overrides


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StrategyError(f"{what}: given {quoted(value)}, expected keys and values such as {{'lwf.weight': 2}}")
    return value


@contextmanager
def _located(variant: Variant) -> Iterator[None]:
    """Errors of a strategy leave this block with the place where the variant was written."""
    try:
        yield
    except StrategyError as error:
        raise StrategyError(f"{variant.origin}: {error}" if variant.origin else str(error)) from None


def refuse_other_sections(keys: Iterable[str], what: str) -> None:
    """Raise ScenarioError for a key that all runs of a comparison must share."""
    for key in keys:
        if key.partition(".")[0] not in (*OWN_SECTIONS, "strategy") or "." not in key:
            raise ScenarioError(
                [
                    f"{what} {key}: is one for all runs that are compared, because stream and scores depend on it; "
                    f"allowed: strategy.*, {', '.join(f'{section}.*' for section in OWN_SECTIONS)}; "
                    "another stream is another comparison"
                ]
            )


def _refuse_borrowed_name(entry: Entry, variant: Variant) -> None:
    """Raise StrategyError if a label is the name of another strategy, or of this one without its settings."""
    if variant.label in registered() and (variant.label != entry.composition.name or variant.settings):
        raise StrategyError(f"label: given {variant.label!r}, which is the name of a strategy; choose another one")


def _overlap(one: str, other: str) -> bool:
    """Tell whether one of two dotted keys is, or contains, the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
