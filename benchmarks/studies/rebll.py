"""RebLL step by step: defaults chosen on validation images of other streams, then the ladder on the reported ones.

python -m benchmarks.studies.rebll tune     # sensitivity and policies, on validation images
python -m benchmarks.studies.rebll ladder   # finetune .. rebll, joint, on test images
python -m benchmarks.studies.rebll finetuned --seeds 1   # the steps on photographs with a backbone that trains too
python -m benchmarks.studies.rebll tables   # writes the tables of docs/rebll.md from what has been run

Runs go to runs/studies/rebll and are kept: a study that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.studies.runs import Job, Stream, Variant, carry_out, frame, table, write_tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "rebll.md"
VOC_MINI = str(Path(__file__).with_name("voc-mini.yaml"))
VOC_THERE = (ROOT.parent / "shared" / "data" / "voc-mini").is_dir()

SMALL = {
    "dataset.seed": 7,
    "dataset.train": 900,
    "dataset.validation": 1 / 3,
    "evaluation.on": "validation",
    "training.epochs": 6,
}
VALIDATED = {"dataset.validation": 0.25, "evaluation.on": "validation"}
TUNING = [Stream("disjoint", "digits-b0c2", {**SMALL, "stream.assignment": {"disjoint": "random"}})]
LADDER_STREAMS = [Stream("digits-b0c2", "digits-b0c2"), Stream("digits20-b10c2", "digits20-b10c2")]
if VOC_THERE:
    TUNING.insert(0, Stream("voc-mini-b4c2", VOC_MINI, {**VALIDATED, "stream.base": 4}))
    LADDER_STREAMS.insert(0, Stream("voc-mini-b0c2", VOC_MINI))
    LADDER_STREAMS.insert(1, Stream("voc-mini-b0c4", VOC_MINI, {"stream.increment": 4}))
FINE_TUNED = Stream(  # the whole network trains; minutes a run on a CPU
    "voc-mini-b0c4-finetuned",
    VOC_MINI,
    {
        "stream.increment": 4,
        "training.model.freeze": "batch-norm",
        "training.model.cache_features": False,
        "training.model.image_size": 112,
        "training.epochs": 3,
        "training.optimizer.lr": 3e-4,
    },
)

LADDER = [
    Variant("finetune", "finetune"),
    Variant("er", "er"),
    Variant("lwf+er", "lwf+er"),
    Variant("akd+er", "akd+er"),
    Variant("er+or", "er+or"),
    Variant("rebll", "rebll"),
    Variant("joint", "joint"),
]
CURRENT, THRESHOLD = "strategy.er.current_classes", "strategy.or.threshold"
PAIRED = {"strategy.er.replay": "paired"}
BASE, WITHOUT_OR = "akd+er+or, negative", "akd+er, negative"
AROUND_BASE = [  # RebLL with its defaults, then one option changed at a time
    Variant(BASE, "akd+er+or"),
    Variant("gamma=0", "akd+er+or", {"strategy.akd.gamma": 0.0}),
    Variant("gamma=2", "akd+er+or", {"strategy.akd.gamma": 2.0}),
    Variant("decay=0", "akd+er+or", {"strategy.akd.decay": 0.0}),
    Variant("decay_on=positive", "akd+er+or", {"strategy.akd.decay_on": "positive"}),
    Variant("kd_weight=0.5", "akd+er+or", {"strategy.akd.kd_weight": 0.5}),
    Variant("kd_weight=2", "akd+er+or", {"strategy.akd.kd_weight": 2.0}),
    Variant("threshold=0.5", "akd+er+or", {THRESHOLD: 0.5}),
    Variant("threshold=0.8", "akd+er+or", {THRESHOLD: 0.8}),
    Variant("threshold=0.8, ternary", "akd+er+or", {THRESHOLD: 0.8, "strategy.or.ternary": True}),
    Variant("threshold=adaptive", "akd+er+or", {THRESHOLD: "adaptive"}),
    Variant("threshold=prior", "akd+er+or", {THRESHOLD: "prior"}),
    Variant("other=negative", "akd+er+or", {"strategy.er.other_classes": "negative"}),
    Variant("other=ignore", "akd+er+or", {"strategy.er.other_classes": "ignore"}),
    Variant("replay=paired", "akd+er+or", PAIRED),
    Variant("selection=herding", "akd+er+or", {"strategy.er.selection": "herding"}),
    Variant("memory=4 a class", "akd+er+or", {"memory.budget": {"per_class": 4}}),
    Variant("memory=20 a class", "akd+er+or", {"memory.budget": {"per_class": 20}}),
    Variant(WITHOUT_OR, "akd+er"),
]
POLICIES = [
    Variant(f"{strategy}, {policy}", strategy, {CURRENT: policy})
    for strategy in ("er", "er+or", "akd+er+or")
    for policy in ("negative", "ignore", "refresh")
]
REPLAY_MODES = [
    Variant("er, paired", "er", PAIRED),
    Variant("lwf+er, paired", "lwf+er", PAIRED),
    Variant("akd+er, paired", "akd+er", PAIRED),
]
HARD = [
    Variant("er+or, threshold=0.8", "er+or", {THRESHOLD: 0.8}),
    Variant("er+or, prior", "er+or", {THRESHOLD: "prior"}),
]
REFERENCES = [Variant("finetune", "finetune"), Variant("lwf+er", "lwf+er"), Variant("joint", "joint")]
IDENTITY = Variant("er+identity", "er+identity")

OUTCOME = {
    "last_mAP": "last mAP",
    "avg_mAP": "avg mAP",
    "forgetting": "forgetting",
    "tail_mAP": "tail mAP",
    "CF1": "CF1@0.5",
    "FPR": "FPR@0.5",
    "FNR": "FNR@0.5",
}
MEMORY = {
    "last_mAP": "last mAP",
    "FPR": "FPR@0.5",
    "FNR": "FNR@0.5",
    "memory_precision": "memory precision",
    "memory_FPR": "memory FPR",
    "memory_FNR": "memory FNR",
    "memory_KL": "memory KL",
    "memory_ones_above": "ones above",
    "memory_hidden_above": "true ones above",
}


def tuning_jobs(out: Path, seeds: Sequence[int]) -> list[Job]:
    """Sensitivity and policies, below `out/tune`; one seed of everything before the next."""
    jobs = []
    for seed in seeds:
        for stream in TUNING:
            control = [IDENTITY] if stream.overrides.get("stream.assignment") is None else []
            variants = {
                variant.name: variant
                for variant in (*AROUND_BASE, *REPLAY_MODES, *POLICIES, *HARD, *control, *REFERENCES)
            }
            jobs += [Job(stream, variant, seed, out / "tune") for variant in variants.values()]
    return jobs


def ladder_jobs(out: Path, seeds: Sequence[int]) -> list[Job]:
    """The steps from fine-tuning to RebLL and joint training, below `out/ladder`."""
    out = out / "ladder"
    return [Job(stream, variant, seed, out) for seed in seeds for stream in LADDER_STREAMS for variant in LADDER]


def fine_tuned_jobs(out: Path, seeds: Sequence[int]) -> list[Job]:
    """The same steps with a backbone that trains too, below `out/ladder`."""
    return [Job(FINE_TUNED, variant, seed, out / "ladder") for seed in seeds for variant in LADDER if VOC_THERE]


def tables(out: Path, seeds: Sequence[int]) -> dict[str, str]:
    """Every table of the page by its name."""
    found = {}
    tuning, ladder = frame(tuning_jobs(out, seeds)), frame(ladder_jobs(out, seeds))
    for stream in TUNING:
        runs = _of(tuning, stream)
        if not len(runs):
            continue
        found[f"sensitivity {stream.name}"] = table(
            _named(runs, [*AROUND_BASE, *REPLAY_MODES, *REFERENCES]), BASE, OUTCOME
        )
        found[f"policies {stream.name}"] = table(
            _named(runs, [*POLICIES, *HARD, IDENTITY, *REFERENCES]), "er, negative", MEMORY
        )
    fine_tuned = frame(fine_tuned_jobs(out, seeds))
    if len(fine_tuned):
        found[f"ladder {FINE_TUNED.name}"] = table(fine_tuned, "lwf+er", OUTCOME)
    for stream in LADDER_STREAMS:
        if not len(_of(ladder, stream)):
            continue
        found[f"ladder {stream.name}"] = table(_of(ladder, stream), "lwf+er", OUTCOME)
        with_memory = [variant for variant in LADDER if variant.name in ("er", "er+or", "rebll")]
        found[f"memory {stream.name}"] = table(_named(_of(ladder, stream), with_memory), "er", MEMORY)
    return found


def _of(runs: pd.DataFrame, stream: Stream) -> pd.DataFrame:
    return runs[runs.stream == stream.name] if len(runs) else runs


def _named(runs: pd.DataFrame, variants: Sequence[Variant]) -> pd.DataFrame:
    return runs[runs.variant.isin([variant.name for variant in variants])]


def main() -> None:
    """Run a part of the study, or write its tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=["tune", "ladder", "finetuned", "tables"])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "studies" / "rebll")
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
        kinds = {"tune": tuning_jobs, "ladder": ladder_jobs, "finetuned": fine_tuned_jobs}
        jobs = kinds[arguments.part](arguments.out, seeds)
        carry_out(
            [job for job in jobs if job.stream.name in (arguments.streams or [job.stream.name])], arguments.workers
        )


if __name__ == "__main__":
    main()
