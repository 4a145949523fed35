"""Strategies combined to one method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import StrategyError
from clsim.parts import located, option_problems
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.section import own_parts
from clsim.scenario.training_schema import SOFTMAX_LOSSES, LossSection, TrainingSection
from clsim.source_code import class_code
from clsim.training.claims import claims_of, name_of, refuse_conflicts
from clsim.training.strategy import Context, Strategy
from clsim.training.strategy_specs import (
    classes_of,
    named_in,
    parts_with_options,
    preset_options,
    report_section,
    strategy_class,
    with_absolute_paths,
)
from clsim.vocabulary import Reference

if TYPE_CHECKING:
    from clsim.models.network import MultiLabelNet
    from clsim.training.strategy import AnyPlugin, Criterion


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
        classes = classes_of(spec)
        self.given = with_absolute_paths(classes, options or {}, Path.cwd())
        self.parts = parts_with_options(classes, self.given, preset_options(spec))
        self.name = "+".join(name_of(strategy_class(part)) for part in named_in(spec))
        refuse_conflicts(spec, classes)
        for part in self.parts:
            part.others = tuple(other for other in self.parts if other is not part)
        closed = [name for name, part in self.named() if part.closed_form]
        if 0 < len(closed) < len(classes):
            others = " and ".join(name for name, _ in self.named() if name not in closed)
            raise StrategyError(f"{spec}: {closed[0]} trains no steps and cannot be combined with {others}")

    @property
    def located(self) -> str:
        """The spec with absolute file paths, for a process that works elsewhere."""
        return "+".join(located(part) for part in named_in(self.spec))

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
        return [(name_of(type(part)), part) for part in self.parts]

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
        return any("network" in claims_of(type(part)) for part in self.parts)

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
            if "network" in claims_of(type(part)):
                found = own_network(name_of(type(part)), part.network, found, seed)
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
        if config is not None and self.online(config) and any("memory" in claims_of(type(part)) for part in self.parts):
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


def parts_of(spec: str) -> dict[str, type[Strategy]]:
    """Return the classes of a strategy by the name that their options go by; one that stands for others is before them.

    Raises:
        StrategyError: an unknown strategy, or parts that cannot be combined.
    """
    if len(named := named_in(spec)) > 1:
        Composition(spec)
    kinds = [kind for part in named for kind in (strategy_class(part), *classes_of(part))]
    return {name_of(kind): kind for kind in kinds}
