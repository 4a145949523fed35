"""From the arguments of `clsim.compare` to its runs, all checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from clsim.errors import RunError, ScenarioError
from clsim.evaluation.own_metrics import OwnMetric
from clsim.launch.arguments import (
    as_engine,
    as_flag,
    as_path,
    as_progress,
    as_scenario,
    as_seeds,
    split_overrides,
)
from clsim.launch.comparison_file import comparison_of
from clsim.launch.engines import Engine
from clsim.launch.progress import Progress
from clsim.launch.single_run import plan_run
from clsim.launch.slots import Hardware, check_elsewhere
from clsim.launch.variant_text import check_label
from clsim.launch.variants import (
    Entry,
    as_grid,
    as_variant,
    as_variants,
    compose,
    expand,
    refuse_other_sections,
)
from clsim.running.observers import check_observers
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario
from clsim.scenario.schema import ObjectSection

if TYPE_CHECKING:
    from clsim.launch.arguments import EngineLike, ScenarioLike, StrategyLike


@dataclass(frozen=True)
class Request:
    """The arguments of `compare`, checked.

    Attributes:
        entries: the strategies, by their names.
        home: `<out>/<name>`.
        hardware: what the runs may use.
        engine: starts the runs.
    """

    scenario: Scenario
    entries: Mapping[str, Entry]
    seeds: tuple[int, ...]
    order_seeds: tuple[int, ...]
    home: Path
    hardware: Hardware
    engine: Engine
    prepare_only: bool
    retry_out_of_memory: bool
    overwrite: bool
    share_first_task: bool
    progress: Progress | None
    baseline: str | None


@dataclass(frozen=True)
class Job:
    """One run of a comparison.

    Attributes:
        scenario: with the run's class order and its own settings.
        epochs: per task; 0 for a run without.
        first_task_part: see `Composition.first_task_key`.
        metrics: that the user brings.
    """

    scenario: Scenario
    spec: RunSpec
    epochs: int
    first_task_part: str | None
    metrics: tuple[OwnMetric, ...]


@dataclass(frozen=True)
class Given:
    """A comparison as it was given: by arguments, by a file, or by both.

    Attributes:
        origins: key of `overrides` -> where it was written.
    """

    scenario: ScenarioLike
    strategies: Any = None
    name: str | None = None
    seeds: Any = (0,)
    order_seeds: Any = ()
    overrides: Any = None
    grid: Any = field(default_factory=dict)
    baseline: StrategyLike | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


def with_file(scenario: Any, **arguments: Any) -> Given:
    """Return a comparison: the arguments that are not None, over the comparison file if `scenario` is one.

    Raises:
        ClsimError: an error in the file; no strategies.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    file = comparison_of(scenario)
    if file is None:
        found = Given(scenario, **given)
    else:
        for key in ("overrides", "grid"):
            if isinstance(given.get(key), Mapping):
                given[key] = {**file[key], **given[key]}
        found = Given(**{**file, **given})
    if found.strategies is None:
        raise RunError("strategies: none are given, and the scenario is no comparison file, which has a key comparison")
    return found


def check_request(
    given: Given,
    *,
    out: str | Path,
    device: str,
    workers: int | None,
    gpus: str | int | Sequence[str | int] | None = None,
    per_gpu: int | None = None,
    engine: EngineLike | None = None,
    retry_out_of_memory: bool = False,
    prepare_only: bool = False,
    overwrite: bool,
    share_first_task: bool,
    progress: Progress | bool | None,
) -> Request:
    """Return the arguments of `clsim.compare`, checked.

    Raises:
        ClsimError: one of them cannot be.
    """
    seeds, order_seeds = as_seeds(given.seeds, "seeds"), as_seeds(given.order_seeds, "order_seeds")
    out, told = as_path(out, "out"), as_progress(progress)
    overwrite, share_first_task = as_flag(overwrite, "overwrite"), as_flag(share_first_task, "share_first_task")
    retry_out_of_memory = as_flag(retry_out_of_memory, "retry_out_of_memory")
    variants = as_variants(given.strategies)
    if not variants or not seeds:
        raise RunError("nothing to compare: give at least one strategy and one seed")
    keys, options = split_overrides(given.overrides)
    loaded = as_scenario(given.scenario, keys, given.origins)
    _refuse_objects(loaded)
    starts_runs, places = as_engine(engine), _Places(gpus=gpus, per_gpu=per_gpu, workers=workers)
    if as_flag(prepare_only, "prepare_only"):
        hardware = check_elsewhere(device, loaded.config.threads, **places, engine=engine)
    else:
        hardware = starts_runs.slots(device, loaded.config.threads, **places)
    grid = as_grid(given.grid)
    refuse_other_sections(grid, "grid")
    entries = compose(expand(variants, grid), options)
    return Request(
        loaded,
        {entry.name: entry for entry in entries},
        seeds,
        order_seeds,
        home=out / (loaded.name if given.name is None else check_label(given.name, "name")),
        hardware=hardware,
        engine=starts_runs,
        prepare_only=prepare_only,
        retry_out_of_memory=retry_out_of_memory,
        overwrite=overwrite,
        share_first_task=share_first_task,
        progress=told,
        baseline=None if given.baseline is None else _baseline_name(given.baseline, entries),
    )


