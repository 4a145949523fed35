"""Strategies by name: found as entry points or in a file, given options, combined."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from clsim.errors import StrategyError, did_you_mean
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.training_schema import SOFTMAX_LOSSES, LossSection
from clsim.training.strategy import Context, Strategy

if TYPE_CHECKING:
    from avalanche.core import SupervisedPlugin

    from clsim.training.strategy import Criterion

GROUP = "clsim.strategies"


def registered() -> dict[str, EntryPoint]:
    """Entry points of installed strategies by name, sorted."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def strategy_class(name: str) -> type[Strategy]:
    """The class behind a registered name or `path/to/file.py:Class`.

    Raises:
        StrategyError: nothing there, or not a Strategy.
    """
    if ".py" in name:
        found = _from_file(name)
    else:
        points = registered()
        if name not in points:
            hint = did_you_mean(name, points)
            raise StrategyError(f"unknown strategy {name!r}{hint}; available: {', '.join(points)}, or file.py:Class")
        found = points[name].load()
    if not (inspect.isclass(found) and issubclass(found, Strategy)):
        raise StrategyError(f"{name}: {found!r} is not a subclass of clsim.Strategy")
    return found


def _from_file(name: str) -> Any:
    path_text, _, class_name = name.rpartition(":")
    path = Path(path_text)
    if not path_text or not path.is_file():
        missing = f", and no file {path_text!r} is there" if path_text else ""
        raise StrategyError(f"{name}: expected path/to/file.py:Class{missing}")
    module_name = "clsim_user_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pydantic and dataclasses look names of annotations up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise StrategyError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, class_name):
        own = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, Strategy) and v != Strategy]
        hint = f"; it has: {', '.join(own)}" if own else ""
        raise StrategyError(f"{path}: has no class {class_name!r}{did_you_mean(class_name, own)}{hint}")
    return getattr(module, class_name)


class Composition:
    """One or more strategies that act as one method.

    Args:
        spec: "lwf", "lwf+er", or parts given as file.py:Class.
        options: {"lwf.weight": 2.0} for one part, or {"weight": 2.0} for every part that has the option; the former
            wins.

    Attributes:
        name: the parts' names joined with "+".
        given: the options as given.

    Raises:
        StrategyError: unknown or repeated parts, conflicting claims, unknown or wrong options.
    """

    def __init__(self, spec: str, options: Mapping[str, Any] | None = None) -> None:
        self.spec = spec
        self.given = dict(options or {})
        classes = _parts(spec)
        self.parts = _with_options(classes, self.given)
        self.name = "+".join(_name(strategy_class(part)) for part in _split(spec))
        names = [_name(kind) for kind in classes]
        if len(set(names)) < len(names):
            raise StrategyError(f"{spec}: a part is named twice")
        for claim in sorted({claim for kind in classes for claim in kind.claims}):
            claimants = [_name(kind) for kind in classes if claim in kind.claims]
            if len(claimants) > 1:
                raise StrategyError(f"{spec}: {' and '.join(claimants)} both decide the {claim} and cannot be combined")
        for kind in classes:
            for need in sorted(kind.needs - {claim for other in classes for claim in other.claims}):
                raise StrategyError(f"{spec}: {_name(kind)} needs a part that brings the {need}, such as er")
        if len(classes) > 1 and any(kind.restarts for kind in classes):
            whole = next(_name(kind) for kind in classes if kind.restarts)
            raise StrategyError(f"{spec}: {whole} retrains from scratch at every task and cannot be combined")

    @property
    def located(self) -> str:
        """The spec with absolute file paths, for a process that works elsewhere."""
        return "+".join(_located(part) for part in _split(self.spec))

    @property
    def restarts(self) -> bool:
        return any(part.restarts for part in self.parts)

    @property
    def control(self) -> str:
        """What a part knows that a method may not; "" where no part does."""
        return "; ".join(part.control for part in self.parts if part.control)

    def options(self) -> dict[str, dict[str, Any]]:
        """Resolved options by part, JSON-ready."""
        return {_name(type(part)): part.options.model_dump(mode="json") for part in self.parts}

    def check(self, config: ScenarioConfig, n_classes: int) -> None:
        """Raise StrategyError when the scenario lacks what a part needs."""
        for part in self.parts:
            part.check(config, n_classes)

    def check_targets(self, plan: StreamPlan, loss: LossSection) -> None:
        """Raise StrategyError when the scenario's loss is used and cannot take the soft labels of a plan."""
        if plan.has_soft_labels and loss.name in SOFTMAX_LOSSES and self.loss_of() is None:
            raise StrategyError(
                f"training.loss.name: given {loss.name!r}, which takes no soft labels; a softmax would read a single "
                "one as present; allowed: a binary loss such as bce"
            )

    def plugins(self, context: Context) -> list[SupervisedPlugin]:
        """The plugins of all parts, in the order of the parts."""
        return [plugin for part in self.parts for plugin in part.plugins(context)]

    def criterion(self, loss: LossSection) -> Criterion:
        """The one criterion a part brings, else the loss of the scenario's training section."""
        from clsim.training.criterion import base_loss

        made = self._criteria()
        if len(made) > 1:
            raise StrategyError(f"{self.spec}: two parts bring a criterion; one of them must be left out")
        return made[0][1] if made else base_loss(loss)

    def loss_of(self) -> str | None:
        """The part whose criterion stands in place of the scenario's `training.loss`; None where that one is used."""
        return next((name for name, _ in self._criteria()), None)

    def _criteria(self) -> list[tuple[str, Criterion]]:
        return [(_name(type(part)), made) for part in self.parts if (made := part.criterion()) is not None]

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

    def first_task_key(self) -> str | None:
        """Hash of what is active in the first task over all parts, or None when a part may not share it."""
        keys = [part.first_task_key() for part in self.parts]
        of_its_own = any(type(part).derive_plan is not Strategy.derive_plan for part in self.parts)
        if of_its_own or any(key is None for key in keys):
            return None
        return hashlib.sha256("|".join(sorted(filter(None, keys))).encode()).hexdigest()


