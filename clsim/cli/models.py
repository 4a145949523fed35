"""Commands that use the trained model of a finished run: predict and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clsim.cli.options import DeviceOption
from clsim.cli.tables import say
from clsim.errors import ClsimError

if TYPE_CHECKING:
    import pandas as pd

    from clsim.inference.model import Model
    from clsim.inference.thresholds import Thresholds

RunArgument = Annotated[
    Path, typer.Argument(help="folder of a finished run, such as runs/digits-b0c2/er/seed0", metavar="RUN_DIR")
]
TaskOption = Annotated[
    int | None, typer.Option("--task", help="use the model after this task, counted from 0; needs checkpoint.keep: all")
]


def predict(
    run: RunArgument,
    paths: Annotated[list[Path], typer.Argument(help="images, or folders of images", metavar="PATHS...")],
    csv: Annotated[
        Path | None, typer.Option("--csv", help="write the probability of each class to this file, instead of the list")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="one threshold for all classes, between 0 and 1; default: the model's threshold of each class",
        ),
    ] = None,
    task: TaskOption = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="number of images scored together")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """List the classes that the model of a run finds in images.

    RUN_DIR may also be a file that `clsim export --format safetensors` has written.
    """
    from clsim.csv_text import frame_text
    from clsim.errors import storage_errors
    from clsim.files import write_atomically
    from clsim.inference.loading import load_model

    if threshold is not None and not 0 < threshold < 1:
        raise ClsimError(f"--threshold: given {threshold}, allowed: above 0 and below 1")
    model = load_model(run, task=task, device=device)
    if model.preprocess is None:
        raise ClsimError(f"{run}: the model takes feature vectors, not images; use clsim.load_model in Python")
    found = model.predict(paths, batch_size=batch_size)
    if threshold is None:
        thresholds = _thresholds(model, "give --threshold, one for all classes")
        present = thresholds.present(found)
    else:
        present = found > threshold
    if csv is None:
        for line in _lines(found, present):
            say(line)
        return
    table = found.reset_index()
    names = ["; ".join(present.columns[row]) for row in present.to_numpy()]
    table.insert(1, "predicted", names, allow_duplicates=True)  # a class may be called so
    with storage_errors(csv):
        write_atomically(csv, frame_text(table))
    say(f"written: {csv}, {len(table)} images, {len(model.classes)} classes")


def export(
    run: RunArgument,
    format: Annotated[str, typer.Option("--format", help="safetensors, torch-export or onnx")],
    out: Annotated[
        Path | None, typer.Option("--out", help="file to write; default: beside the model in RUN_DIR")
    ] = None,
    task: TaskOption = None,
    thresholds: Annotated[
        bool, typer.Option(help="store a threshold for each class, chosen on the run's data set, in the file")
    ] = True,
) -> None:
    """Write the model of a run as a file for other tools, and check the file against the model."""
    from clsim.inference.export import exported_file
    from clsim.inference.loading import load_model

    model = load_model(run, task=task, device="cpu")
    path = exported_file(run, model, format) if out is None else out
    if thresholds:
        _thresholds(model, "give --no-thresholds")
    difference = model.export(path, format, thresholds=thresholds)
    size = path.stat().st_size
    say(f"written: {path}, {size} bytes; its logits differ from the model's by at most {difference:.1e}")


def _thresholds(model: Model, otherwise: str) -> Thresholds:
    """Return the thresholds of a model and say on standard error what they were chosen on."""
    try:
        thresholds = model.thresholds
    except ClsimError as error:
        raise ClsimError(f"{error}; {otherwise}") from None
    say(f"thresholds: chosen on {thresholds.images} {thresholds.chosen_on}", err=True)
    return thresholds


def _lines(probabilities: pd.DataFrame, present: pd.DataFrame) -> list[str]:
    """Return the classes of each image, the most probable first."""
    lines = []
    for image, values, chosen in zip(probabilities.index, probabilities.to_numpy(), present.to_numpy(), strict=True):
        order = [column for column in (-values).argsort(kind="stable") if chosen[column]]
        classes = ", ".join(f"{probabilities.columns[column]} {values[column]:.2f}" for column in order)
        lines.append(f"{image}: {classes or 'no class'}")
    return lines
