"""The ladder: every method that ships under one evaluator, at equal rows and at equal bytes of memory.

python -m benchmarks.studies.zoo tune --seeds 2    # at most four settings per method, on validation images
python -m benchmarks.studies.zoo photos --seeds 5  # voc-mini B0-C2, frozen backbone, equal rows and equal bytes
python -m benchmarks.studies.zoo digits --seeds 5  # digits-b0c2, a backbone that trains from scratch
python -m benchmarks.studies.zoo others --seeds 3  # digits20-b10c2, digits-lt, and digits20-b10c2 with disjoint images
python -m benchmarks.studies.zoo finetuned --seeds 1   # a look: three methods on photographs, the whole network trains
python -m benchmarks.studies.zoo tables            # writes the tables of docs/zoo.md from what has been run

Runs go to runs/studies/zoo and are kept: a study that was stopped goes on where it was. What `tune` chose is printed by
`zoo_choice` and stands in `methods.CHOSEN`.
"""

from __future__ import annotations

from typing import Any

from benchmarks.studies.methods import ladder, tried
from benchmarks.studies.rebll import FINE_TUNED, SMALL
from benchmarks.studies.study import ROOT, STEP, VALIDATED, VOC_MINI, VOC_THERE, Compared, Study, Table

DISJOINT = {"stream.assignment": {"disjoint": "random"}}
BYTES = 249_984
"""Bytes of the 48 rows of er on voc-mini: 1,280 features of 4 bytes, 12 labels and what goes with them."""
LOOKED_AT = ("lwf+er", "rebll", "krt+pseudo+er")


def settings(name: str, scenario: str, overrides: dict[str, Any], frozen: bool) -> Compared:
    """Return all settings of all methods on one stream."""
    return Compared(name, scenario, [one for variants in tried(frozen).values() for one in variants], overrides)


TUNING = [settings("disjoint", "digits-b0c2", {**SMALL, **DISJOINT}, frozen=False)]
PHOTOS: list[Compared] = []
FINE_TUNING: list[Compared] = []
if VOC_THERE:
    TUNING.insert(0, settings("voc-mini-b4c2", VOC_MINI, {**VALIDATED, "stream.base": 4}, frozen=True))
    in_bytes = {"memory.budget": {"bytes": BYTES}}
    PHOTOS = [
        Compared("voc-mini-b0c2", VOC_MINI, ladder(frozen=True)),
        Compared("voc-mini-b0c2, equal bytes", VOC_MINI, ladder(frozen=True), in_bytes),
    ]
    FINE_TUNING = [Compared("voc-mini-b0c4-finetuned", VOC_MINI, ladder(frozen=False, of=LOOKED_AT), FINE_TUNED)]
DIGITS = [Compared("digits-b0c2", "digits-b0c2", ladder(frozen=False))]
OTHERS = [
    Compared("digits20-b10c2", "digits20-b10c2", ladder(frozen=False)),
    Compared("digits-lt", "digits-lt", ladder(frozen=False)),
    Compared("digits20-b10c2-disjoint", "digits20-b10c2", ladder(frozen=False), DISJOINT),
]

COLUMNS = {
    "last_mAP": "last mAP",
    "avg_mAP": "avg mAP",
    "forgetting": "forgetting",
    "tail_last_mAP": "tail",
    "CF1@0.5": "CF1@0.5",
    "memory_rows": "rows",
    "memory_bytes": "bytes",
    STEP: "step, CPU ms",
    "train_cpu_seconds": "train, CPU s",
}


def tables(of: list[Compared], seeds: int) -> list[Table]:
    """Return the table of each stream of the ladder, against plain replay."""
    baseline = {one.name: "lwf+er" if one.name.endswith("finetuned") else "er" for one in of}
    return [Table(f"ladder {one.name}", one, baseline[one.name], COLUMNS, seeds=seeds) for one in of]


def is_frozen(compared: Compared) -> bool:
    """Tell whether the backbone of a tuning stream is frozen."""
    return compared.scenario == VOC_MINI


def tuning_table(compared: Compared) -> Table:
    """Return the table of all settings on a stream, each against its method's defaults."""
    own = {
        str(one.label): str(variants[0].label) for variants in tried(is_frozen(compared)).values() for one in variants
    }
    return Table(f"tuning {compared.name}", compared, own, {"last_mAP": "last mAP"}, seeds=2)


STUDY = Study(
    page=ROOT / "docs" / "zoo.md",
    parts={"tune": TUNING, "photos": PHOTOS, "digits": DIGITS, "others": OTHERS, "finetuned": FINE_TUNING},
    tables=[
        *tables(PHOTOS, seeds=5),
        *tables(DIGITS, seeds=5),
        *tables(OTHERS, seeds=3),
        *tables(FINE_TUNING, seeds=1),
        *map(tuning_table, TUNING),
    ],
)

if __name__ == "__main__":
    STUDY.main(__doc__)
