"""One run, from its folder to its result. Imports torch and Avalanche."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clsim.allocator import keep_freed_memory
from clsim.children import remove_unused_folders
from clsim.errors import OUT_OF_MEMORY, ClsimError, NotResumable, OutOfMemoryError, storage_errors
from clsim.evaluation.loggers import TimingFile
from clsim.evaluation.outside_loggers import Delivery, LoggedRun, observed
from clsim.files import GrowingFile, remove_parts, write_atomically
from clsim.plugin_files import blamed
from clsim.preparation import training_begins
from clsim.running.assembly import build_template
from clsim.running.checkpoint_files import Checkpoint, keep_newest, newest_checkpoint
from clsim.running.checkpointer import Checkpointer, place
from clsim.running.folder_lock import IN_USE, FolderInUse, Hold, LockLost, locked
from clsim.running.following import follow, leading
from clsim.running.hardware import device_kind
from clsim.running.interruption import INTERRUPTED, ended_by_signals, interruptible
from clsim.running.label_files import label_files_noted
from clsim.running.last_words import error_text, interruption_text
from clsim.running.memory_shortage import shortage_named
from clsim.running.observers import Listener, outside_loggers
from clsim.running.preparation_file import preparation_file
from clsim.running.prepared_run import open_run
from clsim.running.resolved_run import ResolvedRun, record_start, resolve
from clsim.running.result import Facts
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import OTHER_RUN, OtherRun, refuse_unknown_code
from clsim.running.run_log import run_log
from clsim.running.run_spec import RunSpec
from clsim.running.scoring.hand_in import HandIn, Scorer
from clsim.running.scoring.starting import replacing_outputs, start_scorer
from clsim.running.shared_first_task import SharedFirstTask
from clsim.running.trained_model import write_trained_model
from clsim.scenario import Scenario
from clsim.sealing import sealed
from clsim.standard_streams import make_lossy
from clsim.strict_json import read_object
from clsim.training.plugin_failures import plugin_failures
from clsim.training.ranks import Ranks, start_ranks
from clsim.training.template import MultiLabelTemplate

log = logging.getLogger("clsim")


def execute(
    folder: Path,
    listener: Listener | None = None,
    first_task: Path | None = None,
    say: Callable[[str], None] | None = None,
    parent: int | None = None,
    device: str | None = None,
    as_prepared: bool = False,
    order: str | None = None,
    changed_code: bool = False,
) -> dict[str, Any]:
    """Carry out the run that a prepared folder defines, or the rest of it, and write its result.

    The run goes on from the newest whole checkpoint in the folder; without one it begins anew. A run that has a result
    is not run again.

    Args:
        folder: made by `clsim.running.prepared_run.prepare`.
        listener: called with each line of `metrics.jsonl`, also with those written before an interruption.
        first_task: folder where the trained first task is shared with runs that train it alike; None: with none.
        say: called with a text that a user should see when the run starts.
        parent: as in `Interruption`.
        device: which of several GPUs to use, as cuda:1; None: as the folder says.
        as_prepared: refuse the run if anything that fixes its numbers, code and versions too, is not as it was when the
            folder was prepared, so that runs of one comparison cannot differ in it.
        order: as in `clsim.running.folder_lock.locked`.
        changed_code: execute the run's Python files also if they are not as they were then, see `refuse_unknown_code`.

    Returns:
        The content of `result.json`.

    Raises:
        ClsimError: an error that the user can mend; its text is in `error.txt`, too.
        KeyboardInterrupt: the run was asked to stop; says where it is saved and which command goes on with it.
    """
    ranks = start_ranks(device or "cpu")
    if ranks.rank:
        return follow(folder, ranks, device or "cpu")
    scenario, spec = open_run(folder)
    files = RunFolder(folder)
    with storage_errors(folder), locked(folder, order) as hold:
        if files.finished:
            ranks.share()
            return read_object(files.result)
        for place in (folder, files.checkpoint):
            remove_parts(place)
        files.error.unlink(missing_ok=True)
        with run_log(files.run_log), preparation_file(folder):
            try:
                if not changed_code:
                    refuse_unknown_code(folder, scenario, spec)
                with blamed():
                    asked = _Asked(listener, first_task, say, parent, device, as_prepared, ranks)
                    return _run(files, scenario, spec, hold, asked)
            except (LockLost, OtherRun):
                raise  # what the folder says stays as another process, or one elsewhere, finds it
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and not error.args:  # not by the checkpointer
                    error.args = (interruption_text(files),)
                with suppress(OSError):  # the disk may be what is wrong
                    log.exception("stopped")
                    write_atomically(files.error, error_text(error) + "\n")
                raise


@dataclass(frozen=True)
class _Asked:
    """How a run is carried out, as the arguments of `execute` say."""

    listener: Listener | None
    first_task: Path | None
    say: Callable[[str], None] | None
    parent: int | None
    device: str | None
    as_prepared: bool
    ranks: Ranks


def _run(files: RunFolder, scenario: Scenario, spec: RunSpec, hold: Hold, asked: _Asked) -> dict[str, Any]:
    checkpoint = newest_checkpoint(files.path)  # first: one of another format is refused before anything is written
    run = resolve(files, scenario, spec, asked.device, hold, asked.ranks)
    record_start(run, checkpoint, asked.as_prepared)
    with shortage_named(scenario.config, run.device):
        return _train(run, checkpoint, asked)


def _train(run: ResolvedRun, checkpoint: Checkpoint | None, asked: _Asked) -> dict[str, Any]:
    """Carry out the run from its checkpoint to its result."""
    _cut_growing_files(run.files, checkpoint)
    scorer = start_scorer(run.files, run.scenario, run.plan, run.settings, run.hold, asked.listener)
    try:
        run.plan = run.plan.without_truth()
        return _learn_and_record(run, scorer, checkpoint, asked)
    finally:
        scorer.close()


def _learn_and_record(run: ResolvedRun, scorer: Scorer, checkpoint: Checkpoint | None, asked: _Asked) -> dict[str, Any]:
    """Train with what hands in, and without truth; have the result written."""
    files, scenario = run.files, run.scenario
    timing = TimingFile(files.timing)
    outside = outside_loggers(files.path, scenario.config, asked.say)
    template = _assemble(run, scorer, timing, outside)
    scenario.forget_labels()
    if asked.first_task is not None:
        settle = partial(scorer.ask, "settle")
        template.first_task = SharedFirstTask(asked.first_task, files, timing, run.name, settle)
    if checkpoint is not None:
        template.load_state_dict(checkpoint.state(run.device))
        scorer.ask("load_state_dict", checkpoint.scores())
        log.info("goes on from %s: %s", checkpoint.path, checkpoint.header["position"])
    else:
        _note_obstacle(files, template, asked.say)
    run.ranks.share({"identity": run.resume_identity, "checkpoint": checkpoint and asdict(checkpoint)})
    with observed(outside, LoggedRun(run.name, scenario.name, files.path, run.settings)):
        _learn(run, template, scorer, asked.parent)
    result: dict[str, Any] = scorer.ask("finish", files, _facts(run, template, timing))
    run.ranks.share()
    for logger in outside:
        logger.end(result)
    keep_newest(files.path, 1)
    return result


def _cut_growing_files(files: RunFolder, checkpoint: Checkpoint | None) -> None:
    """Cut the files that are only added to back to their lengths at the checkpoint; without one empty them."""
    for path in files.growing:
        GrowingFile(path).cut(checkpoint.header["files"].get(path.name, 0) if checkpoint is not None else 0)


def _assemble(run: ResolvedRun, scorer: Scorer, timing: TimingFile, outside: Sequence[Delivery]) -> MultiLabelTemplate:
    """Return the template of a run, with the loggers that get it."""
    return build_template(
        run.scenario,
        run.composition,
        run.plan,
        seed=run.spec.seed,
        device=run.device,
        loggers=[*outside, timing],
        scorer=scorer,
        wait=bool(outside),
        ranks=run.ranks,
    )


def _note_obstacle(files: RunFolder, template: MultiLabelTemplate, say: Callable[[str], None] | None) -> None:
    """Say so if a run that begins cannot be resumed.

    Raises:
        NotResumable: it has begun before and cannot be resumed.
    """
    try:
        template.stateful()
    except NotResumable as error:
        if files.obstacle is not None:
            raise
        write_atomically(files.not_resumable, f"{error}\n")
        log.warning("%s", error)
        if say is not None:
            say(f"{files.path}: {error}; if it is interrupted, it must begin again")
    else:
        files.not_resumable.unlink(missing_ok=True)  # of a strategy that has been mended


def _learn(run: ResolvedRun, template: MultiLabelTemplate, scorer: Scorer, parent: int | None) -> None:
    """Train on all tasks that are left, with checkpoints; then write the trained model."""
    config = run.scenario.config
    with interruptible(parent) as interruption:
        run.ranks.asks_to_stop = lambda: interruption.requested
        checkpointer = Checkpointer(
            run.files.path,
            run.resume_identity,
            scorer,
            config.checkpoint,
            interruption if run.ranks.alone else run.ranks,
            hold=run.hold,
            at_task_end=partial(_keep_model, run) if config.checkpoint.keep == "all" else None,
        )
        template.at_cut = leading(run.ranks, checkpointer)
        training_begins()

        def where() -> str:
            return place(asdict(template.position))

        failures = shortage_named(config, run.device, where), plugin_failures(template), blamed(where)
        with checkpointer.completing():
            with failures[0], failures[1], failures[2], sealed(), label_files_noted(config):
                template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
            run.hold.check()
            _write_model(run, template)


def _keep_model(run: ResolvedRun, template: MultiLabelTemplate) -> None:
    """Write the model after a task that is not the last one, whose model is the run's trained model."""
    task = template.position.task - 1
    if task < len(run.plan.tasks) - 1:
        template.refuse_not_finite()
        _write_model(run, template, task)


