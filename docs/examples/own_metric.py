"""Metrics of your own: curves in TensorBoard, values in metrics.jsonl and result.json, columns of the report.

clsim compare digits-b0c2 --strategies finetune,er --set 'evaluation.metrics=[docs/examples/own_metric.py:micro_auc]'
"""

import numpy as np
from sklearn.metrics import roc_auc_score


def micro_auc(scores, targets, images, task):
    """Area under the ROC curve over all known entries of all seen classes, percent."""
    known = targets >= 0  # scores float [N, S], targets int8 [N, S]: 1 present, 0 absent, -1 unknown
    return 100 * roc_auc_score(targets[known], scores[known])


def calibration(scores, targets, images, task, bins: int = 10):
    """Two curves: expected calibration error and mean probability of what is absent, percent."""
    known = targets >= 0
    probability, present = 1 / (1 + np.exp(-scores[known].astype(float))), targets[known] == 1
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [abs(probability[place == b].sum() - present[place == b].sum()) for b in range(bins)]
    absent = probability[~present]
    return {"ECE": 100 * sum(gaps) / len(present), "absent": 100 * absent.mean() if len(absent) else None}
