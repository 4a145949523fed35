"""Strategies by name: found as entry points or in a file, given options, combined."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from clsim.data.path_options import make_absolute
from clsim.errors import StrategyError, did_you_mean
from clsim.parts import PartError, entry_points_of, find, located, option_problems
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.section import own_parts
from clsim.scenario.training_schema import SOFTMAX_LOSSES, LossSection, TrainingSection
from clsim.source_code import class_code
from clsim.training.strategy import Context, Strategy
from clsim.vocabulary import Reference

if TYPE_CHECKING:
    from clsim.models.network import MultiLabelNet
    from clsim.training.strategy import AnyPlugin, Criterion


def registered() -> dict[str, EntryPoint]:
    """Entry points of installed strategies by name, sorted."""
    return entry_points_of("strategy")


def strategy_class(name: str) -> type[Strategy]:
    """The class behind a registered name or `path/to/file.py:Class`.

    Raises:
        StrategyError: nothing there, or not a Strategy.
    """
    try:
        found = find("strategy", name, _is_strategy)
    except PartError as error:
        raise StrategyError(str(error)) from error
    if not _is_strategy(found):
        raise StrategyError(f"{name}: {found!r} is not a subclass of clsim.Strategy")
    return found


def spec_of(strategy: str | type[Strategy], argument: str = "strategy") -> str:
    """Return the name of a strategy, by which a process of its own finds it, too.

    A class is named by its entry point, else by the file it stands in. Errors name the `argument` it was given as.

    Raises:
        StrategyError: neither a text nor a class of clsim.Strategy, or a class that no file gives by its name.
    """
    if isinstance(strategy, str):
        return strategy.strip()
    if not (inspect.isclass(strategy) and issubclass(strategy, Strategy)):
        text = " ".join(repr(strategy).split())
        raise StrategyError(
            f"{argument}: given {text}, expected a name, path/to/file.py:Class or a class of clsim.Strategy"
        )
    where = f"{strategy.__module__}:{strategy.__qualname__}"
    for name, point in registered().items():
        if point.value == where:
            return name
    try:
        path = Path(inspect.getfile(strategy))
    except (OSError, TypeError):  # typed into an interpreter or a notebook
        path = Path()
    if path.suffix != ".py" or not path.is_file() or not strategy.__qualname__.isidentifier():
        raise StrategyError(
            f"{argument}: the class {where} cannot be named as path/to/file.py:Class, which a run needs to find it; "
            "move it to the top level of a file"
        )
    return f"{path.resolve()}:{strategy.__qualname__}"


def report_section(kind: type[Strategy]) -> str:
    """Return the reference of the report section of a strategy, the path of a file made absolute; "" if it has none."""
    path, colon, name = kind.report_section.rpartition(":")
    if not path.endswith(".py"):
        return kind.report_section
    return f"{(Path(inspect.getfile(kind)).parent / path).resolve()}{colon}{name}"


def _is_strategy(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, Strategy) and found is not Strategy


class Composition:
    """One or more strategies that act as one method.

    Args:
        spec: "lwf", "lwf+er", or parts given as file.py:Class.
        options: {"lwf.weight": 2.0} for one part, or {"weight": 2.0} for every part that has the option; the former
            wins.

    Attributes:
        name: the parts' names joined with "+".
        given: the options as given, but relative paths, which start at the working directory, made absolute.

    Raises:
        StrategyError: unknown or repeated parts, conflicting claims, unknown or wrong options.
    """

    def __init__(self, spec: str, options: Mapping[str, Any] | None = None) -> None:
        self.spec = spec
        classes = _parts(spec)
        self.given = _with_absolute_paths(classes, options or {}, Path.cwd())
        self.parts = _with_options(classes, self.given, preset_options(spec))
        self.name = "+".join(_name(strategy_class(part)) for part in _split(spec))
        names = [_name(kind) for kind in classes]
        if len(set(names)) < len(names):
            raise StrategyError(f"{spec}: a part is named twice")
        for claim in sorted({claim for kind in classes for claim in _claims(kind)}):
            claimants = [_name(kind) for kind in classes if claim in _claims(kind) - _left(kind, classes)]
            if len(claimants) > 1:
                raise StrategyError(f"{spec}: {' and '.join(claimants)} both decide the {claim} and cannot be combined")
        for kind in classes:
            for need in sorted(kind.needs - {claim for other in classes for claim in _claims(other)}):
                such = ", such as lwf" if need == "distillation" else ", such as er" if need == "memory" else ""
                raise StrategyError(f"{spec}: {_name(kind)} needs a part that brings the {need}{such}")
        if len(classes) > 1 and any(kind.restarts for kind in classes):
            whole = next(_name(kind) for kind in classes if kind.restarts)
            raise StrategyError(f"{spec}: {whole} retrains from scratch at every task and cannot be combined")
        for part in self.parts:
            part.others = tuple(other for other in self.parts if other is not part)
        closed = [name for name, part in self.named() if part.closed_form]
        if 0 < len(closed) < len(classes):
            others = " and ".join(name for name in names if name not in closed)
            raise StrategyError(f"{spec}: {closed[0]} trains no steps and cannot be combined with {others}")

    @property
    def located(self) -> str:
        """The spec with absolute file paths, for a process that works elsewhere."""
        return "+".join(located(part) for part in _split(self.spec))

    @property
    def restarts(self) -> bool:
        return any(part.restarts for part in self.parts)

    @property
    def control(self) -> str:
        """What a part knows that a method may not; "" where no part does."""
        return "; ".join(part.control for part in self.parts if part.control)

    @property
    def reference(self) -> Reference | None:
        """Whether others are measured against this strategy; None for a composition of several parts."""
        return self.parts[0].reference if len(self.parts) == 1 else None

    @property
    def report_sections(self) -> list[str]:
        """References of the report sections of its parts."""
        return [reference for part in self.parts if (reference := report_section(type(part)))]

    def options(self) -> dict[str, dict[str, Any]]:
        """Resolved options by part, JSON-ready."""
        return {name: part.options.model_dump(mode="json") for name, part in self.named()}

    def named(self) -> list[tuple[str, Strategy]]:
        """The parts with the names that their options go by."""
        return [(_name(type(part)), part) for part in self.parts]

    def check(self, config: ScenarioConfig, n_classes: int) -> None:
        """Raise StrategyError when the scenario lacks what a part needs, or a part named in options lacks theirs."""
        online = config.stream.online if self.online(config) else None
        for name, part in self.named():
            part.check(config, n_classes)
            if online is not None and part.whole_task:
                text = f"{name} {part.whole_task} all images of a task together"
                raise StrategyError(f"{text}; stream.online has them once each, {online.batch} at a time")
            for (key,), mark in own_parts(type(part).Options).items():
                options = getattr(part.options, mark.options, {})
                for option, text in option_problems(mark.kind, getattr(part.options, key), options).items():
                    raise StrategyError(f"strategy.{name}.{mark.options}.{option}: {text}")

    def check_targets(self, plan: StreamPlan, loss: LossSection) -> None:
        """Raise StrategyError when the scenario's loss is used and cannot take the soft labels of a plan."""
        if plan.has_soft_labels and loss.name in SOFTMAX_LOSSES and self.loss_of() is None:
            raise StrategyError(
                f"training.loss.name: given {loss.name!r}, which takes no soft labels; a softmax would read a single "
                "one as present; allowed: a binary loss such as bce"
            )

    def plugins(self, context: Context) -> list[AnyPlugin]:
        """Return the plugins of all parts in order, behind those that several share."""
        plugins = [plugin for part in self.parts for plugin in part.plugins(context)]
        return [*context.shared, *plugins]

    def online(self, config: ScenarioConfig) -> bool:
        """Tell whether the run meets each row once: in an online stream, unless it begins anew at each task."""
        return config.stream.online is not None and not self.restarts

    def training(self, config: ScenarioConfig) -> TrainingSection:
        """Return the training section that the run goes by.

        It has no epochs for a method in closed form, and those of `stream.online.joint_epochs` for one that begins anew
        at each task of an online stream.
        """
        section = config.training
        if any(part.closed_form for part in self.parts):
            return section.model_copy(update={"epochs": 0})
        if config.stream.online is not None and self.restarts:
            return section.model_copy(update={"epochs": config.stream.online.joint_epochs})
        return section

    def bytes_beside_row(self, n_classes: int) -> int:
        """Return the bytes that all parts store beside each row of a memory."""
        return sum(part.bytes_beside_row(n_classes) for part in self.parts)

    @property
    def brings_network(self) -> bool:
        """Whether a part makes the network its own."""
        return any("network" in _claims(type(part)) for part in self.parts)

    def network(self, make: Callable[[], MultiLabelNet], seed: int) -> MultiLabelNet:
        """Return a fresh network of the run, as the part that claims it makes it, if any.

        torch's global generator is left as it was.

        Args:
            make: makes the scenario's.

        Raises:
            StrategyError: a network or head that breaks the contract.
        """
        from clsim.training.own_network import own_network

        found = make()
        for part in self.parts:
            if "network" in _claims(type(part)):
                found = own_network(_name(type(part)), part.network, found, seed)
        return found

    def criterion(self, loss: LossSection) -> Criterion:
        """The one criterion a part brings, else the loss of the scenario's training section."""
        from clsim.training.losses.criterion import base_loss

        made = self._criteria()
        if len(made) > 1:
            raise StrategyError(f"{self.spec}: two parts bring a criterion; one of them must be left out")
        return made[0][1] if made else base_loss(loss)

    def loss_of(self) -> str | None:
        """The part whose criterion stands in place of the scenario's `training.loss`; None where that one is used."""
        return next((name for name, _ in self._criteria()), None)

    def _criteria(self) -> list[tuple[str, Criterion]]:
        return [(name, made) for name, part in self.named() if (made := part.criterion()) is not None]

    def derive_plan(self, plan: StreamPlan, truth: Any, soft: Any = None) -> StreamPlan:
        """The plan to train on.

        Args:
            truth: a function without arguments that returns the true labels; called only if a part derives a plan.
            soft: likewise for soft labels; it may return None.
        """
        for part in self.parts:
            if type(part).derive_plan is not Strategy.derive_plan:
                labels: NDArray[np.int8] = truth()
                values = None if soft is None else soft()
                plan = part.derive_plan(plan, labels, *(() if values is None else (values,))) or plan
        return plan

    def given_truth(self, derived: bool) -> str:
        """Say which parts were given the true labels without a trace in the plan; "" if none was.

        Args:
            derived: whether the run trains on another plan than the scenario's, which says it already.
        """
        asked = [name for name, part in self.named() if type(part).derive_plan is not Strategy.derive_plan]
        return "" if derived or not asked else f"{' and '.join(asked)}: derive_plan was given the true labels"

    def first_task_key(self, config: ScenarioConfig | None = None) -> str | None:
        """Return the hash of what is active in the first task over all parts; None: a part may not share it.

        A part that does not come with clsim may be wrong about itself, and must not spoil another method's numbers:
        its key is what it is, code and options, so that it shares with its equals only. In an online stream a memory
        changes in the steps of the first task, so that a part which has one shares nothing.
        """
        if config is not None and self.online(config) and any("memory" in _claims(type(part)) for part in self.parts):
            return None
        keys = [_first_task_key(part) for part in self.parts]
        if any(key is None for key in keys):
            return None
        return hashlib.sha256("|".join(sorted(filter(None, keys))).encode()).hexdigest()


