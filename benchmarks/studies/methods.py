"""The methods of the ladder and of the leaderboard: one list of compositions.

Each method says what it needs on a stream, and which settings the ladder tries for it. LADDER and BOARD hold the same
methods but for those of LADDER_ONLY and BOARD_ONLY. A strategy that is installed and stands neither here nor in
LEFT_OUT is taken in with its defaults (`taken_in`), and so is a memory selection, beside er. So no method can be
forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clsim import Variant
from clsim.parts import names
from clsim.training.composition import parts_of
from clsim.training.strategy_specs import registered, strategy_class

Settings = Mapping[str, Any]
TRIES = 4
"""Settings of a method that are tried at most, its defaults among them."""

NARROW: Mapping[str, Settings] = {
    "agcn": {"agcn.width": 64},
    "class-embeddings": {"class-embeddings.width": 64},
    "csc": {"csc.width": 64},
    "krt": {"krt.width": 64},
    "l3a": {"l3a.expansion": 1024},
}
"""Part -> its size on the leaderboard, whose value stands in the label.

DECIDED: narrower than published, because the backbones of its small streams have 64 features where theirs has 2048.
"""

FROZEN: Mapping[str, Settings] = {"class-embeddings": {"class-embeddings.width": 256}}
"""Part -> its size on the ladder where the backbone is frozen, whose value stands in the label.

