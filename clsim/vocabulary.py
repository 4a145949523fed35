"""Words that several packages share: what a label says, and the names under which a run records what it measures.

Writers (`clsim.scenario`, `clsim.training`, `clsim.evaluation`, a run) and readers (`clsim.report`) import them from
here, so that a name is changed in one place.
"""

from __future__ import annotations

from typing import Literal

UNKNOWN = -1
"""The value of a label that nobody knows or that is hidden; 1 is present, 0 absent, what lies between is soft."""

GROUPS = ("head", "medium", "tail")
"""Groups of classes by their training positives, in the order of `ClassGroups.group`."""

BLOCKS = ("old", "new")
"""The classes of earlier tasks, and those of the last one."""

SHOTS = ("many", "medium", "few")
"""Names of the three groups in top-1 accuracy (OLTR, CVPR 2019)."""

AT_THRESHOLD = ("CF1", "CF1_harmonic", "OF1", "FPR", "FNR", "Hamming")
"""Metrics at a probability threshold, percent."""

RANKING = ("AUC", "LRAP")
"""Metrics of the order of scores beside mAP, percent: within a class, and within an image."""

CALIBRATION = ("ECE", "ECE_classes")
"""Expected calibration error of all entries together and as a mean over classes, percent."""

BY_BLOCK = ("predicted", "FPR")
"""The share that is predicted present and the false positive rate, at a threshold over the classes of one block."""

AT_THRESHOLD_BY_BLOCK = tuple(f"{name}_{block}" for name in BY_BLOCK for block in BLOCKS)

STATES = ("given", "right", "wrong", "unknown")
"""What an entry of a memory is, by its number: given by the stream, relabelled rightly, wrongly, or unknown."""

MEMORY_QUALITY = ("coverage", "precision", "FPR", "FNR", "KL")
"""Quality of the relabelled entries of a memory: percent, KL in nats."""

MEMORY_ONES = ("ones_above", "hidden_above", "ones_below", "hidden_below")
"""Numbers of entries above and below the diagonal of the label block matrix: ones written, and ones that are true."""

MEMORY_LABELS = (*MEMORY_QUALITY, *MEMORY_ONES)


Reference = Literal["upper", "lower"]
"""A strategy that others are measured against; see `clsim.training.strategy.Strategy`."""

Family = Literal[
    "reference",
    "replay",
    "distillation",
    "regularisation",
    "gradients",
    "labels",
    "architecture",
    "closed form",
    "imbalance",
    "other",
]
"""What a strategy works by, in the order in which lists show it.

`reference` holds bounds and controls; `gradients` projects or mixes them; `labels` fills unknown labels; `architecture`
has a network of its own; `imbalance` is against unequal classes, whatever is forgotten.
"""


# Tags of metrics.jsonl and of TensorBoard that one package writes and another looks up.

SEEN_MAP = "mAP/seen"
AVERAGE_MAP = "mAP/average"
CHANCE_MAP = "chance/mAP_seen"
MEAN_FORGETTING = "forgetting/mean"
MEAN_BACKWARD_TRANSFER = "backward_transfer/mean"
ACCURACY = "accuracy/all"
TOTAL_LOSS = "loss/total"
OWN_METRIC = "metric/"
"""What stands before the name of a user's metric."""


def group_map_tag(group: str) -> str:
    """The tag of the mAP of one of GROUPS."""
    return f"groups/{group}_mAP"


MORE_LOW_RANK, MORE_CORRELATION, MORE_TAIL_TO_HEAD = "more/low_rank", "more/rank_correlation", "more/tail_to_head"
"""Tags of model rebalancing (MORE), see `clsim.training.more`: one value after each task."""

MORE_OF_LAYER, MORE_WEIGHT, MORE_DISCREPANCY = "more_low_rank/", "more_weight/", "more_discrepancy/"
"""What stands before the name of a layer, or of a class, in further tags of MORE."""

CLASS_AP, CLASS_FORGETTING = "per_class_AP/", "per_class_forgetting/"
"""What stands before the name of a class."""

TASK_MAP, TASK_FORGETTING = "mAP/", "forgetting/"
"""What stands before the name of a task, as `task_name` has it."""

BY_CLASS = (CLASS_AP, CLASS_FORGETTING, MORE_WEIGHT, MORE_DISCREPANCY)
BY_TASK = (TASK_MAP, TASK_FORGETTING, "epoch/mAP_", "images/mAP_")
"""Beginnings of tags of which there is one for each class, or for each task; see `clsim.evaluation.class_values`."""


def task_name(task: int) -> str:
    """Return the name of a task, counted from 0, in a tag."""
    return f"task_{task:02d}"


MORE_COLLAPSED = 0.01
"""Mean ||BA|| / ||W|| at the end of a task below which log and report warn: what BA then adds to a layer is less than
1 % of it, and the model is hardly more than its general path."""
