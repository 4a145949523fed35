"""`comparison.plot`: the figures of a report as objects of matplotlib, to be changed, saved or shown in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

from clsim.errors import RunError, did_you_mean
from clsim.report import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from clsim.report.results import Results


class Plot:
    """Figures of runs; each call draws a new one. No window opens, and pyplot is not needed.

        figure = comparison.plot.curves()
        figure.axes[0].set_title("mine")
        figure.savefig("curves.pdf")

    Args:
        results: the runs.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    def curves(self) -> Figure:
        """Draw mAP over the seen classes after each task: means over seeds, bands from lowest to highest seed."""
        with mpl.rc_context(figures.SETTINGS):
            return figures.curves(self._results)

    def matrix(self, *strategies: str) -> Figure:
        """Draw R[t, k], mean over seeds, of each strategy, by default of all, side by side.

        Raises:
            RunError: no such strategy.
        """
        known = self._results.strategies
        for name in strategies:
            if name not in known:
                raise RunError(f"strategy: given {name!r}, allowed: {', '.join(known)}{did_you_mean(name, known)}")
        with mpl.rc_context(figures.SETTINGS):
            return figures.matrices(self._results, strategies or known)

    def forgetting(self) -> Figure:
        """Draw the forgetting of each earlier task, in points.

        Raises:
            RunError: no strategy has an earlier task to forget.
        """
        with mpl.rc_context(figures.SETTINGS):
            figure = figures.forgetting(self._results)
        if figure is None:
            raise RunError("forgetting: undefined, as no strategy has an earlier task to forget")
        return figure
