"""The contract between clsim and a strategy. No torch here: listing and planning stay light.

A strategy is a typed set of options, the Avalanche plugins it makes from them, and perhaps a criterion. Several parts
combine (`lwf+er`) when no two claim the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.schema import ScenarioConfig
from clsim.vocabulary import Family, Reference

if TYPE_CHECKING:
    from avalanche.core import SupervisedPlugin
    from torch import Tensor

    from clsim.models.network import MultiLabelNet
    from clsim.scenario.stream.rows import RowStore
    from clsim.training.held_out import HeldOut
    from clsim.training.memory.store import Budget
    from clsim.training.plugin import Plugin
    from clsim.training.snapshot import Snapshot

    Criterion = Callable[[Tensor, Tensor], Tensor]
    AnyPlugin = Plugin | SupervisedPlugin[Any]


class Options(BaseModel):
    """Base of a strategy's options: immutable, unknown names refused. Give each field a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Context:
    """The facts about a run that a strategy may use.

    Attributes:
        config: the scenario's configuration.
        seed: the run's seed; derive generators from it with `clsim.randomness`.
        tasks: classes of each task.
        rows: the training rows; a memory fetches its images there by row id.
        new_model: makes a freshly initialised network of the run's architecture, with a head of no classes.
        samples: int64 [R], the image of each training row, for a named control only; None for methods.
        bytes_beside_row: bytes that all parts together store with each row of the memory.
    """

    config: ScenarioConfig
    seed: int
    tasks: tuple[TaskClasses, ...]
    rows: RowStore
    new_model: Callable[[], MultiLabelNet]
    samples: NDArray[np.int64] | None = None
    bytes_beside_row: int = 0

    @cached_property
    def budget(self) -> Budget:
        """The memory budget in rows, of which one in bytes holds as many as fit.

        Raises:
            StrategyError: it is none, or too small for one row.
        """
        from clsim.training.memory.store import Budget, row_bytes

        of_row = row_bytes(self.n_classes, self.rows.image_bytes) + self.bytes_beside_row
        return Budget.of(self.config).in_rows(of_row)

    @property
    def n_classes(self) -> int:
        return self.tasks[-1].stop

    @cached_property
    def snapshot(self) -> Snapshot:
        """The plugin that holds the model as it was before the task: one for all parts, and none if no part asks."""
        from clsim.training.snapshot import Snapshot

        return Snapshot(self.new_model)

    @cached_property
    def held_out(self) -> HeldOut:
        """The plugin that holds a tenth of each task's rows out of training: one for all parts that ask for it."""
        from clsim.training.held_out import HeldOut

        return HeldOut(self.seed)

    @property
    def shared(self) -> list[Plugin]:
        """The plugins that several parts share, as far as one has asked for them; they stand before those of parts."""
        return [vars(self)[name] for name in ("snapshot", "held_out") if name in vars(self)]


