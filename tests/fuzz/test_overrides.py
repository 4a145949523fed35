"""Odd --set texts and options of strategies: taken, or refused with the text that was given."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from clsim.training.strategy_specs import registered
from tests.fuzz.bounds import Fuzzed, outcome
from tests.fuzz.yaml_mutations import SCALARS, TOKENS

KEYS = (
    *("training.epochs", "training.optimizer.lr", "dataset.train", "stream.order", "labels.visible", "memory.budget"),
    *("labels.long_tail", "training.model.weights", "dataset", "dataset.classes", "evaluation.thresholds", "threads"),
    *(
        "",
        ".",
        "..",
        "a..b",
        "training.epochs.x",
        "expected.0",
        "expected.0.metric",
        "é",
        "\0",
        "x" * 10_000,
        "a." * 200,
    ),
)


def test_odd_set_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed = []
    for case in range(500):
        random = Random(f"set {case}")
        value = random.choice(
            (random.choice(TOKENS), str(random.choice(SCALARS))[:2000], "[" * random.randrange(1, 500))
        )
        text = f"{random.choice(KEYS)}{random.choice(('=', '=', '=', '', '==', ' = '))}{value}"
        settings = [text, "dataset.test=60"] if random.random() < 0.5 else [text]
        try:
            problems = outcome(lambda given=settings: load_scenario("digits-b0c2", given).plan())
            if unnamed := [problem for problem in problems if not re.match(r"--set |.*\.yaml:\d+: ", problem)]:
                raise Fuzzed(f"does not say which: {unnamed[0][:200]}")
        except Fuzzed as error:
            failed.append(f"case {case}: {text[:100]!r}: {error}")
    assert not failed, "\n".join(failed[:20])
    assert list(tmp_path.iterdir()) == []


def test_odd_options_of_strategies() -> None:
    failed, taken = [], 0
    names = list(registered())
    for case in range(500):
        random = Random(f"option {case}")
        spec = "+".join(
            random.choices(
                [*names, "", "no-such", "a.py:B", "\0.py:X"], [4] * len(names) + [1] * 4, k=random.choice((1, 1, 2))
            )
        )
        part = random.choice((*spec.split("+"), "x"))
        option = random.choice(("weight", "selection", "temperature", "unknown", "strength", "", "a.b"))
        key = random.choice((f"{part}.{option}", option))
        value = random.choice((random.choice(SCALARS), [random.choice(SCALARS)], {"a": random.choice(SCALARS)}))
        options = {key: value} if random.random() < 0.8 else {}
        try:
            taken += not outcome(lambda given=(spec, options): Composition(*given))
        except Fuzzed as error:
            failed.append(f"case {case}: {spec!r} {str(options)[:100]}: {error}")
    assert not failed, "\n".join(failed[:20])
    assert taken
