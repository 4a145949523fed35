"""Exports made by hand, imported, and read back by the scenario that the import writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clsim.scenario import load_scenario
from clsim.scenario.import_dataset import import_dataset

Labels = dict[str, dict[str, str]]
"""Image -> class -> "1", "0" or "" as a reader of the scenario gets them."""


class Imported:
    """What an import has made of files."""

    def __init__(self, home: Path, scenario: Path, report: str) -> None:
        self.scenario = load_scenario(scenario)
        self.plan = self.scenario.plan()
        self.report = report
        self.home = home

    def labels(self, split: str) -> Labels:
        source = self.scenario.source
        marks = {1: "1", 0: "0", -1: ""}
        files = [Path(file).relative_to(self.home).as_posix() for file in source.files(split)]
        return {
            file: {name: marks[int(label)] for name, label in zip(source.class_names, row, strict=True)}
            for file, row in zip(files, source.labels(split), strict=True)
        }

    def shown(self, split: str) -> dict[str, str]:
        """Return the classes that each image shows, joined with a space."""
        of_images = self.labels(split).items()
        return {file: " ".join(name for name, label in row.items() if label == "1") for file, row in of_images}


Import = Callable[..., Imported]


@pytest.fixture
def importing(tmp_path: Path) -> Import:
    """Write files, import them, plan the scenario; a file without content is an image."""

    def run(
        format: str,
        files: Mapping[str, str | None],
        via: str | None = None,
        python: str | None = None,
        **options: Any,
    ) -> Imported:
        home = tmp_path / "export"
        home.mkdir(exist_ok=True)
        for name, content in files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"image {name}" if content is None else content, encoding="utf-8")
        written = import_dataset(format, home, tmp_path / "out", options, True, via, python)
        return Imported(home, written.scenario, written.report)

    return run
