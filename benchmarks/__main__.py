"""Measure and write results.md and growth.md beside this file: `python -m benchmarks [SECTION ...]`, by default all.

Sections that are not measured stay as they are, each with its date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import (
    checkpoint,
    convolutions,
    growth,
    image_pipeline,
    index,
    ranking,
    scoring,
    stream_length,
    training_step,
    watching,
    whole,
)
from clsim.allocator import keep_freed_memory
from clsim.files import write_atomically
from clsim.running.environment import environment

HEADS = {
    "results.md": "# Speed\n\nMedians; ratios round by round, side by side in one process.\n",
    "growth.md": "# Growth\n\nCPU time; other work on the machine makes it longer too, where cores and caches are "
    "shared.\n",
}


def table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: its heading.
        text: what is measured, and the aim.
        measure: makes the tables.
        page: one of HEADS.
    """

    title: str
    text: str
    measure: Callable[[], str]
    page: str = "results.md"


def steps() -> str:
    """Of clsim, of hand-written loops and of stock Avalanche."""
    rows = [
        row
        for name in training_step.WORKLOADS
        for replay in (False, True)
        for row in training_step.measure(name, replay)
    ]
    return table(("network", "replay", "way", "ms a step", "ratio"), rows)


def rebll() -> str:
    """Steps with and without a teacher."""
    rows = [row for name in training_step.WORKLOADS for row in training_step.measure_rebll(name)]
    return table(("network", "step", "ms", "ratio"), rows)


def more() -> str:
    """Steps with and without the second path, and inference after merging."""
    rows = [row for load in training_step.MORE_WORKLOADS for row in training_step.measure_more(*load)]
    return table(("network", "step", "least ms", "ratio", "median ms", "median ratio"), rows)


def ways() -> str:
    """Networks whose convolutions compute in three ways."""
    rows = [row for load in convolutions.WORKLOADS for row in convolutions.measure(*load)]
    milliseconds = (f"{name} (ms)" for name in convolutions.WAYS)
    return table(("network", "pass", *milliseconds, "auto / contiguous"), rows)


def images() -> str:
    """Images a second, and memory."""
    headings = (
        *("changes", "px", "clsim", "torchvision, Pillow", "torchvision, tensors", "ratio to Pillow", "to tensors"),
        *("decoded once (ms an image)", "cache (MB a 1,000 images)"),
    )
    memory = table(("way", "before (MB)", "peak (MB)"), image_pipeline.measure_memory())
    text = "Memory of a process that prepares two epochs of 224 px with Cutout and RandAugment:"
    return f"{table(headings, image_pipeline.measure())}\n\n{text}\n\n{memory}"


def labels() -> str:
    """Starts of the label index."""
    headings = ("data set", "images", "parse (s)", "start, cold (s)", "start, warm (s)", "parse / warm")
    return table(headings, index.measure())


def streams() -> str:
    """Streams of 5 to 200 tasks."""
    return table(stream_length.HEADINGS, stream_length.measure())


SECTIONS = {
    "steps": Section(
        "A training step",
        "Ratio to the hand-written loop with a batched-fetch DataLoader; same network, loss, optimiser and schedule. "
        "Aim: 1.02 on ResNet-18 and 1.1 on the MLP.",
        steps,
    ),
    "rebll": Section(
        "A step of RebLL",
        "One more forward pass, of the teacher, against a plain replay step; relabelling runs between tasks. "
        "Aim: 1.36.",
        rebll,
    ),
    "more": Section(
        "A step of MORE",
        "CPU time, of the fastest round (what else runs on a machine can only add to it) and as medians. The published "
        "form takes gradients of both paths, student_only of the full one; the plain step has no replay. Once merged "
        "the network is the plain one, module by module. Aim: 1.40 for student_only, 1.0 for inference.",
        more,
    ),
    "convolutions": Section(
        "Convolutions",
        "`training.model.channels_last`: false, true, and auto, which chooses for each convolution. CPU time of a "
        "batch. The limits of auto are those of an Intel CPU. On an AMD EPYC with AVX-512 (2026-11-29, not idle) "
        "the convolutions of ResNet-18 at 64 px, 32 images, gain nothing by them: 0.95 to 1.2 of the contiguous "
        "time, one 1.6. Channels last gain there where kernels are 1 x 1 (0.8 to 0.9) and lose beyond 18,000 weights "
        "per position (1.2 to 1.5); a matrix product gains nothing in the last stage (1.1 to 1.2). The limits stay, "
        "because the last bits of a run depend on them.",
        ways,
    ),
    "images": Section(
        "Images",
        f"{image_pipeline.IMAGES} JPEGs of 500 x 375 pixels. Images a second of CPU time, decoded, changed at random, "
        "normalised and batched: from clsim's cache with its batched augmentation, and by torchvision, decoding in "
        "every epoch, with a DataLoader without workers, on Pillow images and on tensors. Aim: 5 times Pillow.",
        images,
    ),
    "labels": Section(
        "Label index",
        "Annotations of VOC's and COCO's size (COCO's outlines shortened). CPU seconds: parsed; parsed into the cache; "
        "read from the cache. The files are in the page cache each time. Aim: 20. A warm start of VOC asks the kernel "
        "for size and time of each of its 9,963 files, or one edited in place would go unnoticed; that alone is most "
        "of it.",
        labels,
    ),
    "checkpoint": Section(
        "A checkpoint",
        f"Inside the second task of `{checkpoint.STRATEGY}` with AdamW, written to the disk and read back with their "
        "checksums; the share is that of one write in the time between two, by default.",
        lambda: table(checkpoint.HEADINGS, checkpoint.measure()),
    ),
    "ranking": Section(
        f"Average precision of {ranking.IMAGES} x {ranking.CLASSES} scores",
        "All classes at once, against the references class by class.",
        lambda: table(("way", "ms", "ratio to clsim"), ranking.measure()),
    ),
    "streams": Section(
        "Streams of many tasks",
        f"lwf+er, MLP, {stream_length.PER_TASK} rows a task and as many in the memory, with all loggers of a run, "
        "TensorBoard's among them; early and late: medians of the first and last fifth.",
        streams,
    ),
    "whole": Section(
        "A whole job",
        "Experience replay on digit scenes, five tasks of two classes, tiny-resnet at 32 px, 400 training and 300 test "
        "images, three epochs a task: the same stream, network, loss, optimiser, schedule and size of memory, with the "
        "test set scored after each task, and curves for TensorBoard. CPU time of whole processes, imports and data "
        "with it. clsim also draws its pictures and writes checkpoints, plan and trained model; the peers "
        "(`benchmarks/whole.py`) hold normalised images in memory.",
        lambda: table(whole.HEADINGS, whole.measure()),
    ),
    "watching": Section(
        "What watching costs",
        f"{watching.STRATEGY}, tiny-resnet at 16 px, 256 rows a task, 1,000 test images, all loggers that a run has by "
        "default: the share of its CPU time, without imports, that curves, pictures and tables take. Aim: 5 %.",
        lambda: table(watching.HEADINGS, watching.measure()),
    ),
    "scoring": Section(
        "A process of its own for the scores",
        "Whole runs with one thread, as a comparison starts them, scored in the process that trains and in one of "
        "their own; of `digits-b0c2` unless named otherwise. Both ways in turn, the first one alternating; the ratio "
        "is the geometric mean of the rounds. Aim: no slower.",
        lambda: table(scoring.HEADINGS, scoring.measure()),
    ),
}


