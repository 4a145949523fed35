"""Arguments and options that several commands share, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clsim.cli import completion

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
OutOption = Annotated[Path, typer.Option("--out", help="where run folders go")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps")]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", help="all, or names as in CUDA_VISIBLE_DEVICES: 0,2; one per run; default: all")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="runs at a time; default: as many as cores or GPUs allow")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-out-of-memory", help="try a run that is out of memory once more, alone")
]
PerGpuOption = Annotated[int | None, typer.Option("--per-gpu", help="runs at a time on each GPU; default: 1")]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", help="the others are compared with it, seed by seed; default: finetune, else the first"),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="replace run folders that are there")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="show results and errors, and no progress")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="say what would be trained, what is reused and how long it takes; do nothing")
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


def scenario_settings(settings: list[str]) -> list[str]:
    """Return the texts of `--set` without those of strategy options."""
    return [text for text in settings if not text.startswith("strategy.")]
