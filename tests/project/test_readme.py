"""What README and the first pages show is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from clsim.scenario import load_scenario, shipped_scenarios
from clsim.training.strategy_specs import registered

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_method_shown_is_the_example_file() -> None:
    example = (DOCS / "examples" / "my_method.py").read_text(encoding="utf-8")
    body = example[example.index('    name = "my"') :].strip()
    assert body in (DOCS / "first_method.md").read_text(encoding="utf-8")


def test_the_scenario_shown_is_the_shipped_one(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "scenarios.md").read_text(encoding="utf-8"), re.DOTALL)
    (shown,) = [block for block in blocks if "name: digits-b0c2 " in block]
    path = tmp_path / "shown.yaml"
    path.write_text(shown, encoding="utf-8")
    assert load_scenario(path).config == load_scenario("digits-b0c2").config
    assert "digits-b0c2" in shipped_scenarios()


def test_every_strategy_is_listed() -> None:
    text = (DOCS / "strategies.md").read_text(encoding="utf-8")
    for name in registered():
        assert f"\n### {name}\n" in text


def test_it_is_one_screen() -> None:
    assert len(README.splitlines()) < 80


def test_files_it_links_to_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
