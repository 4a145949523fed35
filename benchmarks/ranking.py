"""Average precision of a COCO-sized score table against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from benchmarks.timing import side_by_side
from clsim.evaluation import average_precision

IMAGES, CLASSES = 40_137, 80


def measure() -> list[tuple[str, ...]]:
    """Rows (way, ms, ratio of its time to clsim's)."""
    rng = np.random.default_rng(0)
    targets = (rng.random((IMAGES, CLASSES)) < rng.uniform(0.002, 0.1, CLASSES)).astype(np.int8)
    scores = (rng.normal(size=targets.shape) + 2 * targets).astype(np.float32)
    tensors = torch.from_numpy(scores).sigmoid(), torch.from_numpy(targets).long()
    ways = {
        "clsim": lambda: average_precision(scores, targets),
        "scikit-learn": lambda: average_precision_score(targets, scores, average=None),
        "torchmetrics": lambda: multilabel_average_precision(*tensors, num_labels=CLASSES, average="none"),
    }
    np.testing.assert_allclose(ways["clsim"](), ways["scikit-learn"](), rtol=1e-9)
    return [
        (way, f"{1000 * timing.seconds:.0f}", f"{timing.ratio:.1f}") for way, timing in side_by_side(ways, 5).items()
    ]
