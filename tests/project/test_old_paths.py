"""Modules of 0.1.0 that its documentation named say where they are now."""

from __future__ import annotations

from importlib import import_module

import pytest

PLACES = {
    "progress": "clsim.launch.progress",
    "report": "clsim.report.writing",
    "report_figures": "clsim.report.figures",
    "results": "clsim.report.results",
}


@pytest.mark.parametrize(("old", "new"), PLACES.items())
def test_an_old_module_names_its_new_place(old: str, new: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"{old} is {new}"):
        import_module(f"clsim.experiment.{old}")
    import_module(new)
