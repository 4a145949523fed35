"""The report as files: read the runs, compare them, render pages and tables, write them; one stage after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clsim.csv_text import frame_text
from clsim.errors import RunError, storage_errors
from clsim.files import write_atomically
from clsim.report.class_results import class_results
from clsim.report.compared import Compared, compared
from clsim.report.mean_curves import write_mean_curves
from clsim.report.page import OrderPage, render_html
from clsim.report.results import Results, joined, load_results, order_folders
from clsim.report.run_result import ORDER_FOLDER
from clsim.report.section import Maker, load_makers
from clsim.report.several import together
from clsim.report.significance import choose_baseline
from clsim.report.text import render_latex, render_markdown, statistics
from clsim.running.run_folder import SEED_FOLDERS

PAGE = "report.html"


def write_report(
    directory: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    order: Sequence[str] | None = None,
    baseline: str | None = None,
    sections: Sequence[str] = (),
) -> Path:
    """Write the report of the runs below `directory` to `out`, or to `directory`; see `write_reports`.

    Args:
        directory: holds <strategy>/seed<k>, or order<k>/<strategy>/seed<k> for several class orders. Several folders
            are reported together, see `clsim.report.several`.
        out: folder to write to; needed for several folders, and none of them.
        order: of the strategies; those it does not name follow by name.
        baseline: the strategy that the others are compared with, seed by seed; None: the lower reference, such as
            finetune, else the first.
        sections: further sections, each `path/to/file.py:name`; see `clsim.report.section`.

    Raises:
        RunError: no run, a damaged one, runs of different streams, an unknown baseline.
        ClsimError: there is no such section.
    """
    homes = list(dict.fromkeys(map(Path, [directory] if isinstance(directory, str | Path) else directory)))
    target = _target(homes, out)
    makers = load_makers(sections)
    with storage_errors(target):
        streams = _streams(homes)
        parts = [_load(folders, order) for folders in streams.values()]
        if None not in streams:
            return _write(_reports(parts, target, baseline, makers))
        return _write([_Report(compared(parts[0], baseline, makers), target)])


def _target(homes: Sequence[Path], out: str | Path | None) -> Path:
    """Return the folder to write to.

    Raises:
        RunError: several folders, and none, or one of them, to write to.
    """
    if len(homes) > 1 and (out is None or Path(out).resolve() in [home.resolve() for home in homes]):
        given = "none is given" if out is None else f"{out} holds runs"
        raise RunError(f"--out: {given}; the report of several folders needs a folder of its own")
    return homes[0] if out is None else Path(out)


def _streams(homes: Sequence[Path]) -> dict[str | None, list[Path]]:
    """Return the folders of each class order by its name, or all folders under None if no class order is drawn.

    Raises:
        RunError: some folders have class orders and some have none.
    """
    orders = {home: [] if any(home.glob(SEED_FOLDERS)) else order_folders(home) for home in homes}
    if not any(orders.values()):
        return {None: list(homes)}
    if without := [str(home) for home, found in orders.items() if not found]:
        raise RunError(f"{', '.join(without)}: no folders order<k> of class orders, as the others have")
    streams: dict[str | None, list[Path]] = {}
    for folder in (folder for found in orders.values() for folder in found):
        streams.setdefault(folder.name, []).append(folder)
    return streams


def _load(folders: Sequence[Path], order: Sequence[str] | None) -> Results:
    """Return the runs of one stream."""
    parts = [load_results(folder, order) for folder in folders]
    return parts[0] if len(parts) == 1 else together(parts)


def write_reports(
    folders: Sequence[Path],
    out: str | Path,
    order: Sequence[str] | None = None,
    baseline: str | None = None,
    sections: Sequence[str] = (),
) -> Path:
    """Write the report of the runs of each folder into `out`: report.html, and tables as CSV, Markdown and LaTeX.

    Several folders are class orders. Each has a report of its own, in the folder of its name below `out`, because
    classes and tasks differ; the report in `out` itself is over all, and links to them. Each file appears whole or
    not at all. Beside the runs, if `out` is where they are, the mean curves of each strategy for TensorBoard are
    written too.

    Returns:
        The path of the page; of several class orders of the one over all.

    Raises:
        RunError: also a full disk and its like, naming the file.
    """
    home = Path(out)
    makers = load_makers(sections)
    with storage_errors(home):
        return _write(_reports([load_results(folder, order) for folder in folders], home, baseline, makers))


@dataclass(frozen=True)
class _Report:
    """One report: what it shows, and where it goes.

    Attributes:
        compared: what it shows.
        folder: to write to.
        orders: the class orders that it is over, if there are several.
    """

    compared: Compared
    folder: Path
    orders: tuple[OrderPage, ...] = ()

    @property
    def beside_its_runs(self) -> bool:
        return self.folder.resolve() == self.compared.results.directory.resolve()

    def rendered(self) -> Iterator[tuple[Path, str]]:
        """Path and content of each file: tables of runs, of strategies and metrics, of classes, and for people."""
        results = self.compared.results
        yield self.folder / "results.csv", frame_text(results.frame)
        yield self.folder / "statistics.csv", frame_text(statistics(self.compared))
        yield self.folder / "classes.csv", frame_text(class_results(results))
        yield self.folder / "results.md", render_markdown(self.compared)
        yield self.folder / "results.tex", render_latex(self.compared)
        yield self.folder / PAGE, render_html(self.compared, self.orders)


def _reports(parts: Sequence[Results], out: Path, baseline: str | None, makers: Mapping[str, Maker]) -> list[_Report]:
    """The reports of one stream, or those of several class orders and, last, the one over all of them."""
    by_order = all(ORDER_FOLDER.fullmatch(part.directory.name) for part in parts)
    everything = joined(parts[0].directory.parent, parts) if by_order else parts[0]
    chosen = choose_baseline(everything, baseline)
    if not by_order:
        return [_Report(compared(everything, chosen, makers), out)]
    reports = []
    for part in parts:
        own = chosen if chosen in part.strategies else None  # none of its runs may have finished in this class order
        reports.append(_Report(compared(part, own, makers), out / part.directory.name))
    orders = tuple(OrderPage(part, f"{part.directory.name}/{PAGE}") for part in parts)
    return [*reports, _Report(compared(everything, chosen, makers), out, orders)]


def _write(reports: Sequence[_Report]) -> Path:
    """Write the files of each report once all of them are rendered; return the path of the last page."""
    for report in reports:
        files = list(report.rendered())
        report.folder.mkdir(parents=True, exist_ok=True)
        for path, text in files:
            write_atomically(path, text)
        if report.beside_its_runs:
            write_mean_curves(report.compared.results)
    return reports[-1].folder / PAGE
