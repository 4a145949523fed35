"""Run folders written by hand, for tests of the comparison and its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

PLAN, JOINT_PLAN = "a" * 64, "b" * 64
NASTY = "<b>&x"
NAMES = [NASTY, "cat", "dog"]
R = [[60.0, None, None], [80.0, 70.0, None], [50.0, 40.0, 90.0]]
GROUPS = {
    "rule": "terciles",
    "positives": [510, 40, 7],
    "members": {"head": [NASTY], "medium": ["cat"], "tail": ["dog"]},
    "mAP": {"head": [60.0, 80.0, 50.0], "medium": [None, 70.0, 40.0], "tail": [None, None, 90.0]},
    "last_mAP": {"head": 50.0, "medium": 40.0, "tail": 90.0},
    "forgetting": {"head": 30.0, "medium": 30.0, "tail": None},
}
AT_HALF = {"last_CF1": 30.0, "last_CF1_harmonic": 40.0, "last_OF1": 50.0, "last_FPR": 5.0, "last_FNR": 60.0}
THRESHOLDS = {"0.5": AT_HALF, "0.8": dict.fromkeys(AT_HALF, 10.0) | {"last_CF1": None}}
MEMORY_LABELS = {
    "coverage": [1.0, 2.0, 70.0],
    "precision": [None, 3.0, 60.0],
    "FPR": [4.0, 6.0, 5.0],
    "FNR": [7.0, 8.0, 40.0],
    "KL": [0.5, 0.75, 0.25],
    "ones_above": [1, 2, 11],
    "hidden_above": [3, 4, 13],
    "ones_below": [5, 6, 17],
    "hidden_below": [7, 8, 19],
    "states": ["given", "right", "wrong", "unknown"],
    "blocks": [  # given, right, wrong, unknown by storing task and task of the class
        [[4, 0, 0, 0], [0, 1, 2, 1], [0, 0, 0, 4]],
        [[0, 2, 1, 1], [4, 0, 0, 0], [0, 3, 1, 0]],
        [[0, 0, 4, 0], [0, 0, 0, 0], [4, 0, 0, 0]],
    ],
}
OLD_AND_NEW = {
    "predicted_old": [None, 20.0, 30.0],
    "predicted_new": [11.0, 12.0, 13.0],
    "FPR_old": [None, 14.0, 15.0],
    "FPR_new": [16.0, 17.0, 18.0],
}
PRESENT = {"old": [None, 10.0, 24.0], "new": [25.0, 26.0, 27.0]}
KNOWS = "knows which rows show the same photograph"
CONFIG = """\
name: toy
source: KRT, table 2
training: {epochs: 6}
expected:
- {strategy: er, metric: last_mAP, value: 47.2, tolerance: 1.5, source: "KRT <paper>"}
- {strategy: csc, metric: last_mAP, value: 74.8, tolerance: null, source: own}
- {strategy: er, metric: CF1@0.5, value: 40.6, source: KRT}
- {strategy: er, metric: last OF1@0.50, value: 43.6, source: KRT}
- {strategy: er, metric: last CF1, value: 40.6, source: KRT}
- {strategy: er, metric: CF1@0.7, value: 40.6, source: KRT}
- {strategy: er, metric: CF1@half, value: 40.6, source: KRT}
"""


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Writes the folder of a finished run of three tasks of a class each, some keys of its result changed."""

    def make(root: Path, strategy: str, seed: int = 0, config: str = CONFIG, torch: str = "2.6.0", **changes) -> Path:
        folder = root / strategy / f"seed{seed}"
        folder.mkdir(parents=True)
        tasks = [{"index": t, "classes": [NAMES[t]], "columns": [t, t + 1], "train_images": 510 + t} for t in range(3)]
        result = {
            "format": 1,
            "scenario": "toy",
            "strategy": strategy,
            "options": {},
            "seed": seed,
            "plan_sha256": PLAN,
            "derived_from": None,
            "data_fingerprint": "d",
            "threads": 1,
            "device": "cpu",
            "class_names": NAMES,
            "tasks": tasks,
            "last_mAP": 60.0,
            "avg_mAP": 65.0,
            "forgetting": 30.0,
            "backward_transfer": -20.0,
            "mAP": [60.0, 75.0, 60.0],
            "R": R,
            "AP": R,
            "groups": GROUPS,
            "thresholds": THRESHOLDS,
            "memory": {"rows": 40, "bytes": 2_500_000},
        }
        (folder / "result.json").write_text(json.dumps(result | changes))
        timing = [
            {"task": t, "train_seconds": 2.5, "eval_seconds": 9.0, "peak_memory_bytes": 100 + t}
            | {"samples_per_second": 100.0 * (t + 1)}
            for t in range(3)
        ]
        (folder / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timing))
        environment = {"torch": torch, "git_dirty": False, "started": f"2026-11-20T15:00:0{seed}Z"}
        (folder / "environment.json").write_text(json.dumps(environment))
        (folder / "config.yaml").write_text(config)
        return folder

    return make


