"""Measure everything and write results.md beside this file."""

from __future__ import annotations

import datetime
import platform
import sys
from pathlib import Path

import torch

from benchmarks import checkpoint, image_pipeline, index, ranking, stream_length, training_step
from clsim.experiment.environment import environment
from clsim.files import write_atomically


def table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print and write the tables."""
    torch.set_num_threads(1)
    facts = environment("cpu", 1)
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "avalanche-lib", "numpy", "scikit-learn"))
    steps = [
        row
        for name in training_step.WORKLOADS
        for replay in (False, True)
        for row in training_step.measure(name, replay)
    ]
    rebll = [row for name in training_step.WORKLOADS for row in training_step.measure_rebll(name)]
    more = [row for load in training_step.MORE_WORKLOADS for row in training_step.measure_more(*load)]
    parts = [
        "# Speed\n",
        f"`make bench` on {datetime.date.today()}: {facts['cpu']}, one thread, {platform.platform()}, "
        f"Python {facts['python']}, {versions}. Medians; ratios round by round, side by side in one process.\n",
        "## A training step\n",
        "Ratio to the hand-written loop with a batched-fetch DataLoader; same network, loss, optimiser and schedule.\n",
        table(("network", "replay", "way", "ms a step", "ratio"), steps) + "\n",
        "## A step of RebLL\n",
        "One more forward pass, of the teacher, against a plain replay step; relabelling runs between tasks.\n",
        table(("network", "step", "ms", "ratio"), rebll) + "\n",
        "## Images\n",
        f"{image_pipeline.IMAGES} JPEGs of 500 x 375 pixels. Images a second of CPU time, decoded, changed at random, "
        "normalised and batched: from clsim's cache with its batched augmentation, and by torchvision, decoding in "
        "every epoch, with a DataLoader without workers, on Pillow images and on tensors.\n",
        table(
            (
                "changes",
                "px",
                "clsim",
                "torchvision, Pillow",
                "torchvision, tensors",
                "ratio to Pillow",
                "to tensors",
                "decoded once (ms an image)",
                "cache (MB a 1,000 images)",
            ),
            image_pipeline.measure(),
        )
        + "\n",
        "Memory of a process that prepares two epochs of 224 px with Cutout and RandAugment:\n",
        table(("way", "before (MB)", "peak (MB)"), image_pipeline.measure_memory()) + "\n",
        "## Label index\n",
        "Annotations of VOC's and COCO's size (COCO's outlines shortened). CPU seconds: parsed; parsed into the cache; "
        "read from the cache. The files are in the page cache each time.\n"
        "A warm start of VOC asks for size and time of each of its 9,963 files, or an edited one would go unnoticed.\n",
        table(
            ("data set", "images", "parse (s)", "start, cold (s)", "start, warm (s)", "parse / warm"), index.measure()
        )
        + "\n",
        "## A step of MORE\n",
        "The published form takes gradients of both paths, student_only of the full one; the plain step has no replay. "
        "Once merged the network is the plain one, module by module.\n",
        table(("network", "step", "ms", "ratio"), more) + "\n",
        "## A checkpoint\n",
        f"Inside the second task of `{checkpoint.STRATEGY}` with AdamW, written to the disk and read back with their "
        "checksums; the share is that of one write in the time between two, by default.\n",
        table(checkpoint.HEADINGS, checkpoint.measure()) + "\n",
        f"## Average precision of {ranking.IMAGES} x {ranking.CLASSES} scores\n",
        table(("way", "ms", "ratio to clsim"), ranking.measure()) + "\n",
        "## Streams of many tasks\n",
        f"lwf+er, MLP, {stream_length.PER_TASK} rows a task; early and late: medians of the first and last fifth.\n",
        table(
            (
                "tasks",
                "train, early (ms)",
                "train, late (ms)",
                "evaluate, early (ms)",
                "evaluate, late (ms)",
                "peak MB",
            ),
            stream_length.measure(),
        ),
    ]
    text = "\n".join(parts) + "\n"
    write_atomically(Path(__file__).with_name("results.md"), text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