def _first_task_key(part: Strategy) -> str | None:
    kind = type(part)
    key = part.first_task_key()
    if key is None or kind.derive_plan is not Strategy.derive_plan:
        return None
    if kind.__module__.partition(".")[0] == "clsim":
        return key
    return json.dumps([kind.__qualname__, class_code(kind), part.options.model_dump(mode="json"), str(key)])


def accepts(spec: str, key: str) -> bool:
    """Tell whether a part of a strategy has the option `key`, such as "lwf.weight" or "weight".

    Raises:
        StrategyError: an unknown strategy.
    """
    return any(_accepts(kind, key) for kind in _parts(spec))


def refuse_unknown_option(key: str, specs: Sequence[str]) -> NoReturn:
    """Raise StrategyError for an option that none of the strategies has."""
    raise StrategyError(_unknown_option(key, [kind for spec in specs for kind in _parts(spec)]))


def parts_of(spec: str) -> dict[str, type[Strategy]]:
    """Return the classes of a strategy by the name that their options go by; one that stands for others is before them.

    Raises:
        StrategyError: an unknown strategy, or parts that cannot be combined.
    """
    if len(named := _split(spec)) > 1:
        Composition(spec)
    kinds = [kind for part in named for kind in (strategy_class(part), *_parts(part))]
    return {_name(kind): kind for kind in kinds}


