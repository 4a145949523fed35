"""Scenario texts and configurations for the tests of clsim.scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import ScenarioError
from clsim.scenario import load_scenario, shipped_scenarios
from clsim.scenario.schema import ScenarioConfig

Problems = Callable[..., list[str]]
Configure = Callable[..., ScenarioConfig]


@pytest.fixture(scope="session")
def digits_text() -> str:
    return shipped_scenarios()["digits-b0c2"].read_text(encoding="utf-8")


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problems:
    """Problems of a scenario text, read from a file named s.yaml; an empty list when it loads and plans."""
    monkeypatch.chdir(tmp_path)

    def problems_of(text: str | bytes, overrides: Mapping[str, Any] | Iterable[str] = ()) -> list[str]:
        Path("s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            load_scenario("s.yaml", overrides).plan()
        except ScenarioError as error:
            return error.problems
        return []

    return problems_of


@pytest.fixture
def configure() -> Configure:
    """Configuration of digits-b0c2 with other keys: `configure(base=10, increment=2, **{"labels.visible": "full"})`."""

    def configured(base: int = 0, increment: int = 2, **overrides: Any) -> ScenarioConfig:
        keys = {"stream.base": base, "stream.increment": increment, **overrides}
        return load_scenario("digits-b0c2", keys).config

    return configured
