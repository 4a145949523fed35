"""`clsim.compare`: several strategies and seeds on exactly the same stream, each run in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.cores import usable_cores
from clsim.errors import RunError, ScenarioError
from clsim.experiment.folder import RunSpec, claim, prepare, resolve_threads, safe_name, split_overrides
from clsim.experiment.pool import Pool
from clsim.experiment.progress import Progress
from clsim.experiment.single import as_scenario, plan_run
from clsim.scenario import Scenario
from clsim.training.composition import check_options

if TYPE_CHECKING:
    import pandas as pd

    from clsim.experiment.results import Results


@dataclass(frozen=True)
class Comparison:
    """Finished runs on one stream, or on one stream for each class order.

    Attributes:
        folder: `<out>/<scenario>`.
        order: strategies as they were asked for.
        order_seeds: seeds of the class orders; empty: the scenario's own order.
        failed: folder -> reason of the runs that did not finish.
        baseline: strategy that tables compare the others with; None: see `clsim.experiment.significance`.
    """

    folder: Path
    order: tuple[str, ...]
    order_seeds: tuple[int, ...] = ()
    failed: dict[Path, str] = field(default_factory=dict)
    baseline: str | None = None

    @property
    def results(self) -> Results:
        """The run folders, read back; over all class orders."""
        from clsim.experiment.results import joined, load_results

        return joined(self.folder, [load_results(folder, self.order) for folder in self._folders()])

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run: strategy, seed, order_seed and its final numbers (percent, points, seconds, bytes)."""
        return self.results.frame

    def table(self) -> str:
        """The final table in Markdown: mean and standard deviation over all seeds and class orders."""
        from clsim.experiment.tables import final_table, markdown

        return markdown(final_table(self.results))

    def report(self, path: str | Path | None = None) -> Path:
        """Write report.html, and tables as CSV, Markdown and LaTeX, into the folder `path`, by default beside the runs.

        With several class orders there is a report for each, in `order<k>`, because classes and tasks differ; the
        tables in the folder itself are over all of them. Returns the (last) page.
        """
        from clsim.experiment.report import write_reports

        finished = self.baseline in self.results.strategies  # one that failed must not cost the report of the others
        return write_reports(self._folders(), path or self.folder, self.order, self.baseline if finished else None)

    def _folders(self) -> list[Path]:
        return [_order_folder(self.folder, seed) for seed in self.order_seeds] or [self.folder]


def compare(
    scenario: Scenario | str | Path,
    strategies: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    order_seeds: Sequence[int] = (),
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    baseline: str | None = None,
) -> Comparison:
    """Train every strategy with every seed on the same stream.

    All input is checked before the first run starts. A run that fails does not stop the others.

    Args:
        scenario: a loaded scenario, a path, or a shipped name.
        strategies: names, compositions such as "lwf+er", or path/to/file.py:Class.
        seeds: training seeds.
        order_seeds: seeds of the class order; needs `stream.order: seed`. Each gives a stream of its own, and each
            strategy meets all of them.
        overrides: as in `clsim.run`; a strategy option must fit at least one of the strategies.
        out: where run folders go.
        device: auto, cpu or cuda.
        workers: runs at a time, by default as many as there are cores; the cores are shared among them.
        overwrite: replace run folders that are there.
        progress: what to tell while runs go on, e.g. `clsim.experiment.progress.ConsoleProgress()`; None is silent.
        baseline: the strategy that tables and report compare the others with, seed by seed; by default `finetune`,
            else the first.

    Raises:
        ClsimError: bad input or a taken folder; then nothing has been run.
    """
    keys, options = split_overrides(overrides or {})
    loaded = as_scenario(scenario, keys)
    if not strategies or not seeds:
        raise RunError("nothing to compare: give at least one strategy and one seed")
    if workers is not None and workers < 1:
        raise RunError(f"workers: given {workers}, must be at least 1")
    composed = check_options(list(dict.fromkeys(strategies)), options)
    home = Path(out) / loaded.name
    if baseline is not None:
        baseline = _baseline(baseline, {spec: safe_name(each.name) for spec, each in composed.items()})
    jobs: dict[Path, tuple[Scenario, RunSpec]] = {}
    for variant, folder in _streams(loaded, home, list(dict.fromkeys(order_seeds))):
        for seed in dict.fromkeys(seeds):
            for composition in composed.values():
                spec = plan_run(variant, composition, seed, device, composition.given)
                if spec.folder(folder) in jobs:
                    raise RunError(f"{composition.spec}: another strategy of this comparison is also named {spec.name}")
                jobs[spec.folder(folder)] = variant, spec
    claim(list(jobs), overwrite)
    workers = min(workers or usable_cores(), len(jobs))
    threads = resolve_threads(loaded.config.threads, workers)
    for run_folder, (variant, spec) in jobs.items():
        prepare(run_folder, variant, spec, threads)
    epochs = loaded.config.training.epochs * len(loaded.plan().tasks)
    failed = Pool(workers, threads).run(list(jobs), epochs, progress)
    order = tuple(dict.fromkeys(spec.name for _, spec in jobs.values()))
    return Comparison(home, order, tuple(dict.fromkeys(order_seeds)), failed, baseline)


def _baseline(given: str, names: Mapping[str, str]) -> str:
    """Name of a strategy that was given by it or as it was asked for; RunError if it is none of them."""
    from clsim.experiment.significance import check_baseline

    name = names.get(given, given)
    check_baseline(name, list(names.values()))
    return name


def _streams(scenario: Scenario, home: Path, order_seeds: Sequence[int]) -> list[tuple[Scenario, Path]]:
    """The scenario under each class order, and the folder of its runs."""
    if not order_seeds:
        return [(scenario, home)]
    stream = scenario.config.stream
    if stream.order != "seed":
        raise ScenarioError([f"order_seeds: given, but stream.order is {stream.order!r}; it must be seed"])
    if min(order_seeds) < 0:
        raise ScenarioError([f"order_seeds: given {min(order_seeds)}, must be 0 or more"])
    return [
        (
            Scenario(
                scenario.config.model_copy(update={"stream": stream.model_copy(update={"order_seed": seed})}),
                scenario.source,
                scenario.document,
            ),
            _order_folder(home, seed),
        )
        for seed in order_seeds
    ]


def _order_folder(home: Path, order_seed: int) -> Path:
    return home / f"order{order_seed}"
