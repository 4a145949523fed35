"""One curve per strategy in TensorBoard: the mean over its runs, with their lowest and highest values.

`<strategy>/mean/` beside `<strategy>/seed<k>/` holds an event file of its own, which TensorBoard shows as one run more,
`er/mean`; the filter `mean$` leaves one curve per strategy. It is made from what finished runs have logged, and needs
no torch; equal runs give an equal file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.files import write_atomically
from clsim.report.results import Results
from clsim.report.run_result import RunResult
from clsim.running.logged_values import read_logged
from clsim.running.run_folder import RunFolder
from clsim.vocabulary import (
    ACCURACY,
    AVERAGE_MAP,
    GROUPS,
    MEAN_BACKWARD_TRANSFER,
    MEAN_FORGETTING,
    SEEN_MAP,
    TOTAL_LOSS,
    group_map_tag,
)

FOLDER = "mean"
FILE = "events.out.tfevents.0.mean"
"""Always the same, so that a second writing replaces the first; TensorBoard asks for `tfevents` in it."""
BANDS = {
    SEEN_MAP: "mAP, seen classes",
    AVERAGE_MAP: "mAP, mean over the tasks so far",
    MEAN_FORGETTING: "forgetting",
    MEAN_BACKWARD_TRANSFER: "backward transfer",
    **{group_map_tag(group): f"{group} mAP" for group in GROUPS},
    ACCURACY: "top-1 accuracy",
    TOTAL_LOSS: "loss",
}
"""Tag -> chart of the curves that also have `spread/<tag>/mean`, `lowest` and `highest`; for all it would be a flood.

The mean is there twice, because a chart of tags that single runs have in part complains of missing tags."""
SPREAD = ("mean", "lowest", "highest")

Curves = dict[tuple[str, int], float]


def write_mean_curves(results: Results) -> list[Path]:
    """Write the mean of each strategy beside its runs; returns the event files.

    Of strategies with one run each there is nothing to average: then no file is written, and earlier ones go.

    Raises:
        RunError: what a run has logged cannot be read.
    """
    shown = [results.of(strategy) for strategy in results.strategies]
    several = any(len(runs) > 1 for runs in shown)
    written = []
    for runs in shown if several else ():
        if all(run.files.metrics.exists() for run in runs):  # those of a thinned folder may have none
            path = results.directory / runs[0].strategy / FOLDER / FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, mean_curves(runs))
            written.append(path)
    for old in sorted(set(results.directory.glob(f"*/{FOLDER}/{FILE}")) - set(written)):
        old.unlink()
        if not any(old.parent.iterdir()):
            old.parent.rmdir()
    return written


def mean_curves(runs: Sequence[RunResult]) -> bytes:
    """The event file of a strategy's finished runs: means, and lowest and highest of the curves in BANDS.

    DECIDED: lowest and highest, not an interval: with the usual two to five seeds that would rest on an assumption.
    DECIDED: a point is where every run has one, otherwise a mean would be over fewer seeds than its neighbours.
    """
    curves = [read_curves(run.files) for run in runs]
    shared = [point for point in curves[0] if all(point in curve for curve in curves)]
    points: list[tuple[str, int, float]] = []
    for tag, step in shared:
        values = [curve[tag, step] for curve in curves]
        points.append((tag, step, math.fsum(values) / len(values)))
        if tag in BANDS:
            spread = zip(SPREAD, (points[-1][2], min(values), max(values)), strict=True)
            points += [(_spread_tag(tag, name), step, value) for name, value in spread]
    # The clock has no part in the file: the axis of wall time shows when the last of the runs was written.
    when = max(run.files.metrics.stat().st_mtime for run in runs)
    charts = [tag for tag in BANDS if any(tag == known for known, _ in shared)]
    return b"".join(_records(points, charts, when))


def read_curves(files: RunFolder) -> Curves:
    """Return every defined value that a run has logged by (tag, step); a line that was written again counts once.

    Raises:
        RunError: it is damaged; with its line.
    """
    curves: Curves = {}
    for number, line in enumerate(read_logged(files), start=1):
        try:
            curves |= {(tag, line["step"]): value for tag, value in line["values"].items() if value is not None}
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{files.metrics}, line {number}: not a line of metrics: {error!r}") from None
    return curves


def _records(points: Iterable[tuple[str, int, float]], charts: Sequence[str], when: float) -> Iterator[bytes]:
    """An event file, record by record, as torch's SummaryWriter would write it."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.custom_scalar import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    from clsim.evaluation.event_file import VERSION, event_record

    record = partial(event_record, when)
    yield record(file_version=VERSION)
    layout = Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=metadata.create_summary_metadata(),
        tensor=make_tensor_proto(_layout(charts).SerializeToString()),
    )
    yield record(summary=Summary(value=[layout]))
    for tag, step, value in points:
        yield record(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def _spread_tag(tag: str, name: str) -> str:
    """Return the tag of one of SPREAD, which only mean curves have."""
    return f"spread/{tag}/{name}"


def _layout(charts: Sequence[str]) -> Any:
    """A margin chart, the mean within its lowest and highest, of each of the tags."""
    from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

    def margin(tag: str) -> MarginChartContent:
        value, lower, upper = (_spread_tag(tag, name) for name in SPREAD)
        return MarginChartContent(series=[MarginChartContent.Series(value=value, lower=lower, upper=upper)])

    from_last = reversed(charts)  # TensorBoard shows the last margin chart first
    shown = [Chart(title=BANDS[tag], margin=margin(tag)) for tag in from_last]
    return Layout(category=[Category(title="mean over the runs, from the lowest to the highest", chart=shown)])
