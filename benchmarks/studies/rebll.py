"""RebLL step by step: defaults chosen on validation images of other streams, then the ladder on the reported ones.

python -m benchmarks.studies.rebll tune     # sensitivity and policies, on validation images
python -m benchmarks.studies.rebll ladder   # finetune .. rebll, joint, on test images
python -m benchmarks.studies.rebll finetuned --seeds 1   # the steps on photographs with a backbone that trains too
python -m benchmarks.studies.rebll tables   # writes the tables of docs/rebll.md from what has been run

Runs go to runs/studies/rebll and are kept: a study that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.studies.study import ROOT, VALIDATED, VOC_MINI, VOC_THERE, Compared, Study, Table
from clsim import Variant

SMALL = {
    "dataset.seed": 7,
    "dataset.train": 900,
    "dataset.validation": 1 / 3,
    "evaluation.on": "validation",
    "training.epochs": 6,
}
FINE_TUNED: dict[str, Any] = {  # the whole network trains; minutes a run on a CPU
    "stream.increment": 4,
    "training.model.freeze": "batch-norm",
    "training.model.cache_features": False,
    "training.model.image_size": 112,
    "training.epochs": 3,
    "training.optimizer.lr": 3e-4,
}

LADDER = ["finetune", "er", "lwf+er", "akd+er", "er+or", "rebll", "joint"]
CURRENT, THRESHOLD = "er.current_classes", "or.threshold"
BASE, WITHOUT_OR = "akd+er+or, negative", "akd+er, negative"


def rebll(label: str, **options: Any) -> Variant:
    """Return RebLL, its parts joined, with options such as akd_gamma=0.0."""
    return Variant("akd+er+or", label, {key.replace("_", ".", 1): value for key, value in options.items()})


AROUND_BASE = [  # RebLL with its defaults, then one option changed at a time
    rebll(BASE),
    rebll("gamma=0", akd_gamma=0.0),
    rebll("gamma=2", akd_gamma=2.0),
    rebll("decay=0", akd_decay=0.0),
    rebll("decay_on=positive", akd_decay_on="positive"),
    rebll("kd_weight=0.5", akd_kd_weight=0.5),
    rebll("kd_weight=2", akd_kd_weight=2.0),
    rebll("threshold=0.5", or_threshold=0.5),
    rebll("threshold=0.8", or_threshold=0.8),
    rebll("threshold=0.8, ternary", or_threshold=0.8, or_ternary=True),
    rebll("threshold=adaptive", or_threshold="adaptive"),
    rebll("threshold=prior", or_threshold="prior"),
    rebll("other=negative", er_other_classes="negative"),
    rebll("other=ignore", er_other_classes="ignore"),
    rebll("replay=paired", er_replay="paired"),
    rebll("selection=herding", er_selection="herding"),
    Variant("akd+er+or", "memory=4 a class", overrides={"memory.budget": {"per_class": 4}}),
    Variant("akd+er+or", "memory=20 a class", overrides={"memory.budget": {"per_class": 20}}),
    Variant("akd+er", WITHOUT_OR),
]
POLICIES = [
    Variant(strategy, f"{strategy}, {policy}", {CURRENT: policy})
    for strategy in ("er", "er+or", "akd+er+or")
    for policy in ("negative", "ignore", "refresh")
]
REPLAY_MODES = [Variant(name, f"{name}, paired", {"er.replay": "paired"}) for name in ("er", "lwf+er", "akd+er")]
HARD = [
    Variant("er+or", "er+or, threshold=0.8", {THRESHOLD: 0.8}),
    Variant("er+or", "er+or, prior", {THRESHOLD: "prior"}),
]
REFERENCES = [Variant("finetune"), Variant("lwf+er"), Variant("joint")]
IDENTITY = Variant("er+identity")


def names(*variants: Variant) -> list[str]:
    """Return the names of variants."""
    return [variant.label or variant.spec for variant in variants]


def different(variants: Iterable[Variant]) -> list[Variant]:
    """Return variants, of equal names the last one, in the place of the first."""
    return list({variant.label or variant.spec: variant for variant in variants}.values())


def tuned(name: str, scenario: str, overrides: dict[str, Any], control: bool) -> Compared:
    """Return sensitivity and policies on one stream; the control knows which rows show the same photograph."""
    variants = different([*AROUND_BASE, *REPLAY_MODES, *POLICIES, *HARD, *([IDENTITY] if control else []), *REFERENCES])
    return Compared(name, scenario, variants, overrides)


TUNING = [tuned("disjoint", "digits-b0c2", {**SMALL, "stream.assignment": {"disjoint": "random"}}, control=False)]
LADDERS = [Compared("digits-b0c2", "digits-b0c2", LADDER), Compared("digits20-b10c2", "digits20-b10c2", LADDER)]
FINE_TUNING = []
if VOC_THERE:
    TUNING.insert(0, tuned("voc-mini-b4c2", VOC_MINI, {**VALIDATED, "stream.base": 4}, control=True))
    LADDERS.insert(0, Compared("voc-mini-b0c2", VOC_MINI, LADDER))
    LADDERS.insert(1, Compared("voc-mini-b0c4", VOC_MINI, LADDER, {"stream.increment": 4}))
    FINE_TUNING = [Compared("voc-mini-b0c4-finetuned", VOC_MINI, LADDER, FINE_TUNED)]

OUTCOME = {
    "last_mAP": "last mAP",
    "avg_mAP": "avg mAP",
    "forgetting": "forgetting",
    "tail_last_mAP": "tail mAP",
    "CF1@0.5": "CF1@0.5",
    "FPR@0.5": "FPR@0.5",
    "FNR@0.5": "FNR@0.5",
}
MEMORY = {
    "last_mAP": "last mAP",
    "FPR@0.5": "FPR@0.5",
    "FNR@0.5": "FNR@0.5",
    "memory_precision": "memory precision",
    "memory_FPR": "memory FPR",
    "memory_FNR": "memory FNR",
    "memory_KL": "memory KL",
    "memory_ones_above": "ones above",
    "memory_hidden_above": "true ones above",
}

STUDY = Study(
    page=ROOT / "docs" / "rebll.md",
    parts={"tune": TUNING, "ladder": LADDERS, "finetuned": FINE_TUNING},
    tables=[
        *(
            Table(f"sensitivity {one.name}", one, BASE, OUTCOME, rows=names(*AROUND_BASE, *REPLAY_MODES, *REFERENCES))
            for one in TUNING
        ),
        *(
            Table(
                f"policies {one.name}",
                one,
                "er, negative",
                MEMORY,
                rows=names(*POLICIES, *HARD, IDENTITY, *REFERENCES),
            )
            for one in TUNING
        ),
        *(Table(f"ladder {one.name}", one, "lwf+er", OUTCOME) for one in (*LADDERS, *FINE_TUNING)),
        *(Table(f"memory {one.name}", one, "er", MEMORY, rows=["er", "er+or", "rebll"]) for one in LADDERS),
    ],
)

if __name__ == "__main__":
    STUDY.main(__doc__)