DECIDED: the width of the hidden layer that the other methods have there. In the map's own 1,280 features, as published,
one run on voc-mini takes more than an hour of a core.
"""

OVER_MAPS: Settings = {"training.model.cache_features": "maps", "training.model.hidden": None}
"""Keys of the scenario where a head reads the map of a frozen backbone."""


@dataclass(frozen=True)
class Method:
    """A row of the ladder or the leaderboard.

    Attributes:
        spec: strategies joined with "+".
        tried: settings that are tried beside the defaults.
        label: its name; None: the spec.
        options: that make it the published composition.
        trained: further options where the backbone trains, whose values stand in the label.
        over_maps: whether its head reads the backbone's map; the label says so where the backbone is frozen.
        epochs: of a task, in place of the scenario's.
    """

    spec: str
    tried: tuple[Settings, ...] = ()
    label: str | None = None
    options: Settings = field(default_factory=dict)
    trained: Settings = field(default_factory=dict)
    over_maps: bool = False
    epochs: int | None = None

    @property
    def name(self) -> str:
        return self.label or self.spec

    def variant(self, frozen: bool, setting: Settings | None = None, note: str = "", narrow: bool = False) -> Variant:
        """Return the method for a stream, with a setting that is named in its label.

        Args:
            frozen: whether the backbone of the stream is frozen.
            note: stands in the label in place of the setting.
            narrow: whether its parts have the sizes of `NARROW`.
        """
        smaller = NARROW if narrow else FROZEN if frozen else {}
        sizes = {key: size for part in parts_of(self.spec) for key, size in smaller.get(part, {}).items()}
        trained = {} if frozen else self.trained
        said = note or ", ".join(f"{key}={value}" for key, value in (setting or {}).items())
        widths = [f"{size} wide" for size in sizes.values()]
        maps = OVER_MAPS if frozen and self.over_maps else {}
        said_of_maps = ["maps"] if maps else []
        longer = {} if self.epochs is None else {"training.epochs": self.epochs}
        label = ", ".join([self.name, *widths, *map(str, trained.values()), *said_of_maps, *filter(None, [said])])
        options = {**self.options, **sizes, **trained, **(setting or {})}
        return Variant(self.spec, label, options, {**maps, **longer})


def each(key: str, *values: Any) -> tuple[Settings, ...]:
    """Return one setting per value of an option."""
    return tuple({key: value} for value in values)


ER = ({"er.current_classes": "ignore"}, {"er.current_classes": "refresh"}, {"er.other_classes": "negative"})
HERDED = {"er.selection": "herding"}

SELECTIONS = [
    Method("er", ER, f"er, {name}", {"er.selection": name}) for name in names("selection") if name != "class-balanced"
]
REPLAY = [
    Method("er", ER),
    *SELECTIONS,
    Method("er-ace", ER),
    Method("er+derpp", ({"derpp.alpha": 0.1}, {"derpp.alpha": 1.0}, {"derpp.beta": 0.5})),
    Method("cls-er", each("slow-learners.weight", 0.02, 0.5) + each("slow-learners.decay", 0.99)),
    Method("gdumb", ({"unknown": "ignore"}, {"selection": "reservoir"}, {"selection": "prs"})),
    Method("a-gem", ({"current_classes": "ignore"}, {"other_classes": "negative"}, {"selection": "reservoir"})),
    Method("er+or", each("or.threshold", 0.5, 0.8, "prior")),
]
DISTILLATION = [
    Method("lwf", each("weight", 0.5, 2.0, 5.0)),
    Method("lwf+er", each("lwf.weight", 0.5, 2.0, 5.0)),
    Method("icarl", each("lwf.weight", 0.5, 2.0, 5.0)),
    Method("akd+er", ({"akd.gamma": 0.0}, {"akd.gamma": 2.0}, {"akd.decay": 0.0})),
    Method("rebll", ({"akd.gamma": 0.0}, {"akd.decay": 0.0}, {"or.threshold": 0.8})),
    Method("lwf+er+podnet", each("podnet.weight", 0.5, 1.0, 10.0)),
    Method("lwf+er+relational", each("relational.weight", 0.1, 10.0, 100.0)),
    Method("lwf+er+bic", ({"bic.share": 0.2}, {"bic.ridge": 0.01}, {"bic.ridge": 1.0})),
    Method("lwf+er+wa", each("lwf.weight", 0.5, 2.0, 5.0)),
    Method("lwf+er+max-entropy", (*each("max-entropy.beta", 0.01, 0.2), {"max-entropy.classes": "seen"})),
    Method("lwf+feature-replay", each("feature-replay.share", 0.5, 2.0) + each("feature-replay.rank", 128)),
]
WEIGHTS = [
    Method("ewc", each("weight", 10.0, 100.0, 1000.0)),
    Method("oewc", each("ewc.weight", 10.0, 100.0, 1000.0)),
    Method("si", each("weight", 5.0, 50.0) + each("damping", 0.1)),
    Method("mas", each("weight", 10.0, 100.0) + each("per", "row")),
    Method("rebll+more", each("more.amplitude", 0.1, 2.0) + each("more.init_b", 0.02)),
]
RECIPE_KRT = {**HERDED, "pseudo.rule": "dynamic"}
RECIPE_RCLP = {
    "pseudo.rule": "f1",
    "er.current_classes": "ignore",
    "er.replay": "paired",
    "or.threshold": "f1",
}
RCLP = Method(
    "pseudo+er+or",
    ({"pseudo.rest": "ignore"}, {"er.current_classes": "negative"}, {"er.replay": "concat"}),
    "pseudo+er+or, f1",
    RECIPE_RCLP,
)
LABELS = [
    Method("pseudo+er", each("pseudo.rule", "fixed", "uncertain", "f1")),
    Method("pseudo+er", each("pseudo.rest", "ignore") + ER[:2], "pseudo+er, recall", {"pseudo.rule": "recall"}),
    Method("cgc+pseudo+er", each("pseudo.rest", "ignore") + ER[:2], options={"pseudo.rule": "uncertain"}),
    RCLP,
    Method("krt+er", each("krt.weight", 0.5, 5.0) + each("krt.width", 128), over_maps=True),
    Method(
        "krt+pseudo+er",
        ({"krt.weight": 0.5}, {"krt.weight": 5.0}, {"pseudo.rule": "fixed"}),
        options=RECIPE_KRT,
        over_maps=True,
    ),
    Method("csc+er", each("csc.alpha", 0.3, 0.7) + each("csc.width", 256), over_maps=True),
    Method(
        "csc+max-entropy+er",
        ({"csc.alpha": 0.3}, {"csc.alpha": 0.7}, {"max-entropy.beta": 0.01}),
        over_maps=True,
    ),
    Method("agcn", each("agcn.graph", 0.0, 1e4) + each("agcn.alpha", 0.5), over_maps=True),
    Method(
        "class-embeddings+er",
        ({"class-embeddings.unknown": "random"}, {"class-embeddings.unknown": "none"}, {"class-embeddings.depth": 3}),
        over_maps=True,
    ),
    Method("hcp+er", each("pseudo.rest", "ignore") + ER[:2], over_maps=True),
    Method("kbk+er", each("pseudo.rest", "ignore") + ER[:2], over_maps=True),
]
CLOSED_FORM = [
    Method("l3a", each("expansion", 1024) + each("threshold", 0.5, 0.9), trained={"features": "first-task"}),
    Method(
        "moments",
        each("unknown", "soft") + each("prior", "task") + each("ridge", 1.0),
        trained={"features": "first-task"},
    ),
    Method(
        "rebll+moments",
        ({"moments.unknown": "soft"}, {"moments.prior": "task"}, {"or.threshold": 0.8}),
        trained={"moments.features": "transport"},
    ),
]
REFERENCES = [Method("finetune", each("old_classes", "negative")), Method("joint")]
LISTED = [REFERENCES[0], *WEIGHTS, *REPLAY, *DISTILLATION, *LABELS, *CLOSED_FORM]

LONGER = [
    Method("joint", label="joint, 50 epochs", options={"tasks": "last"}, epochs=50),
    Method("gdumb", label="gdumb, 256 epochs", epochs=256),
]
"""The methods that begin anew in each task, with more epochs than a task of the others has.