def check_options(specs: Sequence[str], options: Mapping[str, Any]) -> dict[str, Composition]:
    """Compose several specs with shared options; each option must fit at least one of them.

    Raises:
        StrategyError: as `Composition`, or an option that fits none.
    """
    unused = set(options)
    composed = {}
    for spec in specs:
        classes = _parts(spec)
        fitting = {key: value for key, value in options.items() if any(_accepts(kind, key) for kind in classes)}
        unused -= set(fitting)
        composed[spec] = Composition(spec, fitting)
    if unused:
        kinds = [kind for spec in specs for kind in _parts(spec)]
        raise StrategyError(_unknown_option(sorted(unused)[0], kinds))
    return composed


def _split(spec: str) -> list[str]:
    parts = [part.strip() for part in spec.split("+")]
    if not all(parts):
        raise StrategyError(f"strategy {spec!r}: expected a name, or names joined with +, such as lwf+er")
    return parts


def _parts(spec: str) -> list[type[Strategy]]:
    """The classes a spec stands for; a strategy that is made of others stands for them."""
    named = [strategy_class(part) for part in _split(spec)]
    return [part for kind in named for part in (map(strategy_class, kind.made_of) if kind.made_of else (kind,))]


def _located(part: str) -> str:
    path, colon, name = part.rpartition(":")
    return f"{Path(path).resolve()}{colon}{name}" if ".py" in part else part


def _name(kind: type[Strategy]) -> str:
    return kind.name or kind.__name__.lower()


def _accepts(kind: type[Strategy], key: str) -> bool:
    part, _, option = key.rpartition(".")
    return option in kind.Options.model_fields and part in ("", _name(kind))


def _with_options(classes: Sequence[type[Strategy]], options: dict[str, Any]) -> list[Strategy]:
    for key in options:
        if not any(_accepts(kind, key) for kind in classes):
            raise StrategyError(_unknown_option(key, classes))
    parts = []
    for kind in classes:
        general_first = sorted(options.items(), key=lambda item: "." in item[0])
        own = {key.rpartition(".")[2]: value for key, value in general_first if _accepts(kind, key)}
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
