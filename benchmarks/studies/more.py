"""MORE and the long tail: options chosen on validation images, then methods and base losses on the reported ones.

python -m benchmarks.studies.more tune     # options of MORE, one at a time and together, on validation images
python -m benchmarks.studies.more reasons  # smaller networks and longer training, on validation images
python -m benchmarks.studies.more report   # er, er+more, rebll, rebll+more with bce, asl and db, on test images
python -m benchmarks.studies.more tables   # writes the tables of docs/more.md from what has been run

Runs go to runs/studies/more and are kept: a study that was stopped goes on where it was.
"""

from __future__ import annotations

from typing import Any

from benchmarks.studies.study import ROOT, VALIDATED, VOC_MINI, VOC_THERE, Compared, Study, Table
from clsim import Variant

ONE_TASK = {"stream.base": 12, "stream.increment": 12, "training.epochs": 20}
THREE_TASKS = {"stream.increment": 4}


def photos(imbalance: int) -> dict[str, Any]:
    """Return overrides of voc-mini with a long tail; 12 classes make head, medium and tail of four each."""
    return {"labels.long_tail": {"imbalance": imbalance}, "evaluation.groups": "terciles"}


AMPLITUDES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
STUDENT = {"gradient": "student_only"}
BASE_LOSSES = ("bce", "asl", "db")


def more(label: str, base: str, **options: Any) -> Variant:
    """Return `base` with MORE, whose options are the published form with A' = 0.5 unless given."""
    options = {"amplitude": 0.5, "gradient": "full", **options}
    return Variant(f"{base}+more", f"{base}+more, {label}", {f"more.{key}": value for key, value in options.items()})


def around(base: str) -> list[Variant]:
    """The base alone, MORE over amplitudes, then one option changed at a time, and together what may help."""
    wide = {"rank": 0.3, **STUDENT}
    return [
        Variant(base),
        *(more(f"A'={value:g}", base, amplitude=value) for value in AMPLITUDES),
        *(more(f"A'={value:g}, student_only", base, amplitude=value, **STUDENT) for value in AMPLITUDES[1:]),
        more("uniform", base, weights="uniform"),
        more("class", base, weights="class"),
        more("sample", base, weights="sample"),
        more("rank=0.3", base, rank=0.3),
        more("rank=0.5", base, rank=0.5),
        more("lr_factor=5", base, lr_factor=5.0),
        more("init_b=0.02", base, init_b=0.02),
        more("rank=0.3, student_only", base, **wide),
        more("rank=0.3, student_only, uniform", base, weights="uniform", **wide),
        more("rank=0.3, A'=0", base, rank=0.3, amplitude=0.0),
        more("rank=0.3, lr_factor=5, A'=0", base, rank=0.3, lr_factor=5.0, amplitude=0.0),
        more("rank=0.3, lr_factor=5", base, rank=0.3, lr_factor=5.0),
        more("rank=0.3, lr_factor=5, student_only", base, lr_factor=5.0, **wide),
        more("class, A'=0.1", base, weights="class", amplitude=0.1),
        more("class, A'=2", base, weights="class", amplitude=2.0),
        more("class, student_only", base, weights="class", **STUDENT),
        more("class, A'=2, student_only", base, weights="class", amplitude=2.0, **STUDENT),
        more("class, rank=0.3", base, weights="class", rank=0.3),
        more("class, init_b=0.02", base, weights="class", init_b=0.02),
        more("class, rank=0.3, init_b=0.02", base, weights="class", rank=0.3, init_b=0.02),
        more("class, init_b=0.02, student_only", base, weights="class", init_b=0.02, **STUDENT),
        more("init_b=0.02, A'=0", base, init_b=0.02, amplitude=0.0),
        more("init_b=0.05", base, init_b=0.05),
    ]


def around_scenes(base: str) -> list[Variant]:
    """The same for a network that trains as a whole, whose runs take longer: fewer of them."""
    return [
        Variant(base),
        more("A'=0", base, amplitude=0.0),
        more("A'=0.5", base),
        more("A'=2", base, amplitude=2.0),
        more("A'=0.25, student_only", base, amplitude=0.25, **STUDENT),
        more("A'=0.5, student_only", base, **STUDENT),
        more("uniform", base, weights="uniform"),
        more("init_b=0.02", base, init_b=0.02),
        more("class, init_b=0.02", base, weights="class", init_b=0.02),
        more("class, student_only", base, weights="class", **STUDENT),
    ]


SETTINGS: dict[str, dict[str, Any]] = {
    "hidden=16": {"training.model.hidden": 16},
    "hidden=64": {"training.model.hidden": 64},
    "60 epochs": {"training.epochs": 60},
}
"""Is it capacity that rare classes lack, or time?"""