def _write_model(run: ResolvedRun, template: MultiLabelTemplate, task: int | None = None) -> None:
    config, classes, seed = run.scenario.config.training, run.plan.class_names, run.spec.seed
    write_trained_model(run.files.path, template.model, config, classes, seed, run.composition, task)


def _facts(run: ResolvedRun, template: MultiLabelTemplate, timing: TimingFile) -> Facts:
    """Return what the result says beside the numbers."""
    stream, composition = run.scenario.config.stream, run.composition
    trained_by = timing.trained_by()
    fields = {
        "scenario": run.scenario.name,
        "strategy": run.spec.name,
        "options": composition.options(),
        "seed": run.spec.seed,
        "order_seed": stream.order_seed if stream.order == "seed" else None,
        "data_fingerprint": run.identity["data_fingerprint"],
        "skipped_images": run.skipped,
        "notes": run.notes,
        "threads": run.threads,
        "device": device_kind(run.device),
        "control": composition.control or composition.given_truth(run.plan.derived_from is not None) or None,
        "loss_of": composition.loss_of(),
        "reference": composition.reference,
        "replaced_outputs": replacing_outputs(template.plugins),
        "first_task": {"trained_by": trained_by} if trained_by else None,
    }
    size = HandIn.of(template).size
    return Facts(fields, None if size is None else (size.rows or 0, size.bytes))


def main(arguments: Sequence[str]) -> int:
    """Carry out a run in a process of its own.

    Args:
        arguments: FOLDER [FIRST_TASK] [--order NAME] [--parent DESCRIPTOR]; see `execute`.

    Returns:
        The process's exit code.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("first_task", type=Path, nargs="?")
    parser.add_argument("--order")
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    make_lossy()
    remove_unused_folders()
    try:
        with ended_by_signals():
            keep_freed_memory()
            given = {"first_task": options.first_task, "parent": options.parent, "order": options.order}
            execute(options.folder, as_prepared=True, **given)
    except ClsimError as error:
        print(error, file=sys.stderr)
        codes = {OutOfMemoryError: OUT_OF_MEMORY, FolderInUse: IN_USE, OtherRun: OTHER_RUN}
        return next((code for kind, code in codes.items() if isinstance(error, kind)), 2)
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
