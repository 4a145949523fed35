"""`moments` against what it would replace: photographs with a fixed backbone, digits, long tails, sizes of memory.

python -m benchmarks.studies.moments tune     # what was chosen, on validation images
python -m benchmarks.studies.moments photos   # voc-mini, overlap and disjoint, one class order
python -m benchmarks.studies.moments orders   # voc-mini, five class orders
python -m benchmarks.studies.moments rivals   # voc-mini, other heads in closed form
python -m benchmarks.studies.moments bytes    # voc-mini, mAP by the bytes of memory
python -m benchmarks.studies.moments tails    # long tails, against MORE and the asymmetric loss
python -m benchmarks.studies.moments digits   # backbones that train from scratch
python -m benchmarks.studies.moments tables   # writes the tables of docs/moments.md from what has been run

Runs go to runs/studies/moments and are kept: a study that was stopped goes on where it was. What each class may see
is the study `moments_reasons`.
"""

from __future__ import annotations

from typing import Any

from benchmarks.studies.study import ROOT, VALIDATED, VOC_MINI, VOC_THERE, Compared, Study, Table
from clsim import Variant

FULL = Variant("moments", "moments, full", {"bytes": "unlimited"})
PHOTOS = [
    Variant("lwf+er"),
    Variant("rebll"),
    Variant("lwf+feature-replay"),
    FULL,
    Variant("moments"),
    Variant("joint"),
]
RIVALS = [
    Variant("moments"),
    Variant("l3a", "l3a, 1024", {"expansion": 1024}),
    Variant("l3a"),
    Variant("moments", "as RanPAC, 2000", {"bytes": "unlimited", "expansion": 2000, "normalise": False}),
]
"""Other heads in closed form, whose memory is larger than any budget of exemplars here."""

STREAMS: dict[str, dict[str, Any]] = {
    "voc-mini-b0c2": {},
    "voc-mini-b0c4": {"stream.increment": 4},
    "voc-mini-b4c2": {"stream.base": 4},
}
DISJOINT = {"stream.assignment": {"disjoint": "random"}}
BYTES = (62_500, 125_000, 250_000, 500_000, 1_000_000, 3_500_000)


def by_bytes() -> list[Variant]:
    """Return er, rebll and moments, each with memories of several sizes."""
    return [
        Variant(name, f"{name}, {size // 1000} kB", {}, {"memory.budget": {"bytes": size}})
        for name in ("er", "rebll", "moments")
        for size in BYTES
    ]


def drifting(base: str, features: str) -> Variant:
    """Return a method with `moments` beside it, on a backbone that trains."""
    return Variant(f"{base}+moments", f"{base}+moments, {features}", {"moments.features": features})


DIGITS = [
    Variant("lwf+er"),
    Variant("rebll"),
    Variant("moments", "moments, first-task", {"features": "first-task"}),
    *(drifting("rebll", features) for features in ("anchor", "memory", "transport")),
    drifting("lwf+er", "transport"),
    Variant("joint"),
]
TAILS = [
    Variant("er"),
    Variant("rebll"),
    Variant("rebll", "rebll, asl", {"akd.classification": "scenario"}, {"training.loss": {"name": "asl"}}),
    Variant("rebll+more", None, {"more.amplitude": 0.5, "more.init_b": 0.02}),
    Variant("moments"),
]
TUNED = [
    *(
        Variant("moments", f"moments, unknown {name}", {"unknown": name})
        for name in ("absent", "soft", "half", "prior")
    ),
    *(Variant("moments", f"moments, prior {name}", {"prior": name}) for name in ("rows", "task")),
    *(Variant("moments", f"moments, ridge {ridge:g}", {"ridge": ridge}) for ridge in (1.0, 10.0)),
    FULL,
    Variant("moments", "moments, full, not normalised", {"bytes": "unlimited", "normalise": False}),
    Variant("moments", "moments, expansion 1024", {"bytes": "unlimited", "expansion": 1024}),
    Variant("rebll"),
]

