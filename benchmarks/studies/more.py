"""MORE and the long tail: options chosen on validation images, then methods and base losses on the reported ones.

python -m benchmarks.studies.more tune     # options of MORE, one at a time and together, on validation images
python -m benchmarks.studies.more reasons  # smaller networks and longer training, on validation images
python -m benchmarks.studies.more report   # er, er+more, rebll, rebll+more with bce, asl and db, on test images
python -m benchmarks.studies.more tables   # writes the tables of docs/more.md from what has been run

Runs go to runs/studies/more and are kept: a study that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.studies.runs import Job, Stream, Variant, carry_out, frame, table, write_tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "more.md"
VOC_MINI = str(Path(__file__).with_name("voc-mini.yaml"))
VOC_THERE = (ROOT.parent / "shared" / "data" / "voc-mini").is_dir()

VALIDATED = {"dataset.validation": 0.25, "evaluation.on": "validation"}
ONE_TASK = {"stream.base": 12, "stream.increment": 12, "training.epochs": 20}
THREE_TASKS = {"stream.increment": 4}


def photos(imbalance: int) -> dict[str, Any]:
    """voc-mini with a long tail; 12 classes make head, medium and tail of four each."""
    return {"labels.long_tail": {"imbalance": imbalance}, "evaluation.groups": "terciles"}


SCENES = Stream(
    "digits-lt-tuning",
    "digits-lt-joint",
    {
        "dataset.seed": 7,
        "dataset.train": 3000,
        "dataset.validation": 1 / 3,
        "evaluation.on": "validation",
        "training.epochs": 8,
    },
)
PHOTOS = [
    Stream("voc-mini-lt50-joint", VOC_MINI, {**photos(50), **ONE_TASK, **VALIDATED}),
    Stream("voc-mini-lt50-b0c4", VOC_MINI, {**photos(50), **THREE_TASKS, **VALIDATED}),
]
TUNING = [*(PHOTOS if VOC_THERE else []), SCENES]
REPORTED = [Stream("digits-lt-4-epochs", "digits-lt", {"training.epochs": 4})]
if VOC_THERE:
    REPORTED.insert(0, Stream("voc-mini-lt100-b0c4", VOC_MINI, {**photos(100), **THREE_TASKS}))
    REPORTED.insert(1, Stream("voc-mini-lt100-joint", VOC_MINI, {**photos(100), **ONE_TASK}))

AMPLITUDES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
STUDENT = {"gradient": "student_only"}
BASE_LOSSES = ("bce", "asl", "db")


def more(label: str, base: str, **options: Any) -> Variant:
    """`base` with MORE, whose options are the published form with A' = 0.5 unless given."""
    options = {"amplitude": 0.5, "gradient": "full", **options}
    return Variant(f"{base}+more, {label}", f"{base}+more", {f"strategy.more.{k}": v for k, v in options.items()})