class Strategy:
    """One part of a method. Subclass it, set `name`, and override the methods that you need.

    Attributes:
        name: name on the command line, and of the folder of its runs.
        claims: what only one part of a composition may decide: "criterion", "memory", "old_classes" (what unknown old
            classes of new images mean), "completion" (some of them are filled), "distillation", "plan", "weights" (what
            the weights are made of or bound to), "features" (what binds them to the teacher's), "calibration" (how new
            classes' scores are scaled), "scores" (which network scores images), "network" (claimed by whoever
            overrides the method of that name).
        needs: claims that another part of the composition must make.
        leaves: claims of this part that it leaves to another one, by what that one must claim as well: `lwf` leaves
            old_classes to a part that claims completion, such as `pseudo`. See `decides`.
        made_of: names of the parts this strategy stands for (`rebll`); it then has nothing of its own.
        part_options: options that those parts have by default, by their key: {"er.selection": "herding"}. The user's
            own win. DECIDED: none can be fixed, because the identity and the result of a run hold what was used.
        restarts: every task trains a freshly initialised network.
        others: the other parts of the composition this one is in.
        control: what this part knows that a method may not, as reports name it; "" for a method. It may then read
            `Context.samples`.
        reference: "upper" for what methods could reach at best (`joint`), which reports keep apart from them; "lower"
            for what they must beat (`finetune`), which is the baseline if none is named; None for a method.
        report_section: the function that makes a section of reports with runs of this part, see
            `clsim.report.section`: "package.module:name", or "file.py:name" from beside the strategy's own file; ""
            for none. It is named and not imported, because it is no part of the method.
        family: what it works by, under which lists show it.
        year: of the publication it follows; None: it follows none.
        stores: what it keeps from task to task beside the network, in a few words; "" if it does not say.
        cost: what it computes beyond `finetune`, in a few words; "" if it does not say.
        bib: BibTeX entries of what it follows, separated by a blank line; "" for none.
    """

    name: ClassVar[str] = ""
    claims: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[frozenset[str]] = frozenset()
    leaves: ClassVar[Mapping[str, str]] = {}
    made_of: ClassVar[tuple[str, ...]] = ()
    part_options: ClassVar[Mapping[str, Any]] = {}
    restarts: ClassVar[bool] = False
    control: ClassVar[str] = ""
    reference: ClassVar[Reference | None] = None
    report_section: ClassVar[str] = ""
    family: ClassVar[Family] = "other"
    year: ClassVar[int | None] = None
    stores: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    bib: ClassVar[str] = ""

    class Options(Options):
        """No options."""

    options: Any
    """An instance of `Options`. Annotate it as `options: Options` after that class, and mypy knows your fields."""

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options = options if options is not None else type(self).Options()
        self.others: tuple[Strategy, ...] = ()

    @property
    def closed_form(self) -> bool:
        """Whether no task has an epoch, whatever `training.epochs` says; a plugin writes the head in `finish_model`.

        It may depend on `options` and `others`; a class for which it is always so sets `closed_form = True`.
        """
        return False

    @property
    def whole_task(self) -> str:
        """What this part does with all images of a task together, as the beginning of a sentence; "" for nothing.

        An online stream (`stream.online`) refuses a part that does something: "ewc measures importances on all images
        of a task together". It may depend on `options`; a class for which it is always so sets `whole_task = "..."`.
        """
        return ""

    def brought(self, claim: str) -> bool:
        """Tell whether another part of the composition makes a claim."""
        return any(claim in other.claims for other in self.others)

    def decides(self, claim: str) -> bool:
        """Tell whether this part decides what it claims: not if it leaves the claim to another part."""
        return claim in self.claims and not (claim in self.leaves and self.brought(self.leaves[claim]))

    def check(self, config: ScenarioConfig, n_classes: int) -> None:
        """Raise StrategyError when the scenario lacks what this part needs."""

    def plugins(self, context: Context) -> Sequence[AnyPlugin]:
        """Make the plugins of this part for a run: subclasses of `clsim.kit.Plugin`, or stock ones of Avalanche."""
        return []

    def bytes_beside_row(self, n_classes: int) -> int:
        """Return the bytes this part stores beside each row of the memory, such as 4 * n_classes for its logits.

        A budget in bytes holds the fewer rows. The plugin that stores them counts them in its `nbytes`.
        """
        return 0

    def network(self, network: MultiLabelNet, seed: int) -> MultiLabelNet:
        """Return the network of the run, made from the scenario's: with a head of your own, or around its backbone.

        Replace `network.head` by a `clsim.kit.Head`, which reads `network.head.n_features` features; `network.hidden`
        by a feature transform; or wrap `network.backbone`. It is called for every network that a run makes, and when
        its trained model is read back. torch's global generator is seeded for it. Only one part of a composition may
        override it.

        Args:
            network: a fresh one, whose head has no classes.
            seed: the run's seed.
        """
        return network

    def criterion(self) -> Criterion | None:
        """The loss on (logits float [B, S], targets float [B, C]); None leaves the scenario's."""
        return None

    def derive_plan(
        self, plan: StreamPlan, truth: NDArray[np.int8], soft: NDArray[np.float32] | None = None
    ) -> StreamPlan | None:
        """Another plan to train on (`joint`); its hash and origin are recorded. None keeps the scenario's own.

        Args:
            truth: int8 [N, C], true training labels. A method that reads them is not a partial-label method.
            soft: float32 [N, C], soft training labels, 0 where a label is not soft; given only where there are some.
        """
        return None

    def first_task_key(self) -> str | None:
        """Return what of this part is active in the first task, as text; parts with equal keys may share its training.

        A run that shares it runs its plugins' hooks before and after the first task but none in its epochs and steps,
        so none of them may change a plugin there. In an online stream a part that claims "memory" shares nothing,
        whatever it says. None: never shared, the safe answer for a method that says nothing else. Of a part that does
        not come with clsim any text says only that it may share: with runs of the same code and options.
        """
        return None
