"""The result of a run, written by whoever has its scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clsim.evaluation.history import History
from clsim.evaluation.prevalence import chance_of_task
from clsim.files import json_text, write_atomically
from clsim.running.checksums import write_checksums
from clsim.running.record import RunRecord, measured
from clsim.running.record_parts import LabelsRecord, MemoryRecord, TaskRecord
from clsim.running.run_folder import RunFolder
from clsim.strict_json import Object

log = logging.getLogger("clsim")


@dataclass(frozen=True)
class Facts:
    """What a result says of a run beside its numbers.

    Attributes:
        fields: of `RunRecord`, by name.
        memory: rows of the replay memory and bytes of all that is kept; None: nothing is.
    """

    fields: Mapping[str, Any]
    memory: tuple[int, int] | None


def write_result(files: RunFolder, history: History, labels: Mapping[str, Any] | None, facts: Facts) -> Object:
    """Write the plan, then checksums and the result, by which the run is finished; return the result's content.

    The plan holds the truth of the evaluation images. So it is in the folder only once nobody trains there.

    Args:
        files: the run folder.
        history: of all tasks; its plan is the one that the run was trained on.
        labels: `MemoryLabels.summary`; None: there is no replay memory, or nobody has looked at its labels.
        facts: what else is to be recorded.
    """
    plan = history.plan
    write_atomically(files.plan, plan.to_bytes())
    of_labels = None if labels is None else LabelsRecord.of(labels)
    record = RunRecord(
        plan_sha256=plan.sha256,
        derived_from=plan.derived_from,
        class_names=list(plan.class_names),
        tasks=_tasks(history),
        memory=None if facts.memory is None else MemoryRecord(*facts.memory, of_labels),
        **measured(history.summary()),
        **facts.fields,
    )
    result = record.content()
    text = json_text(result)
    write_checksums(files, text)
    write_atomically(files.result, text)
    log.info("finished: last mAP %s", result["last_mAP"])
    return result


def _tasks(history: History) -> list[TaskRecord]:
    plan = history.plan
    return [
        TaskRecord(
            place,
            plan.names(task),
            task.classes,
            len(task),
            [plan.class_names[column] for column in task.returning],
            chance_of_task(plan, place, history.empty_classes),
        )
        for place, task in enumerate(plan.tasks)
    ]