def preset_options(spec: str) -> dict[str, Any]:
    """Return the options that strategies which stand for others set for their parts: {"er.selection": "herding"}.

    Raises:
        StrategyError: an unknown strategy, or an option that none of its parts has.
    """
    return {key: value for part in _split(spec) for key, value in _presets(strategy_class(part)).items()}


def _split(spec: str) -> list[str]:
    parts = [part.strip() for part in spec.split("+")]
    if not all(parts):
        raise StrategyError(f"strategy {spec!r}: expected a name, or names joined with +, such as lwf+er")
    return parts


def _parts(spec: str) -> list[type[Strategy]]:
    """The classes a spec stands for; a strategy that is made of others stands for them."""
    return [part for name in _split(spec) for part in _stood_for(strategy_class(name))]


def _stood_for(kind: type[Strategy]) -> list[type[Strategy]]:
    """The parts that a strategy is made of, which may be made of others; itself if of none."""
    return [part for name in kind.made_of for part in _stood_for(strategy_class(name))] if kind.made_of else [kind]


def _presets(kind: type[Strategy]) -> dict[str, Any]:
    """The options that a strategy sets for its parts, over those that they set for theirs."""
    inner = {key: value for name in kind.made_of for key, value in _presets(strategy_class(name)).items()}
    if not kind.part_options:
        return inner
    classes = _stood_for(kind)
    for key in kind.part_options:
        if "." not in key or kind in classes or not any(_accepts(part, key) for part in classes):
            raise StrategyError(f"{_name(kind)}: part_options: {_unknown_option(key, classes)}")
    return inner | _with_absolute_paths(classes, kind.part_options, Path(inspect.getfile(kind)).parent)