@pytest.fixture
def runs(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """er with two seeds (last mAP 60 and 64, CF1@0.5 30 and 32), joint on a derived plan with nulls, a failed run."""
    make_run(tmp_path, "joint", plan_sha256=JOINT_PLAN, derived_from=PLAN, avg_mAP=None, memory=None)
    make_run(tmp_path, "er", seed=1, last_mAP=64.0, thresholds=THRESHOLDS | {"0.5": AT_HALF | {"last_CF1": 32.0}})
    make_run(tmp_path, "er", seed=0)
    failed = tmp_path / "lwf" / "seed3"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("StrategyError: weight <0\nTraceback")
    return tmp_path


@pytest.fixture(scope="session")
def labelled_runs(make_run: Callable[..., Path]) -> Callable[[Path], Path]:
    """Writes below a folder rebll with two seeds and er+identity, a control, with memory labels, and finetune without.

    They are MEMORY_LABELS, but rebll's second seed has 13 ones above, 21 below, and only right labels in block (0, 1);
    er+identity has no wrong label.
    """
    courses = OLD_AND_NEW | {f"last_{name}": course[-1] for name, course in OLD_AND_NEW.items()}
    seen = {"present": PRESENT, "thresholds": {"0.5": AT_HALF | courses}}

    def memory(**changes: object) -> dict[str, object]:
        return {"rows": 40, "bytes": 1000, "labels": MEMORY_LABELS | changes}

    first, *others = MEMORY_LABELS["blocks"]
    second = [[first[0], [0, 4, 0, 0], first[2]], *others]
    knowing = [[[g, r + w, 0, u] for g, r, w, u in row] for row in MEMORY_LABELS["blocks"]]
    changed = memory(blocks=second, ones_above=[1, 2, 13], ones_below=[5, 6, 21])

    def make(root: Path) -> Path:
        make_run(root, "rebll", seed=0, memory=memory(), **seen)
        make_run(root, "rebll", seed=1, memory=changed, **seen)
        make_run(root, "er+identity", memory=memory(blocks=knowing), control=KNOWS, **seen)
        make_run(root, "finetune", memory=None, **seen)
        return root

    return make


@pytest.fixture
def labelled(labelled_runs: Callable[[Path], Path], tmp_path: Path) -> Path:
    return labelled_runs(tmp_path)


@pytest.fixture(scope="session")
def rebalanced_runs(make_run: Callable[..., Path]) -> Callable[[Path], Path]:
    """Writes er+more with two seeds, whose first collapses in its last task, er and joint below a folder.

    Layers conv1 and head; the first seed has a line too many, of a task that was run again.
    """

    def values(size: float, seen: int) -> dict[str, float]:
        layers = {"more_low_rank/backbone.conv1": size, "more_low_rank/head": 2 * size}
        weights = {f"more_weight/{name}": float(seen - c) for c, name in enumerate(NAMES[:seen])}
        gaps = {f"more_discrepancy/{name}": 0.25 * 2 ** (c / 2) for c, name in enumerate(NAMES[:seen])}
        means = {"more/low_rank": size, "more/rank_correlation": -0.5, "more/tail_to_head": 3.0}
        return {"mAP/seen": 50.0} | means | layers | weights | gaps

    def make(root: Path) -> Path:
        make_run(root, "er")
        make_run(root, "joint", plan_sha256=JOINT_PLAN, derived_from=PLAN)
        options = {"er": {}, "more": {"amplitude": 0.5, "rank": 0.1}}
        for seed, sizes in enumerate([(0.9, 0.2, 0.1, 0.005), (0.4, 0.3, 0.2)]):
            folder = make_run(root, "er+more", seed=seed, options=options)
            tasks = [0, *range(3)] if seed == 0 else list(range(3))
            lines = [
                {"phase": "eval", "task": task, "step": task + 1, "values": values(size, task + 1)}
                for task, size in zip(tasks, sizes, strict=True)
            ]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return root

    return make
