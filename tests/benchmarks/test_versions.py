"""The lowest and the newest versions are chosen by uv, each in an environment of its own."""

from __future__ import annotations

import pytest

from benchmarks.versions import HOME, commands


@pytest.mark.parametrize(("name", "resolution"), [("lowest", "lowest-direct"), ("newest", "highest")])
def test_a_set_is_installed_and_tested_in_its_own_environment(name: str, resolution: str) -> None:
    made, uv, install, tests = commands(name, "python3.11", ["tests/data"])
    assert made == ["python3.11", "-m", "venv", str(HOME / name)]
    assert {command[0] for command in (uv, install, tests)} == {str(HOME / name / "bin" / "python")}
    assert install[install.index("--resolution") + 1] == resolution
    assert tests[-1] == "tests/data"
