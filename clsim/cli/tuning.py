"""The command that searches: tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clsim.cli.options import (
    AddressOption,
    DeviceOption,
    EngineOption,
    GpusOption,
    GpusPerRunOption,
    OutOption,
    PerGpuOption,
    RetriesOption,
    SetOption,
    SlurmOption,
    engine_of,
    overrides,
)
from clsim.cli.tables import say
from clsim.running.interruption import INTERRUPTED

if TYPE_CHECKING:
    from clsim.launch.tuning import Tuning

SHOWN = 5


def tune(
    scenario: Annotated[
        str, typer.Argument(help="path of a scenario or search file, or a shipped name", metavar="SCENARIO")
    ],
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="strategy to tune: a name, lwf+er, er(selection=herding)")
    ] = None,
    ranges: Annotated[
        list[str],
        typer.Option(
            "--range", help="search over a key: 'strategy.akd.gamma={log_uniform: [0.1, 4]}'", metavar="KEY=RANGE"
        ),
    ] = [],  # noqa: B006  typer reads the default
    trials: Annotated[int | None, typer.Option("--trials", help="number of trials; default: 20")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="training seeds of each trial; default: 0")] = None,
    test_seeds: Annotated[
        str | None,
        typer.Option(
            "--test-seeds",
            help="training seeds of the final comparison on test images; default: five new ones; or none",
        ),
    ] = None,
    validation: Annotated[
        float | None, typer.Option("--validation", help="share of the training images held out during the search")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="score to maximise: avg_mAP (default), last_mAP, head_last_mAP, medium_last_mAP, tail_last_mAP",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="number of trials chosen together; default: 4")] = None,
    seed: Annotated[int | None, typer.Option("--search-seed", help="seed of the search; default: 0")] = None,
    name: Annotated[str | None, typer.Option("--name", help="name of the folder; default: <scenario>-tuning")] = None,
    settings: SetOption = [],  # noqa: B006
    workers: Annotated[int | None, typer.Option("--workers", help="number of simultaneous runs")] = None,
    out: OutOption = Path("runs"),
    device: DeviceOption = "auto",
    gpus: GpusOption = None,
    per_gpu: PerGpuOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    gpus_per_run: GpusPerRunOption = None,
    retries: RetriesOption = None,
    slurm: SlurmOption = None,
) -> None:
    r"""Search for good values of a strategy's options on validation images, then show the best on test images.

    The same command continues a search that was stopped or killed. Needs Optuna: pip install 'clsim\[tune]'.
    """
    from clsim.launch.arguments import parse_seeds
    from clsim.launch.progress import ConsoleProgress
    from clsim.launch.tuning import TuningInterrupted
    from clsim.launch.tuning import tune as tune_one

    try:
        tuning = tune_one(
            scenario,
            strategy,
            overrides(ranges) or None,
            trials=trials,
            seeds=None if seeds is None else parse_seeds(seeds, "--seeds"),
            test_seeds=_fresh(test_seeds),
            validation=validation,
            objective=objective,
            overrides=overrides(settings),
            batch=batch,
            seed=seed,
            name=name,
            out=out,
            device=device,
            workers=workers,
            gpus=gpus,
            per_gpu=per_gpu,
            engine=engine_of(engine, address, gpus_per_run, retries, slurm),
            progress=ConsoleProgress(),
        )
    except TuningInterrupted as stop:
        say(str(stop), err=True)
        raise typer.Exit(INTERRUPTED) from None
    _print(tuning)


def _fresh(text: str | None) -> list[int] | None:
    from clsim.launch.arguments import parse_seeds

    if text is None or text == "none":
        return None if text is None else []
    return parse_seeds(text, "--test-seeds")


def _print(tuning: Tuning) -> None:
    complete = sorted((one for one in tuning.trials if one.value is not None), key=lambda one: -(one.value or 0))
    for trial in complete[:SHOWN]:
        values = ", ".join(f"{key}={value}" for key, value in trial.params.items())
        say(f"{trial.name}: {trial.value:.2f} on validation images: {values}")
    counts = {state: sum(one.state == state for one in tuning.trials) for state in ("complete", "pruned", "failed")}
    say(f"{', '.join(f'{count} {state}' for state, count in counts.items())}; all: {tuning.folder}")
    say(f"best: {tuning.variant.text()}")
    if tuning.comparison is not None and tuning.comparison.any_finished:
        report = tuning.comparison.report()
        say(tuning.comparison.table())
        say(f"report, on test images: {report}")
