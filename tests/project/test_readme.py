"""What README shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from clsim.scenario import load_scenario, shipped_scenarios
from clsim.training.composition import registered

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def test_the_method_shown_is_the_example_file() -> None:
    assert (ROOT / "docs" / "examples" / "my_method.py").read_text(encoding="utf-8").strip() in README


def test_the_scenario_shown_is_the_shipped_one(tmp_path: Path) -> None:
    (shown,) = YAML
    path = tmp_path / "shown.yaml"
    path.write_text(shown, encoding="utf-8")
    assert load_scenario(path).config == load_scenario("digits-b0c2").config
    assert "digits-b0c2" in shipped_scenarios()


def test_every_strategy_is_listed() -> None:
    listed = {name for line in README.splitlines() for name in re.findall(r"`([^`]+)`", line.split(" | ")[0])}
    assert set(registered()) <= listed


def test_files_it_links_to_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