def _name(kind: type[Strategy]) -> str:
    return kind.name or kind.__name__.lower()


def _claims(kind: type[Strategy]) -> frozenset[str]:
    return kind.claims | ({"network"} if kind.network is not Strategy.network else set())


def _left(kind: type[Strategy], classes: Sequence[type[Strategy]]) -> set[str]:
    """The claims that a part leaves to others of a composition."""
    others = {claim for other in classes if other is not kind for claim in _claims(other)}
    return {claim for claim, taker in kind.leaves.items() if taker in others}


def _accepts(kind: type[Strategy], key: str) -> bool:
    part, _, option = key.rpartition(".")
    return option in kind.Options.model_fields and part in ("", _name(kind))


def absolute_options(spec: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options with the relative paths among those that a strategy has made absolute, from `folder`."""
    return _with_absolute_paths(_parts(spec), options, folder)


def _with_absolute_paths(classes: Sequence[type[Strategy]], options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    given = dict(options)
    for kind in classes:
        keys = {key.rpartition(".")[2]: key for key in sorted(given, key=lambda key: "." in key) if _accepts(kind, key)}
        own = {option: given[key] for option, key in keys.items()}
        make_absolute(own, kind.Options, folder)
        given |= {keys[option]: value for option, value in own.items()}
    return given


def _with_options(
    classes: Sequence[type[Strategy]], options: dict[str, Any], presets: Mapping[str, Any]
) -> list[Strategy]:
    for key in options:
        if not any(_accepts(kind, key) for kind in classes):
            raise StrategyError(_unknown_option(key, classes))
    parts = []
    for kind in classes:
        general_first = sorted(options.items(), key=lambda item: "." in item[0])
        first_to_last = [*presets.items(), *general_first]
        own = {key.rpartition(".")[2]: value for key, value in first_to_last if _accepts(kind, key)}
        try:
            parts.append(kind(kind.Options(**own)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join([_name(kind), *map(str, first["loc"])])
            raise StrategyError(f"strategy option {where}: given {first['input']!r}, {first['msg']}") from None
    return parts


def _unknown_option(key: str, classes: Sequence[type[Strategy]]) -> str:
    allowed = list(dict.fromkeys(f"{_name(kind)}.{option}" for kind in classes for option in kind.Options.model_fields))
    hint = did_you_mean(key, [*allowed, *(name.rpartition(".")[2] for name in allowed)])
    return f"unknown strategy option {key!r}{hint}; allowed: {', '.join(allowed) or 'none'}"