With the scenario's, `joint` makes a fraction of the steps of a network that goes through all tasks. 50 are as many as
five tasks have together, but each is over all images, so the steps are more; GDumb's authors train for 256.
"""

LADDER_ONLY = [*SELECTIONS, RCLP, *LONGER]
"""Selections are settings of er, RCLP's composition is `rclp` once more, and the board gives all the same epochs."""
CONTROLS = [Method("er+identity")]
"""`identity` knows which rows show the same photograph."""
BOARD_ONLY = [*(Method(name, over_maps=True) for name in ("class-embeddings", "hcp", "kbk")), *CONTROLS]
"""Networks of the ladder without a memory, and the control."""

LEFT_OUT = {"lwf-mc": "another name of lwf"}
"""Strategy -> why no row has it."""


def named_in(methods: Iterable[Method]) -> set[str]:
    """Return the strategies that methods name or that these stand for."""
    return {part for one in methods for part in [*one.spec.split("+"), *parts_of(one.spec)]}


def taken_in(known: Iterable[str]) -> list[Method]:
    """Return a method for each installed strategy that is not `known`, with the parts that it needs.

    A memory is that of er, distillation that of lwf.
    """
    found = []
    for name in sorted(set(registered()) - set(known)):
        needs = strategy_class(name).needs
        beside = [part for need, part in (("distillation", "lwf"), ("memory", "er")) if need in needs]
        found.append(Method("+".join([*beside, name])))
    return found


LADDER = [*LISTED, *taken_in(named_in([*LISTED, *REFERENCES, *CONTROLS]) | set(LEFT_OUT)), REFERENCES[1], *LONGER]
BOARD = [*(one for one in LADDER if one not in LADDER_ONLY), *BOARD_ONLY]

CHOSEN: dict[str, Settings] = {
    "agcn": {"agcn.alpha": 0.5},
    "akd+er": {"akd.decay": 0.0},
    "class-embeddings+er": {"class-embeddings.unknown": "none"},
    "cls-er": {"slow-learners.decay": 0.99},
    "csc+er": {"csc.width": 256},
    "er+derpp": {"derpp.beta": 0.5},
    "er, ocdm": {"er.other_classes": "negative"},
    "er, reservoir": {"er.other_classes": "negative"},
    "er-ace": {"er.other_classes": "negative"},
    "ewc": {"weight": 1000.0},
    "gdumb": {"selection": "reservoir"},
    "icarl": {"lwf.weight": 2.0},
    "krt+er": {"krt.width": 128},
    "krt+pseudo+er": {"pseudo.rule": "fixed"},
    "lwf": {"weight": 2.0},
    "lwf+er": {"lwf.weight": 5.0},
    "lwf+er+bic": {"bic.ridge": 0.01},
    "lwf+er+max-entropy": {"max-entropy.beta": 0.2},
    "lwf+er+podnet": {"podnet.weight": 1.0},
    "lwf+er+wa": {"lwf.weight": 5.0},
    "lwf+feature-replay": {"feature-replay.share": 0.5},
    "mas": {"per": "row"},
    "oewc": {"ewc.weight": 1000.0},
    "pseudo+er": {"pseudo.rule": "uncertain"},
    "pseudo+er+or, f1": {"er.current_classes": "negative"},
    "rebll": {"akd.gamma": 0.0},
    "rebll+more": {"more.amplitude": 0.1},
    "si": {"weight": 50.0},
}
"""Method -> the setting that `python -m benchmarks.studies.zoo_choice` names; of all others the defaults are best."""


def ladder(frozen: bool, of: Iterable[str] | None = None) -> list[Variant]:
    """Return the methods of the ladder with the authors' defaults, and those of CHOSEN with their setting as well.

    Args:
        of: their names; None: all.
    """
    found = []
    for one in LADDER:
        if of is None or one.name in of:
            found.append(one.variant(frozen))
            if one.name in CHOSEN:
                found.append(one.variant(frozen, CHOSEN[one.name], "tuned"))
    return found


def board(frozen: bool, of: Iterable[str] | None = None) -> list[Variant]:
    """Return the methods of the leaderboard with the authors' defaults, their networks narrow.

    Args:
        of: their names; None: all.
    """
    return [one.variant(frozen, narrow=True) for one in BOARD if of is None or one.name in of]


def tried(frozen: bool) -> dict[str, list[Variant]]:
    """Return the defaults and the settings to be tried of each method of the ladder, LONGER left out, by its name."""
    return {
        one.name: [one.variant(frozen), *(one.variant(frozen, setting) for setting in one.tried)]
        for one in LADDER
        if one not in LONGER
    }
