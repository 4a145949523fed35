"""Runs on a second device: no mix of devices, the numbers of the CPU to the last bit, no wait of the host in a step.

One run per family is part of every `make test`; `make gpu-sim` carries out all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clsim.part_kinds import KINDS
from clsim.training.claims import name_of
from clsim.training.strategy_specs import classes_of, registered, strategy_class
from tests.fixtures.tiny_vit import TINY_VIT

FROZEN = {"training.model.freeze": "backbone"}
CACHED = {**FROZEN, "training.model.cache_features": True}
MAPS = {**FROZEN, "training.model.cache_features": "maps"}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "finetune": ("finetune", {}),
    "er with RandAugment": ("er", {"training.augmentation": {"randaugment": {"pool": "krt", "magnitude": [3, 30]}}}),
    "rebll and more": ("rebll+more", {"training.clip_norm": 1.0}),
    "ewc, images on the device": ("ewc", {"training.data": "device"}),
    "joint with class-balanced": ("joint", {"training.loss": {"name": "class-balanced"}}),
    "moments beside lwf": ("lwf+moments", {"strategy": {"moments.features": "transport"}}),
    "l3a": ("l3a", {**FROZEN, "strategy": {"expansion": 64}}),
    "pseudo and cgc": ("pseudo+cgc+er", {"strategy": {"rows": "all", "threshold": 0.45}}),
    "feature-replay": ("feature-replay", CACHED),
    "derpp": ("er+derpp", {"strategy": {"beta": 0.5}}),
    "csc": ("csc+er", {"strategy": {"width": 8}}),
    "agcn": ("agcn+er", {"strategy": {"width": 8}}),
    "kbk": ("kbk+er", {"strategy": {"width": 8, "pseudo.threshold": 0.45}}),
    "krt": ("krt+er", {"strategy": {"width": 16, "heads": 2}}),
    "multi-lane": ("multi-lane+er+or", {"training.model": TINY_VIT, "strategy": {"selectors": 3, "prompts": 2}}),
}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "crop": {"random_resized_crop": {}},
    "flip": {"flip": 0.5},
    "colour": {"colour": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2}},
    "cutout": {"cutout": 0.5},
    "randaugment": {"randaugment": {"operations": 3}},
    "torchvision": {"name": "v2/RandomHorizontalFlip"},
}
LOSSES: list[dict[str, Any]] = [
    {"name": "focal", "alpha": 0.3},
    {"name": "asl"},
    {"name": "db"},
    {"name": "logit-adjusted"},
    {"name": "class-balanced", "weigh": "images"},
    {"name": "rldam"},
    {"name": "cross-entropy"},
    {"name": "logit-adjusted-ce"},
]
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "er": ("er", {}),
    "er, paired, refreshed": ("er", {"strategy": {"replay": "paired", "current_classes": "refresh"}}),
    "er, both policies": ("lwf+er", {"strategy": {"current_classes": "ignore", "other_classes": "ignore"}}),
    "er, other classes absent": ("er", {"strategy": {"other_classes": "negative"}}),
    **{f"er, {name}": ("er", {"strategy": {"selection": name}}) for name in ("random", "herding", "reservoir")},
    **{f"er, {name}": ("er", {"strategy": {"selection": name}}) for name in ("prs", "ocdm", "cbrs", "label-density")},
    "er, gss": ("er", {"strategy": {"selection": "gss"}}),
    "er, rainbow": ("er", {"strategy": {"selection": "rainbow"}, "training.augmentation": {"flip": 0.5}}),
    "online": (
        "rebll",
        {
            "stream.online": {"batch": 10},
            "training.epochs": 1,
            "training.batch_size": 10,
            "strategy": {"er.replay": "paired", "er.selection": "reservoir"},
        },
    ),
    "er+identity": ("er+identity", {"stream.assignment": "overlap"}),
    "lwf, absent": ("lwf", {"strategy": {"old_classes": "negative"}}),
    "akd": ("akd", {}),
    "akd, positive": ("akd", {"strategy": {"decay_on": "positive"}}),
    **{f"rebll, {how}": ("rebll", {"strategy": {"or.threshold": how}}) for how in ("none", "adaptive", "f1", "prior")},
    "rebll, ternary": ("rebll", {"strategy": {"or.ternary": True, "or.threshold": 0.8}}),
    **{f"more, {how}": ("er+more", {"strategy": {"more.weights": how}}) for how in ("class", "sample", "uniform")},
    **{f"pseudo, {rule}": ("pseudo+er", {"strategy": {"rule": rule}}) for rule in ("recall", "uncertain", "f1")},
    "max-entropy and relational": ("lwf+max-entropy+relational", {"strategy": {"binary": True}}),
    "pseudo, distilled": ("pseudo+lwf", {"strategy": {"rest": "distil"}}),
    "more, student only": ("lwf+more", {"strategy": {"more.gradient": "student_only", "more.init_b": 0.1}}),
    "moments": ("moments", FROZEN),
    "moments, low rank": ("moments", {**FROZEN, "strategy": {"rank": 8, "unknown": "prior", "expansion": 32}}),
    "moments, first task": ("moments", {"strategy": {"features": "first-task", "unknown": "half"}}),
    "moments, anchor": ("rebll+moments", {"strategy": {"moments.features": "anchor"}}),
    "moments, memory": ("er+moments", {"strategy": {"moments.features": "memory"}}),
    "moments over features": ("moments", CACHED),
    "l3a, recursive": ("l3a", {**FROZEN, "strategy": {"solver": "recursive", "ridge": 1.0, "expansion": 64}}),
    "l3a, first task": ("l3a", {"strategy": {"features": "first-task", "expansion": 64}}),
    "oewc": ("oewc", {}),
    "si": ("si", {"strategy": {"weight": 50.0}}),
    "mas": ("mas", {}),
    "a-gem": ("a-gem", {"strategy": {"other_classes": "negative"}}),
    "wa": ("lwf+er+wa", {}),
    "gdumb": ("gdumb", {}),
    "podnet": ("er+podnet", {}),
    "cls-er": ("cls-er", {"strategy": {"stable_rate": 0.5}}),
    "hcp over cached maps": ("hcp", {**MAPS, "strategy": {"width": 8}}),
    "krt over cached maps": ("krt+lwf", {**MAPS, "strategy": {"width": 16, "heads": 2}}),
    "features of cached maps": ("rebll", {**MAPS, "training.data": "device"}),
    "features": ("rebll", {**CACHED, "training.model.hidden": 16}),
    "hidden layer": ("er+more", {**FROZEN, "training.model.hidden": 16}),
    "batch norm frozen": ("lwf", {"training.model.freeze": "batch-norm"}),
    "bic": ("lwf+er+bic", {}),
    "sgd": ("er", {"training.optimizer": {"name": "sgd", "lr": 0.05}, "training.schedule": "CosineAnnealingLR"}),
    "adam": ("er", {"training.optimizer": {"name": "adam", "lr": 0.001}, "training.schedule": "constant"}),
    "RMSprop": ("finetune", {"training.optimizer": {"name": "RMSprop", "lr": 0.001}}),
    "class-aware": ("er", {"training.sampler": "class-aware"}),
    "inverse-frequency": ("er", {"training.sampler": "inverse-frequency"}),
    "every epoch scored": ("er", {"evaluation.every": "epoch"}),
    "channels last": ("er", {"training.model.channels_last": True}),
    "oracle memory": ("er", {"memory.labels": "oracle"}),
    "bfloat16": ("rebll", {"training.precision": "bfloat16"}),
    "resnet18": ("er", {"training.model": {"name": "resnet18", "image_size": 32, "channels_last": False}}),
    **{f"augmentation {name}": ("er", {"training.augmentation": value}) for name, value in AUGMENTATIONS.items()},
    **{f"loss {value['name']}": ("er", {"training.loss": value}) for value in LOSSES},
}
ROUNDED = {
    "ewc, images on the device": ("loss/total",),
    "oewc": ("loss/total",),
    "si": ("loss/total", "loss/penalty"),
    "mas": ("loss/total", "loss/penalty"),
}
"""Values that a device other than a CPU adds up in another order."""


def test_every_shipped_strategy_and_selection_is_covered() -> None:
    """A name for parts counts as its parts."""
    runs = [*FAMILIES.values(), *OTHERS.values()]
    named = {name_of(kind) for spec, _ in runs for kind in classes_of(spec)}
    assert {name for name in registered() if not strategy_class(name).made_of} == named
    given = {overrides.get("strategy", {}).get("selection", "class-balanced") for _, overrides in runs}
    assert set(KINDS["selection"].shipped) == given


def _settings(overrides: dict[str, Any]) -> dict[str, Any]:
    given = dict(overrides)
    return {"options": given.pop("strategy", {}), "overrides": given}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_computes_on_the_device_what_it_computes_on_the_cpu(alike: Callable[..., Any], name: str) -> None:
    spec, overrides = FAMILIES[name]
    alike(spec, ROUNDED.get(name, ()), **_settings(overrides))


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERS)
def test_a_part_computes_on_the_device_what_it_computes_on_the_cpu(alike: Callable[..., Any], name: str) -> None:
    spec, overrides = OTHERS[name]
    alike(spec, ROUNDED.get(name, ()), **_settings(overrides))
