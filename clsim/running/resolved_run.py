"""A run that is about to be carried out: what its folder says, resolved on this machine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch

from clsim.data.image_files import skipped_images
from clsim.errors import RunError
from clsim.running.assembly import training_plan
from clsim.running.checkpoint_files import Checkpoint
from clsim.running.checkpointer import check_identity
from clsim.running.dotted_keys import hyperparameters
from clsim.running.environment import environment, record_environment
from clsim.running.folder_lock import Hold
from clsim.running.gpu import set_arithmetic
from clsim.running.hardware import device_kind, resolve_device
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import identity_of, record_identity, refuse_other_run
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario, StreamPlan
from clsim.training.composition import Composition
from clsim.training.ranks import Ranks

log = logging.getLogger("clsim")


@dataclass
class ResolvedRun:
    """A run that is carried out: the content of its folder, resolved.

    Attributes:
        identity: see `clsim.running.run_identity`.
        plan: that it trains on; without the truth once another process scores.
        plan_sha256: hash of that plan with the truth.
        skipped: split -> number of images that are left out, because they cannot be decoded.
        notes: on the stream, see `Scenario.notes`.
        hold: of the folder.
        ranks: that train it, of which this process is the first.
    """

    files: RunFolder
    scenario: Scenario
    spec: RunSpec
    composition: Composition
    device: str
    threads: int
    identity: dict[str, Any]
    plan: StreamPlan
    plan_sha256: str
    skipped: dict[str, int]
    notes: list[str]
    hold: Hold
    ranks: Ranks

    @property
    def name(self) -> str:
        """Strategy and seed, such as er/seed0."""
        return f"{self.spec.name}/seed{self.spec.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What tells runs apart, one level of dotted keys."""
        config = self.scenario.config.model_dump(mode="json")
        return hyperparameters(config, self.spec.name, self.spec.seed, self.composition.options())

    @property
    def resume_identity(self) -> dict[str, Any]:
        """What must be equal when the run goes on: its identity, and the plan that `joint` or an oracle memory make."""
        return self.identity | {"training_plan_sha256": self.plan_sha256}


def resolve(
    files: RunFolder, scenario: Scenario, spec: RunSpec, device: str | None, hold: Hold, ranks: Ranks
) -> ResolvedRun:
    """Resolve a run and the plan that it trains on.

    Raises:
        RunError: the device is not here, or of another kind than the run's.
    """
    threads = scenario.config.threads
    assert isinstance(threads, int)
    torch.set_num_threads(threads)
    kind = device_kind(resolve_device(spec.device))
    device = kind if device is None else resolve_device(device)
    if device_kind(device) != kind:
        raise RunError(f"{files.path}: a run on {kind}; given the device {device}")
    set_arithmetic(scenario.config.training, device)
    composition = Composition(spec.strategy, spec.options)
    identity = identity_of(scenario, spec, threads)  # at once, so that it is of the code that is loaded here
    plan = training_plan(scenario, composition)
    files.plan.unlink(missing_ok=True)  # an earlier version wrote it when a run began; it holds the truth
    log.info(
        "%s, %s, seed %d, plan %s, %d threads, %s", scenario.name, spec.name, spec.seed, plan.sha256, threads, device
    )
    skipped, notes = _log_skipped(scenario), scenario.notes()
    for note in notes:
        log.warning("stream: %s", note)
    return ResolvedRun(
        files, scenario, spec, composition, device, threads, identity, plan, plan.sha256, skipped, notes, hold, ranks
    )


def _log_skipped(scenario: Scenario) -> dict[str, int]:
    """Name the images that are left out in the log, and return their number in each split."""
    skipped = skipped_images(scenario.source)
    for split, paths in skipped.items():
        for path in paths:
            log.warning("image of %s left out, because it cannot be decoded: %s", split, path)
        log.info("images of %s left out: %d", split, len(paths))
    return {split: len(paths) for split, paths in skipped.items()}


def record_start(run: ResolvedRun, checkpoint: Checkpoint | None, as_prepared: bool) -> None:
    """Write identity and environment of a run that begins or goes on.

    Raises:
        LockLost: another machine has the folder.
        RunError: here it is another run than the one that was prepared, or interrupted.
    """
    run.hold.check()  # of two that began in the same instant one only goes on
    if checkpoint is None or as_prepared:
        refuse_other_run(run.files.path, run.identity, as_prepared)
    if checkpoint is not None:
        check_identity(checkpoint, run.resume_identity)
    record_identity(run.files.path, run.identity, goes_on=checkpoint is not None)
    record_environment(run.files.environment, environment(run.device, run.threads))