TUNE = [Compared("digits-b0c2", "digits-b0c2", DIGITS[1:6], {**VALIDATED, "dataset.seed": 7})]
DIGIT_STREAMS = [
    Compared("digits-b0c2", "digits-b0c2", DIGITS),
    Compared("digits20-b10c2", "digits20-b10c2", DIGITS),
]
PHOTO_STREAMS: list[Compared] = []
ORDERS: list[Compared] = []
SIZES: list[Compared] = []
CLOSED: list[Compared] = []
LONG_TAILS: list[Compared] = []
if VOC_THERE:
    for name, overrides in STREAMS.items():
        PHOTO_STREAMS.append(Compared(name, VOC_MINI, PHOTOS, overrides))
    for name, overrides in STREAMS.items():
        PHOTO_STREAMS.append(Compared(f"{name}-disjoint", VOC_MINI, PHOTOS, {**overrides, **DISJOINT}))
    for name in ("voc-mini-b0c2", "voc-mini-b0c4"):
        CLOSED.append(Compared(name, VOC_MINI, RIVALS, STREAMS[name]))
        CLOSED.append(Compared(f"{name}-disjoint", VOC_MINI, RIVALS, {**STREAMS[name], **DISJOINT}))
        by_order = {**STREAMS[name], "stream.order": "seed"}
        ORDERS.append(Compared(name, VOC_MINI, [PHOTOS[1], *PHOTOS[4:]], by_order, order_seeds=range(5)))
        TUNE.append(Compared(name, VOC_MINI, TUNED, {**STREAMS[name], **VALIDATED}))
        TUNE.append(Compared(f"{name}-disjoint", VOC_MINI, TUNED, {**STREAMS[name], **DISJOINT, **VALIDATED}))
    SIZES.append(Compared("voc-mini-b0c2", VOC_MINI, by_bytes()))
    one_task = {"stream.base": 12, "stream.increment": 12, "training.epochs": 20}
    for imbalance in (50, 100):
        tail = {"labels.long_tail": {"imbalance": imbalance}, "evaluation.groups": "terciles"}
        for name in ("voc-mini-b0c4", "voc-mini-b0c2"):
            stream = name.replace("mini", f"mini-lt{imbalance}")
            LONG_TAILS.append(Compared(stream, VOC_MINI, TAILS, {**STREAMS[name], **tail}))
        LONG_TAILS.append(Compared(f"voc-mini-lt{imbalance}-joint", VOC_MINI, TAILS, {**one_task, **tail}))

ACCURACY = {"last_mAP": "last mAP", "avg_mAP": "avg mAP", "forgetting": "forgetting", "tail_last_mAP": "tail"}
CALIBRATION = {"CF1@0.5": "CF1@0.5", "FNR@0.5": "FNR@0.5", "FPR@0.5": "FPR@0.5", "last_ECE": "ECE"}
COST = {"memory_bytes": "bytes", "train_seconds": "train s"}


def tables(part: str, of: list[Compared], baseline: str, columns: dict[str, str]) -> list[Table]:
    """Return one table per stream of a part."""
    return [Table(f"{part} {one.name}", one, baseline, columns) for one in of]


STUDY = Study(
    page=ROOT / "docs" / "moments.md",
    parts={
        "tune": TUNE,
        "photos": PHOTO_STREAMS,
        "orders": ORDERS,
        "rivals": CLOSED,
        "bytes": SIZES,
        "tails": LONG_TAILS,
        "digits": DIGIT_STREAMS,
    },
    tables=[
        *tables("tune", TUNE, "rebll", {**ACCURACY, **CALIBRATION}),
        *tables("photos", PHOTO_STREAMS, "rebll", {**ACCURACY, **CALIBRATION, **COST}),
        *tables("rivals", CLOSED, "moments", {**ACCURACY, **CALIBRATION, **COST}),
        *tables("orders", ORDERS, "rebll", {**ACCURACY}),
        *tables("bytes", SIZES, "rebll, 250 kB", {"last_mAP": "last mAP", **COST}),
        *tables("tails", LONG_TAILS, "rebll", {"head_last_mAP": "head", "medium_last_mAP": "medium", **ACCURACY}),
        *tables("digits", DIGIT_STREAMS, "rebll", {**ACCURACY, **CALIBRATION, **COST}),
    ],
)

if __name__ == "__main__":
    STUDY.main(__doc__)
