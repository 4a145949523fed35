"""Arguments and options that several commands share, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clsim.cli import completion

if TYPE_CHECKING:
    from clsim.launch.arguments import EngineLike

ScenarioArgument = Annotated[
    str,
    typer.Argument(
        help="path of a scenario file, or a shipped name", metavar="SCENARIO", autocompletion=completion.scenarios
    ),
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="override a key: training.epochs=2 or strategy.lwf.weight=0.5", metavar="KEY=VALUE"),
]
OutOption = Annotated[Path, typer.Option("--out", help="folder for the run folders")]
DeviceOption = Annotated[str, typer.Option("--device", help="where to train: auto, cpu, cuda, cuda:N or mps")]
GpusOption = Annotated[
    str | None,
    typer.Option(
        "--gpus", help="GPUs to use, one per run: all, or names as in CUDA_VISIBLE_DEVICES: 0,2; default: all"
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="number of simultaneous runs; default: as many as cores or GPUs allow")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-out-of-memory", help="try a run that is out of memory once more, alone")
]
EngineOption = Annotated[
    str | None, typer.Option("--engine", help="what executes the runs: local (default), ray or slurm")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="address of the Ray cluster: auto, or host:port of its head; default: auto"),
]
GpusPerRunOption = Annotated[
    float | None, typer.Option("--gpus-per-run", help="GPUs that each run gets on Ray, such as 0.5; default: 1")
]
RetriesOption = Annotated[
    int | None, typer.Option("--retries", help="how often a lost run is tried again on Ray or Slurm; default: 3")
]
SlurmOption = Annotated[
    str | None,
    typer.Option("--slurm", help="settings of each job: partition=gpu,time=4:00:00,mem=16GB", metavar="KEY=VALUE,..."),
]
PerGpuOption = Annotated[int | None, typer.Option("--per-gpu", help="simultaneous runs on each GPU; default: 1")]
BaselineOption = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="strategy with which the others are compared, seed by seed; default: finetune, or else the first",
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="replace existing run folders")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="show only results and errors, no progress")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="show what would be trained, what is reused and how long it takes; do nothing")
]


def overrides(settings: list[str]) -> dict[str, Any]:
    """Return the keys and values of `--set`."""
    from clsim.scenario.document import parse_assignment

    return dict(parse_assignment(text) for text in settings)


def overrides_and_grid(settings: list[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the keys of `--set` with one value, and those with several between bare commas: key=0.5,1,2.

    DECIDED: a value in brackets or quotes is one: key=[0.5, 1, 2].
    """
    from clsim.launch.variant_text import split_at_commas
    from clsim.scenario.document import parse_assignment

    single: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    for text in settings:
        key, _, value = text.partition("=")
        values = split_at_commas(value, f"--set {text}")
        if len(values) > 1:
            grid[key.strip()] = [parse_assignment(f"{key}={one}")[1] for one in values]
        else:
            single |= dict([parse_assignment(text)])
    return single, grid


def engine_of(
    engine: str | None, address: str | None, gpus_per_run: float | None, retries: int | None, slurm: str | None
) -> EngineLike | None:
    """Return the engine that the options say.

    Raises:
        RunError: an option of another engine; as the engines.
    """
    from clsim.errors import RunError
    from clsim.launch.engines.ray import RayEngine
    from clsim.launch.engines.slurm import SlurmEngine

    if slurm is not None and engine != "slurm":
        raise RunError("--slurm: needs --engine slurm")
    for option, value in {"--address": address, "--gpus-per-run": gpus_per_run}.items():
        if value is not None and engine != "ray":
            raise RunError(f"{option}: needs --engine ray")
    if retries is not None and engine not in ("ray", "slurm"):
        raise RunError("--retries: needs --engine ray or slurm")
    given: dict[str, Any] = {"address": address, "gpus_per_run": gpus_per_run, "retries": retries}
    given = {key: value for key, value in given.items() if value is not None}
    if engine == "ray":
        return RayEngine(**given)
    return SlurmEngine(_settings(slurm or ""), **given) if engine == "slurm" else engine


def _settings(text: str) -> dict[str, str]:
    """Return the keys and values of `--slurm`; a value with commas stands in quotes."""
    from clsim.errors import RunError
    from clsim.launch.variant_text import split_at_commas

    found = {}
    for part in split_at_commas(text, f"--slurm {text}"):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise RunError(f"--slurm {text}: expected KEY=VALUE, joined with commas, found {part!r}")
        found[key.strip()] = value.strip().strip("'\"")
    return found


def scenario_settings(settings: list[str]) -> list[str]:
    """Return the texts of `--set` without those of strategy options."""
    return [text for text in settings if not text.startswith("strategy.")]
