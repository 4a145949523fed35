"""Ten thousand spoiled scenario files: each plans or is refused with file and line, at once, and nothing is written."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from clsim.scenario import load_scenario
from tests.fuzz.bounds import Fuzzed, outcome, tree
from tests.fuzz.yaml_mutations import mutated

CASES, SHARDS = 10_000, 20


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_spoiled_scenarios_plan_or_are_refused_with_a_line(
    scenario_texts: dict[str, str], shard: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names, texts = list(scenario_texts), list(scenario_texts.values())
    failed, planned = [], 0
    for case in range(shard, CASES, SHARDS):
        content = mutated(texts[case % len(texts)], texts, Random(f"scenario {case}"))
        Path("s.yaml").write_bytes(content)
        before = tree(tmp_path)
        try:
            problems = outcome(lambda: load_scenario("s.yaml").plan())
            _check(problems, content)
            if tree(tmp_path) != before:
                raise Fuzzed("wrote files")
        except Fuzzed as error:
            failed.append(f"case {case} of {names[case % len(names)]}: {error}")
            continue
        planned += not problems
    assert not failed, "\n".join(failed[:20])
    assert planned, "if nothing plans, nothing but refusals is tested"


def _check(problems: list[str], content: bytes) -> None:
    """Each problem stands at a line that the file has."""
    lines = len(re.split(rb"\r\n?|\n|\xc2\x85|\xe2\x80[\xa8\xa9]", content))  # what YAML ends a line with
    for problem in problems:
        found = re.match(r"s\.yaml:(\d+): ", problem)
        if not found or not 1 <= int(found[1]) <= lines:
            raise Fuzzed(f"no line: {problem[:300]}")
