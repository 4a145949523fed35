"""A selection of your own: which rows of a task a memory keeps.

clsim compare digits-b0c2 --strategies er --set strategy.er.selection=docs/examples/own_selection.py:richest
"""

import numpy as np


def richest(labels, seed, task, count, *, least=1):
    """Rows with the most visible positives first, among those with at least `least` of them; then the others.

    labels: float32 [n, k], visible labels of the task's k classes: 1 present, 0 absent, -1 unknown. Returns positions,
    best first, of which the memory keeps `count`. With a parameter `features` it also gets float32 [n, d].
    """
    positives = (labels == 1).sum(axis=1)
    order = np.random.default_rng([seed, task]).permutation(len(labels))
    return order[np.argsort(-np.where(positives[order] >= least, positives[order], 0), kind="stable")]
