"""`clsim.run` and `clsim.resume`: one strategy on one scenario, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.errors import RunError, ScenarioError
from clsim.launch.progress import Progress
from clsim.launch.run_state import RunState
from clsim.running.folder import (
    RunSpec,
    claim,
    open_run,
    prepare,
    resolve_device,
    resolve_threads,
    safe_name,
    split_overrides,
)
from clsim.scenario import Scenario, load_scenario
from clsim.training.composition import Composition, check_options

if TYPE_CHECKING:
    from clsim.experiment.results import RunResult


def run(
    scenario: Scenario | str | Path,
    strategy: str,
    *,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Train one strategy through a scenario and write its run folder `<out>/<scenario>/<strategy>/seed<k>`.

    Args:
        scenario: a loaded scenario, a path, or a shipped name.
        strategy: a name, names joined with "+", or path/to/file.py:Class.
        seed: fixes everything random in training.
        overrides: {"training.epochs": 2, "strategy.lwf.weight": 0.5}; keys that start with "strategy." are options.
        out: where run folders go.
        device: auto, cpu or cuda.
        overwrite: replace the run folder if it is there.
        progress: what to tell while the run goes on; None is silent.

    Raises:
        ClsimError: bad input, a taken folder, a run that cannot go on.
    """
    keys, options = split_overrides(overrides or {})
    loaded = as_scenario(scenario, keys)
    composition = check_options([strategy], options)[strategy]
    spec = plan_run(loaded, composition, seed, device, options)
    folder = spec.folder(Path(out) / loaded.name)
    claim([folder], overwrite)
    prepare(folder, loaded, spec, resolve_threads(loaded.config.threads))
    return _carry_out(folder, loaded, progress)


def resume(folder: str | Path, *, progress: Progress | None = None) -> RunResult:
    """Go on with an interrupted run from its last checkpoint, exactly as if it had not been interrupted.

    A run interrupted before its first checkpoint begins again from its `config.yaml`; a finished one is read.

    Args:
        folder: of the run, `<out>/<scenario>/<strategy>/seed<k>`.
        progress: as in `run`.

    Raises:
        ClsimError: no run folder, one in use, a run that has changed since or cannot be resumed.
    """
    folder = Path(folder)
    scenario, _ = open_run(folder)
    return _carry_out(folder, scenario, progress)


def _carry_out(folder: Path, scenario: Scenario, progress: Progress | None) -> RunResult:
    from clsim.experiment.results import read_run
    from clsim.running.execution import execute

    tasks = len(scenario.plan().tasks)
    state = RunState(scenario.config.training.epochs * tasks, tasks)

    def listen(line: dict[str, Any]) -> None:
        state.take(line)
        if progress is not None:
            progress.update(folder, state)

    try:
        execute(folder, listen)
    finally:
        if progress is not None:
            progress.close()
    return read_run(folder)


def as_scenario(scenario: Scenario | str | Path, overrides: Mapping[str, Any]) -> Scenario:
    """A scenario from what a caller may give; overrides need one that is not loaded yet."""
    if not isinstance(scenario, Scenario):
        return load_scenario(scenario, overrides)
    if overrides:
        keys = ", ".join(overrides)
        raise ScenarioError([f"overrides {keys}: give them to load_scenario, this scenario is already loaded"])
    return scenario


def plan_run(
    scenario: Scenario, composition: Composition, seed: int, device: str, options: Mapping[str, Any]
) -> RunSpec:
    """Identity of a run, checked against the scenario before anything is written.

    Raises:
        ClsimError: an impossible stream, a strategy the scenario does not suit, an unknown device, a negative seed.
    """
    if seed < 0:
        raise RunError(f"seed: given {seed}, must be 0 or more")
    scenario.check_images()
    composition.check(scenario.config, scenario.plan().n_classes)
    composition.check_targets(scenario.plan(), scenario.config.training.loss)
    return RunSpec(composition.located, safe_name(composition.name), seed, resolve_device(device), dict(options))
