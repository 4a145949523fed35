"""TensorBoard's pages with defaults that suit a few runs of a few tasks.

TensorBoard smooths curves of five points until they show something else, cuts the lowest and highest of them off as
outliers, gives each run one of seven colours, so that two strategies may share one, and shows the first hyperparameters
by the alphabet. Its pages have no setting for most of that, so a few places of their code are replaced as they are
served. A user can still choose otherwise in the pages.
DECIDED: a place that another version of TensorBoard does not have is left out.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import IO

from clsim.report.figures import COLOURS

CODE = "index.js"
MORE_COLOURS = ("#332288", "#44AA99", "#AA4499", "#999933", "#661100", "#6699CC", "#117733", "#DDCC77")
"""Of Paul Tol, for more strategies than `figures.COLOURS` has colours for."""
STRATEGY_OF_RUN = "(.*)/"
"""Matches `er` in the name of a run such as `er/seed0` or `er/mean`."""

_PALETTE = json.dumps([*COLOURS, *MORE_COLOURS])
_NAMED_PALETTE = json.dumps(
    [{"name": colour, "lightHex": colour, "darkHex": colour} for colour in json.loads(_PALETTE)]
)
CHANGES = {
    "colours of Time Series": (
        r'(colorPalette:\{id:"default",name:)"\w+",colors:\[(?:\{[^{}]*\},?)+\]',
        rf'\1"clsim",colors:{_NAMED_PALETTE}',
    ),
    "colours of the other pages, by strategy": (
        r"setDomain\((?P<runs>\w+)\)\{return this\.identifiers=(?P<new>\w+)\(\),(?P=runs)\.forEach\(\((?P<run>\w+),"
        r"(?P<place>\w+)\)=>\{this\.identifiers\.set\((?P=run),this\.palette\[(?P=place)%this\.palette\.length\]\)\}\),this\}",
        rf"setDomain(\g<runs>){{this.identifiers=\g<new>();const palette={_PALETTE},strategies=[];"
        rf'\g<runs>.forEach(\g<run>=>{{const strategy=(\g<run>.match("^{STRATEGY_OF_RUN}")||[,\g<run>])[1];'
        r"strategies.includes(strategy)||strategies.push(strategy);"
        r"this.identifiers.set(\g<run>,palette[strategies.indexOf(strategy)%palette.length])});return this}",
    ),
    "no smoothing in Time Series": (r"scalarSmoothing:\.6\b", "scalarSmoothing:0"),
    "no smoothing in the other pages": (r'("_smoothingWeight",\{defaultValue:)\.6\}', r"\g<1>0}"),
    "whole curves in Time Series": ("ignoreOutliers:!0", "ignoreOutliers:!1"),
    "whole curves in the other pages": (r'("_ignoreYOutliers",\{defaultValue:)!0', r"\1!1"),
    "HParams opens with the columns that come first": (
        r"for\(let (\w)=0;\1<(\w);\1\+\+\)(\w)\[\1\]\.displayed=!0",
        r"for(let \1=0;\1<\2;\1++)\3[\1].displayed=!!\3[\1].info.differs||!\3[0].info.differs",
    ),
}
"""What is changed -> pattern in the code of the pages, and what takes its place."""


def changed_pages(pages: Callable[[], IO[bytes]]) -> Callable[[], IO[bytes]]:
    """Return a provider of TensorBoard's pages, a zip archive, with CHANGES.

    Args:
        pages: opens the archive as TensorBoard brings it.
    """
    written = io.BytesIO()
    with pages() as file, zipfile.ZipFile(file) as old, zipfile.ZipFile(written, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, with_changes(content.decode()) if entry.filename == CODE else content)
    content = written.getvalue()
    return lambda: io.BytesIO(content)


def with_changes(code: str) -> str:
    """Return the code of the pages with CHANGES, as far as it has their places."""
    for pattern, replacement in CHANGES.values():
        code = re.sub(pattern, replacement, code)
    return code
