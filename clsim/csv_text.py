"""Tables as CSV that people open in spreadsheets: no name in them is computed as a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet shows and does not compute.

    A text that begins like a formula gets an apostrophe in front; numbers, also those in texts, stay as they are.
    """
    if not isinstance(value, str) or not value.startswith(_BEGINS_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def frame_text(frame: pd.DataFrame) -> str:
    """Return a data frame as CSV without its index, each cell and heading a `shown_cell`."""
    texts = frame.select_dtypes(exclude="number").columns
    shown = frame.assign(**{name: frame[name].map(shown_cell) for name in texts})
    return str(shown.rename(columns=shown_cell).to_csv(index=False, lineterminator="\n"))