class _Places(TypedDict):
    """Arguments that say how many runs there are at a time, and where."""

    gpus: str | int | Sequence[str | int] | None
    per_gpu: int | None
    workers: int | None


def _refuse_objects(scenario: Scenario) -> None:
    """Raise ScenarioError if the data are Python objects: the runs are other processes, which do not have them."""
    dataset = scenario.config.dataset
    if isinstance(dataset, ObjectSection):
        text = f"given {dataset.given!r}, a Python object, which the runs of a comparison, other processes, cannot have"
        advice = "name its class by a file, as dataset: {name: my_data.py:MyData}, or use clsim.run"
        raise ScenarioError([f"dataset.name: {text}; {advice}"])


def _baseline_name(value: StrategyLike, entries: Sequence[Entry]) -> str:
    """Return the name of the strategy that is given by its name or label, or as in `strategies`.

    Raises:
        RunError: it is none of them.
    """
    from clsim.report.significance import check_baseline

    names = [entry.name for entry in entries]
    if isinstance(value, str) and value.strip() in names:
        return value.strip()
    given = as_variant(value, "baseline")
    name = given.name(compose([given], {})[0].composition) if given.settings else given.label or given.spec
    if name not in names:
        name = next((entry.name for entry in entries if entry.spec == given.spec and not given.settings), name)
    check_baseline(name, names)
    return name


def jobs_of(request: Request) -> dict[Path, Job]:
    """Return the runs by their folders, each checked.

    Raises:
        ClsimError: as `plan_run`.
    """
    from clsim.report.run_result import TAKEN_NAMES

    jobs: dict[Path, Job] = {}
    for stream, home in _streams(request):
        scenarios = _scenarios(stream, request.entries)
        metrics = check_observers(stream, TAKEN_NAMES)
        for seed in dict.fromkeys(seed for entry in request.entries.values() for seed in entry.seeds or request.seeds):
            for name, entry in request.entries.items():
                if seed not in (entry.seeds or request.seeds):
                    continue
                scenario, composition = scenarios[name], entry.composition
                spec = plan_run(scenario, composition, seed, request.hardware.device, composition.given, name)
                epochs = composition.training(scenario.config).epochs
                key = composition.first_task_key(scenario.config)
                jobs[spec.folder(home)] = Job(scenario, spec, epochs, key, metrics)
    return jobs


def _scenarios(stream: Scenario, entries: Mapping[str, Entry]) -> dict[str, Scenario]:
    """Return the scenario of each entry, which differs from the stream's in the entry's own settings only."""
    made: list[tuple[Mapping[str, Any], Scenario]] = [({}, stream)]
    found = {}
    for name, entry in entries.items():
        scenario = next((one for overrides, one in made if overrides == entry.overrides), None)
        if scenario is None:
            stream.plan(), stream.labels_sha256, stream.fingerprint
            origins = dict.fromkeys(entry.overrides, entry.origin) if entry.origin else {}
            scenario = stream.with_overrides(entry.overrides, origins)
            made.append((entry.overrides, scenario))
        found[name] = scenario
    return found


def _streams(request: Request) -> list[tuple[Scenario, Path]]:
    """Return the scenario under each class order, and the folder of its runs."""
    scenario, order_seeds = request.scenario, request.order_seeds
    if not order_seeds:
        return [(scenario, request.home)]
    stream = scenario.config.stream
    if stream.order != "seed":
        raise ScenarioError([f"order_seeds: given, but stream.order is {stream.order!r}; it must be seed"])
    if min(order_seeds) < 0:
        raise ScenarioError([f"order_seeds: given {min(order_seeds)}, must be 0 or more"])
    return [
        (scenario.with_overrides({"stream.order_seed": seed}), order_folder(request.home, seed)) for seed in order_seeds
    ]


def order_folder(home: Path, order_seed: int) -> Path:
    """Return the folder of the runs under one class order."""
    return home / f"order{order_seed}"