def grown() -> str:
    """Plans, finished runs, herding and long streams."""
    parts = {
        f"A plan of images with three of {growth.CLASSES} classes each, from a CSV file and from the cache of labels. "
        "Aim for a million rows: 5 s, 1.5 s, 500 MB.": (growth.PLAN_HEADINGS, growth.plans),
        f"A plan of {growth.WIDE[0]:,} images with three of {growth.WIDE[1]} classes each, by kind of stream. Aim: a "
        "minute, 2,000 MB.": (growth.WIDE_HEADINGS, growth.wide_plans),
        "`clsim compare` where all runs are finished, imports with it, and the report. Aim for 500: 20 s in all.": (
            growth.RUN_HEADINGS,
            growth.runs,
        ),
        f"Herding: {growth.PICKS} rows of one class with {growth.FEATURES} features each.": (
            growth.HERDING_HEADINGS,
            growth.herding,
        ),
        f"Rows of {growth.LABELLED} classes, one to three each, most of them rare, come at once; {growth.PICKS} are "
        f"kept. Features have {growth.FEATURES} numbers; what a network says of the rows is given and costs nothing.": (
            growth.SELECTION_HEADINGS,
            growth.selections,
        ),
        f"Streams of two classes a task, lwf+er, MLP, {stream_length.PER_TASK} rows a task: the cost of a task, wall "
        "time with all loggers of a run, and peak memory. A task more is two columns more, and 64 images more to begin "
        "with.": (stream_length.HEADINGS, growth.tasks),
    }
    return "\n\n".join(f"{text}\n\n{table(headings, rows())}" for text, (headings, rows) in parts.items())


SECTIONS["growth"] = Section(
    "Rows, tasks and runs", "Each measurement is a process of its own.", grown, page="growth.md"
)


def measured(name: str) -> str:
    """A section, measured now."""
    section, facts = SECTIONS[name], environment("cpu", 1)
    versions = ", ".join(f"{package} {facts[package]}" for package in ("torch", "avalanche-lib", "numpy"))
    where = (
        f"`python -m benchmarks {name}` on {datetime.date.today()}: {facts['cpu']}, one thread, "
        f"{platform.platform()}, Python {facts['python']}, {versions}; load of the machine before it began "
        f"{os.getloadavg()[0]:.1f}."
    )
    return f"## {section.title}\n\n{section.text}\n\n{where}\n\n{section.measure()}\n"


def sections_of(text: str) -> dict[str, str]:
    """The sections of an earlier page, by name; those that nothing measures any more are left out."""
    names = {section.title: name for name, section in SECTIONS.items()}
    parts = (f"## {part.rstrip()}\n" for part in text.split("\n## ")[1:])
    return {names[title]: part for part in parts if (title := part[3:].partition("\n")[0]) in names}


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    asked = parser.parse_args().sections
    if unknown := set(asked) - set(SECTIONS):
        parser.error(f"unknown section {min(unknown)}; known: {', '.join(SECTIONS)}")
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    for name in asked or SECTIONS:
        part = measured(name)
        print(part, flush=True)
        page = Path(__file__).with_name(SECTIONS[name].page)
        known = sections_of(page.read_text(encoding="utf-8")) if page.exists() else {}
        parts = known | {name: part}
        write_atomically(page, "\n".join([HEADS[page.name], *(parts[key] for key in SECTIONS if key in parts)]))


if __name__ == "__main__":
    main()
