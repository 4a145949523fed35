"""CSV for spreadsheets: names that look like formulas are shown."""

from __future__ import annotations

import io

import pandas as pd

from clsim.csv_text import frame_text


def test_a_text_that_begins_like_a_formula_is_shown_and_a_number_stays() -> None:
    names = ["=cmd|' /C calc'!A0", "+1+cmd", "@SUM(A1)", "-2+3", "\t=1", "-5", "cat", None]
    frame = pd.DataFrame({"class": names, "=HYPERLINK(1)": range(-4, 4), "x": [-0.5] * 8})
    text = frame_text(frame)
    assert text == frame_text(frame)
    back = pd.read_csv(io.StringIO(text), dtype={"class": str})
    shown = ["'=cmd|' /C calc'!A0", "'+1+cmd", "'@SUM(A1)", "'-2+3", "'\t=1", "-5", "cat"]
    assert back["class"].tolist()[:-1] == shown
    assert back.columns.tolist() == ["class", "'=HYPERLINK(1)", "x"]
    assert back["'=HYPERLINK(1)"].tolist() == list(range(-4, 4))
    assert frame.columns[1] == "=HYPERLINK(1)"
