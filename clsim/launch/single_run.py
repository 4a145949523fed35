"""`clsim.run` and `clsim.resume`: one strategy on one scenario, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.errors import RunError
from clsim.launch.arguments import as_flag, as_path, as_progress, as_scenario, as_seed, split_overrides
from clsim.launch.progress import Progress, Speaking, say_notes
from clsim.launch.replacement import refuse_taken, set_aside
from clsim.launch.run_state import RunState
from clsim.launch.variants import as_variant, compose
from clsim.preparation import Work, listening
from clsim.running.hardware import device_kind, resolve_device, resolve_threads
from clsim.running.observers import check_observers
from clsim.running.prepared_run import open_run, prepare
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import refuse_unknown_code
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario
from clsim.torchrun import this_process
from clsim.training.composition import Composition

if TYPE_CHECKING:
    from clsim.launch.arguments import ScenarioLike, StrategyLike
    from clsim.report.run_result import RunResult


def run(
    scenario: ScenarioLike,
    strategy: StrategyLike,
    *,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | bool | None = None,
) -> RunResult:
    """Train one strategy on a scenario and write its run folder `<out>/<scenario>/<strategy>/seed<k>`.

    Processes that torchrun has started together train the run together, see docs/machines.md.

    Args:
        scenario: a loaded scenario, a path, a shipped name, or the content of a scenario file as a mapping.
        strategy: a name, names joined with "+", path/to/file.py:Class, or a class that one of these names; with
            settings and a label: "er(selection=herding) as herding", or a `clsim.Variant`.
        seed: fixes everything random in training.
        overrides: {"training.epochs": 2, "strategy.lwf.weight": 0.5}; keys that start with "strategy." are options.
        out: where run folders go.
        device: auto, cpu, cuda, cuda:N (one of several GPUs) or mps.
        overwrite: replace the run folder if it is there; the old run is removed once the new one is prepared.
        progress: True: shown on the console; False: silent; None: shown if a terminal or a notebook shows it. Or an
            object of yours that is told how the run goes on, see `clsim.launch.progress`; an error in it ends it, not
            the run.

    Raises:
        ClsimError: bad input, a taken folder, a run that cannot go on.
    """
    from clsim.report.run_result import TAKEN_NAMES

    seed, out, told = as_seed(seed), as_path(out, "out"), _progress(progress)
    overwrite = as_flag(overwrite, "overwrite")
    keys, options = split_overrides(overrides)
    variant = as_variant(strategy)
    loaded = as_scenario(scenario, {**keys, **variant.overrides})
    (entry,) = compose([variant], options)
    composition = entry.composition
    with listening(Speaking(told)):
        kind = device_kind(resolve_device(device))
        spec = plan_run(loaded, composition, seed, kind, composition.given, entry.name)
    check_observers(loaded, TAKEN_NAMES)
    folder = spec.folder(out / loaded.name)
    if _first_of_ranks(resolve_device(device)):
        if not overwrite:
            refuse_taken(folder)
        with listening(Speaking(told)), set_aside([folder] if overwrite else ()):
            prepare(folder, loaded, spec, resolve_threads(loaded.config.threads, this_process().local_count))
    epochs = composition.training(loaded.config).epochs
    n_tasks = len(loaded.plan().tasks)
    if told is not None:
        say_notes([loaded], told)
    if not isinstance(scenario, Scenario):  # one that the caller holds stays as it is
        loaded.forget_labels()
    return _carry_out(folder, RunState.of(epochs, n_tasks), told, resolve_device(device))


def resume(
    folder: str | Path,
    *,
    device: str | None = None,
    progress: Progress | bool | None = None,
    changed_code: bool = False,
) -> RunResult:
    """Continue an interrupted run from its last checkpoint, exactly as if it had not been interrupted.

    A run interrupted before its first checkpoint begins again from its `config.yaml`; a finished one is read.

    Args:
        folder: of the run, `<out>/<scenario>/<strategy>/seed<k>`.
        device: of the kind that the run began on, such as cuda:1; None: the first one.
        progress: as in `run`.
        changed_code: execute the Python files that the run names (strategy, backbone and so on) although they are not
            as they were when it was prepared. Without it nothing of them is executed: the folder may be somebody
            else's, and name any file.

    Raises:
        ClsimError: no run folder, one in use, a run that has changed since or cannot be resumed.
    """
    from clsim.report.run_result import TAKEN_NAMES

    folder = as_path(folder, "folder")
    told = _progress(progress)
    scenario, spec = open_run(folder)
    if this_process().count > 1:
        device = resolve_device(device or spec.device)
    training = scenario.config.training
    if not RunFolder(folder).finished:
        if not changed_code:
            refuse_unknown_code(folder, scenario, spec)
        check_observers(scenario, TAKEN_NAMES)
        training = Composition(spec.strategy, spec.options).training(scenario.config)
    state = RunState.of(training.epochs, len(scenario.plan().tasks))
    scenario.forget_labels()
    return _carry_out(folder, state, told, device, changed_code)


def _progress(asked: Progress | bool | None) -> Progress | None:
    """Return the progress that is shown; of several ranks the first one shows it."""
    return as_progress(asked if this_process().rank == 0 else False)


def _first_of_ranks(device: str) -> bool:
    """Meet the other ranks of the run, if torchrun has started some; return whether this one writes its folder."""
    if this_process().count > 1:
        from clsim.training.ranks import start_ranks

        start_ranks(device)
    return this_process().rank == 0


def _carry_out(
    folder: Path,
    state: RunState,
    progress: Progress | None,
    device: str | None,
    changed_code: bool = False,
) -> RunResult:
    from clsim.report.run_result import read_run
    from clsim.running.execution import execute

    def listen_to_line(line: dict[str, Any]) -> None:
        state.take(line)
        if progress is not None:
            progress.update(folder, state)

    def listen_to_work(work: Work | None) -> None:
        state.prepare(work)
        if progress is not None:
            progress.update(folder, state)

    try:
        with listening(listen_to_work):
            say = None if progress is None else progress.say
            execute(folder, listen_to_line, say=say, device=device, changed_code=changed_code)
    finally:
        if progress is not None:
            progress.close()
    return read_run(folder)


def plan_run(
    scenario: Scenario, composition: Composition, seed: int, device: str, options: Mapping[str, Any], name: str
) -> RunSpec:
    """Return the spec of a run, checked against the scenario before anything is written.

    Args:
        device: cpu, cuda or mps, which need not be in this machine.
        name: of the strategy's folder.

    Raises:
        ClsimError: an impossible stream, a strategy the scenario does not suit, a negative seed.
    """
    if seed < 0:
        raise RunError(f"seed: given {seed}, must be 0 or more")
    scenario.check_images()
    composition.check(scenario.config, scenario.plan().n_classes)
    composition.check_targets(scenario.plan(), scenario.config.training.loss)
    return RunSpec(composition.located, name, seed, device, dict(options))