def around(base: str) -> list[Variant]:
    """The base alone, MORE over amplitudes, then one option changed at a time, and together what may help."""
    wide = {"rank": 0.3, **STUDENT}
    return [
        Variant(base, base),
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
        Variant(base, base),
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
    """A network alone, decomposed only, and in two forms of MORE, under one of the SETTINGS."""
    own = [
        Variant("finetune", "finetune"),
        more("A'=0", "finetune", amplitude=0.0),
        more("class, init_b=0.02", "finetune", weights="class", init_b=0.02),
        more("class, student_only", "finetune", weights="class", **STUDENT),
    ]
    return [Variant(f"{v.name}, {setting}", v.strategy, {**v.options, **SETTINGS[setting]}) for v in own]


def reason_jobs(out: Path, seeds: Sequence[int]) -> list[Job]:
    """Why MORE helps or does not, below `out/tune`, on validation images."""
    streams = PHOTOS[:1] if VOC_THERE else []
    return [
        Job(stream, variant, seed, out / "tune")
        for seed in seeds
        for stream in streams
        for setting in SETTINGS
        for variant in elsewhere(setting)
    ]


def tuning_jobs(out: Path, seeds: Sequence[int]) -> list[Job]:
    """Options of MORE, below `out/tune`; one seed of everything before the next."""
    variants = {
        SCENES.name: around_scenes("finetune"),
        PHOTOS[0].name: around("finetune"),
        PHOTOS[1].name: around("er"),
    }
    return [
        Job(stream, variant, seed, out / "tune")
        for seed in seeds
        for stream in TUNING
        for variant in variants[stream.name]
    ]


CHOSEN = {"amplitude": 0.5, "init_b": 0.02}
"""The greatest tail gain, summed over the tuning streams, of what costs the head less than half a point on each."""


def methods(base: str, loss: str) -> list[Variant]:
    """A method alone and with MORE, under a base loss."""
    own: dict[str, Any] = {"training.loss": {"name": loss}}
    if base == "rebll" and loss != "bce":  # AKD's classification term is a form of bce
        own["strategy.akd.classification"] = "scenario"
    with_more = {f"strategy.more.{name}": value for name, value in CHOSEN.items()}
    return [
        Variant(f"{base}, {loss}", base, own),
        Variant(f"{base}+more, {loss}", f"{base}+more", {**own, **with_more}),
    ]


def report_jobs(out: Path, seeds: Sequence[int]) -> list[Job]:
    """Methods and losses, below `out/report`."""
    return [
        Job(stream, variant, seed, out / "report")
        for seed in seeds
        for stream in REPORTED
        for loss in BASE_LOSSES
        for base in (("finetune",) if stream.name.endswith("joint") else ("er", "rebll"))
        for variant in methods(base, loss)
    ]


GROUP_MAP = {"last_mAP": "last mAP", "head_mAP": "head", "medium_mAP": "medium", "tail_mAP": "tail"}
FORGETTING = {"forgetting": "forgetting", "tail_forgetting": "of the tail"}
INSIDE = {"low_rank": "BA / W", "rank_correlation": "rank correlation", "tail_to_head": "tail / head discrepancy"}


def tables(out: Path, seeds: Sequence[int]) -> dict[str, str]:
    """Every table of the page by its name."""
    found = {}
    tuned, reported = frame(tuning_jobs(out, seeds)), frame(report_jobs(out, seeds))
    for stream in TUNING:
        runs = _of(tuned, stream)
        if len(runs):
            found[f"tuning {stream.name}"] = table(
                runs, runs.variant.iloc[0], {**GROUP_MAP, **INSIDE}, ("tail_mAP", "head_mAP", "last_mAP")
            )
    reasons = frame(reason_jobs(out, seeds))
    if len(reasons):
        bases = {variant.name: elsewhere(setting)[0].name for setting in SETTINGS for variant in elsewhere(setting)}
        found["reasons"] = table(
            reasons, bases, {**GROUP_MAP, "low_rank": INSIDE["low_rank"]}, ("tail_mAP", "head_mAP")
        )
    for stream in REPORTED:
        runs = _of(reported, stream)
        if len(runs):
            columns = GROUP_MAP if stream.name.endswith("joint") else {**GROUP_MAP, **FORGETTING}
            bases = {name: name.replace("+more", "") for name in runs.variant}
            paired = ("tail_mAP", "head_mAP", *(name for name in ("tail_forgetting",) if name in columns))
            found[f"report {stream.name}"] = table(runs, bases, {**columns, "low_rank": "BA / W"}, paired)
    return found


def _of(runs: pd.DataFrame, stream: Stream) -> pd.DataFrame:
    return runs[runs.stream == stream.name] if len(runs) else runs


def main() -> None:
    """Run a part of the study, or write its tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=["tune", "reasons", "report", "tables"])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "studies" / "more")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 .. n-1")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--streams", nargs="*", help="only these streams")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    if not VOC_THERE:
        print("voc-mini is left out: ../shared/data/voc-mini is not here")
    if arguments.part == "tables":
        write_tables(PAGE, tables(arguments.out, seeds))
    else:
        kinds = {"tune": tuning_jobs, "reasons": reason_jobs, "report": report_jobs}
        jobs = kinds[arguments.part](arguments.out, seeds)
        wanted = [job for job in jobs if job.stream.name in (arguments.streams or [job.stream.name])]
        carry_out(wanted, arguments.workers)


if __name__ == "__main__":
    main()
