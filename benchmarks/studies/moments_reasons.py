"""Where the gain of `moments` comes from: what each class may see of the rows of other tasks.

python -m benchmarks.studies.moments_reasons     # writes the table of docs/moments.md

Heads in closed form over the frozen features of voc-mini, on test images; nothing is trained and nothing is drawn. A
class sees the rows of its own task, those of earlier tasks too, those of later tasks too, or all of them, where an
unknown label counts as absent; `true labels` is a control that no method may be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.studies.moments import DISJOINT, STREAMS, STUDY
from benchmarks.studies.study import VOC_MINI, VOC_THERE, write_tables
from clsim import load_scenario
from clsim.evaluation.metrics import average_precision, mean_ap
from clsim.models.closed_form_head import ClosedFormHead
from clsim.running.features import benchmark_and_model

COLUMNS = ("own task", "+ earlier", "+ later", "all", "all, true labels", "joint ridge")
"""What each class sees; joint ridge: each image once, with its true labels."""


@dataclass(frozen=True)
class Rows:
    """The rows of a stream as a head in closed form sees them.

    Attributes:
        phi: float64 [N, p].
        task: int64 [N], task of each row.
        labels: float64 [N, C], visible labels, 0 where unknown.
        truth: float64 [N, C].
        first: int64 [C], task that brings each class.
        images: int64 [N], image of each row.
    """

    phi: Tensor
    task: Tensor
    labels: Tensor
    truth: Tensor
    first: Tensor
    images: np.ndarray


def solved(phi: Tensor, labels: Tensor) -> Tensor:
    """Return the ridge regression with strength 1 per row, float64 [p, C]."""
    ridge = len(phi) * torch.eye(phi.shape[1], dtype=phi.dtype)
    return torch.linalg.solve(phi.T @ phi + ridge, phi.T @ labels)


def heads(rows: Rows) -> Iterator[Tensor]:
    """Yield a head per column of COLUMNS, float64 [p, C]."""
    own = rows.task[:, None] == rows.first
    earlier, later = rows.task[:, None] < rows.first, rows.task[:, None] > rows.first
    for seen in (own, own | earlier, own | later):
        columns = [
            solved(rows.phi[seen[:, column]], rows.labels[seen[:, column]][:, [column]])
            for column in range(len(rows.first))
        ]
        yield torch.cat(columns, dim=1)
    yield solved(rows.phi, rows.labels)
    yield solved(rows.phi, rows.truth)
    once = np.unique(rows.images, return_index=True)[1]
    yield solved(rows.phi[once], rows.truth[once])


def row(name: str, overrides: dict[str, object]) -> str:
    """Return a row of the table: mean AP over classes on all test images, percent."""
    scenario = load_scenario(VOC_MINI, overrides)
    plan = scenario.plan()
    benchmark, _ = benchmark_and_model(scenario, plan, 0, "cpu")
    benchmark.begin(len(plan.tasks) - 1)  # the rows of all tasks are looked at together
    store = benchmark.train_rows
    ids = np.concatenate([plan.rows(task) for task in range(len(plan.tasks))])
    task = np.concatenate([np.full(len(plan.rows(t)), t) for t in range(len(plan.tasks))])
    features = store.stored(ids)
    head = ClosedFormHead(features.shape[1], 0)
    rows = Rows(
        head.phi(features.double()),
        torch.from_numpy(task),
        (store.targets(ids) == 1).double(),
        torch.from_numpy(scenario.truth()[plan.row_samples[ids]] == 1).double(),
        torch.tensor([t for t, one in enumerate(plan.tasks) for _ in range(*one.classes)]),
        plan.row_samples[ids],
    )
    test = benchmark.evaluation_stream[0].dataset.store.stored(plan.test_rows())
    phi = head.phi(test.double())
    values = [mean_ap(average_precision((phi @ each).numpy(), plan.test_truth), "skip") for each in heads(rows)]
    return f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |"


def main() -> None:
    """Compute the table and put it into the page."""
    if not VOC_THERE:
        sys.exit("nothing done: ../shared/data/voc-mini is not here")
    torch.set_num_threads(1)
    lines = ["| stream | " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * len(COLUMNS)]
    for name, overrides in STREAMS.items():
        lines += [row(name, overrides), row(f"{name}-disjoint", {**overrides, **DISJOINT})]
    write_tables(STUDY.page, {"reasons": "\n".join(lines)})
    print("\n".join(lines))


if __name__ == "__main__":
    main()
