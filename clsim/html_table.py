"""Tables for notebooks, which show what an object's `_repr_html_` returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_CELL = "text-align: left; vertical-align: top; white-space: pre-wrap"


def html_table(rows: Iterable[Sequence[str]], headings: Sequence[str] = ()) -> str:
    """Return an HTML table of texts, which are escaped; the first cell of a row heads it."""
    lines = [_row(headings, len(headings))] if headings else []
    return "\n".join(["<table>", *lines, *(_row(row, 1) for row in rows), "</table>"])


def _row(cells: Sequence[str], headed: int) -> str:
    tags = ["th" if place < headed else "td" for place in range(len(cells))]
    shown = (f'<{tag} style="{_CELL}">{escape(cell)}</{tag}>' for tag, cell in zip(tags, cells, strict=True))
    return f"<tr>{''.join(shown)}</tr>"