def elsewhere(setting: str) -> list[Variant]:
    """Return a network alone, decomposed only, and in two forms of MORE, under one of the SETTINGS."""
    own = [
        Variant("finetune", "finetune"),
        more("A'=0", "finetune", amplitude=0.0),
        more("class, init_b=0.02", "finetune", weights="class", init_b=0.02),
        more("class, student_only", "finetune", weights="class", **STUDENT),
    ]
    return [Variant(one.spec, f"{one.label}, {setting}", one.options, SETTINGS[setting]) for one in own]


CHOSEN = {"amplitude": 0.5, "init_b": 0.02}
"""The greatest tail gain, summed over the tuning streams, of what costs the head less than half a point on each."""


def methods(base: str, loss: str) -> list[Variant]:
    """Return a method alone and with MORE, under a base loss."""
    own = {"akd.classification": "scenario"} if base == "rebll" and loss != "bce" else {}  # AKD's own is a form of bce
    with_more = {**own, **{f"more.{name}": value for name, value in CHOSEN.items()}}
    overrides = {"training.loss": {"name": loss}}
    return [
        Variant(base, f"{base}, {loss}", own, overrides),
        Variant(f"{base}+more", f"{base}+more, {loss}", with_more, overrides),
    ]


def reported(name: str, scenario: str, overrides: dict[str, Any], *bases: str) -> Compared:
    """Return methods and losses on one stream."""
    variants = [variant for loss in BASE_LOSSES for base in bases for variant in methods(base, loss)]
    return Compared(name, scenario, variants, overrides)


SCENES = {
    "dataset.seed": 7,
    "dataset.train": 3000,
    "dataset.validation": 1 / 3,
    "evaluation.on": "validation",
    "training.epochs": 8,
}
TUNING = [Compared("digits-lt-tuning", "digits-lt-joint", around_scenes("finetune"), SCENES)]
REASONS = []
REPORTED = [reported("digits-lt-4-epochs", "digits-lt", {"training.epochs": 4}, "er", "rebll")]
if VOC_THERE:
    ONE, THREE = {**photos(50), **ONE_TASK, **VALIDATED}, {**photos(50), **THREE_TASKS, **VALIDATED}
    TUNING.insert(0, Compared("voc-mini-lt50-joint", VOC_MINI, around("finetune"), ONE))
    TUNING.insert(1, Compared("voc-mini-lt50-b0c4", VOC_MINI, around("er"), THREE))
    other = [variant for setting in SETTINGS for variant in elsewhere(setting)]
    REASONS.append(Compared("voc-mini-lt50-joint, reasons", VOC_MINI, other, ONE))
    REPORTED.insert(0, reported("voc-mini-lt100-b0c4", VOC_MINI, {**photos(100), **THREE_TASKS}, "er", "rebll"))
    REPORTED.insert(1, reported("voc-mini-lt100-joint", VOC_MINI, {**photos(100), **ONE_TASK}, "finetune"))

GROUP_MAP = {"last_mAP": "last mAP", "head_last_mAP": "head", "medium_last_mAP": "medium", "tail_last_mAP": "tail"}
FORGETTING = {"forgetting": "forgetting", "tail_forgetting": "of the tail"}
LOW_RANK = {"more/low_rank": "BA / W"}
INSIDE = {
    **LOW_RANK,
    "more/rank_correlation": "rank correlation",
    "more/tail_to_head": "tail / head discrepancy",
}


def reasons_table(compared: Compared) -> Table:
    """Return the table of the SETTINGS, each variant against the network alone under its setting."""
    bases = {name: f"finetune, {setting}" for name in compared.names() for setting in SETTINGS if setting in name}
    return Table("reasons", compared, bases, {**GROUP_MAP, **LOW_RANK}, ("tail_last_mAP", "head_last_mAP"))


def report_table(compared: Compared) -> Table:
    """Return the table of methods and losses, each with MORE against itself without."""
    bases = {name: name.replace("+more", "") for name in compared.names()}
    groups = GROUP_MAP if compared.name.endswith("joint") else {**GROUP_MAP, **FORGETTING}
    paired = ("tail_last_mAP", "head_last_mAP", *(name for name in ("tail_forgetting",) if name in groups))
    return Table(f"report {compared.name}", compared, bases, {**groups, **LOW_RANK}, paired)


STUDY = Study(
    page=ROOT / "docs" / "more.md",
    parts={"tune": TUNING, "reasons": REASONS, "report": REPORTED},
    tables=[
        *(
            Table(
                f"tuning {one.name}",
                one,
                one.names()[0],
                {**GROUP_MAP, **INSIDE},
                ("tail_last_mAP", "head_last_mAP", "last_mAP"),
            )
            for one in TUNING
        ),
        *map(reasons_table, REASONS),
        *map(report_table, REPORTED),
    ],
)

if __name__ == "__main__":
    STUDY.main(__doc__)
