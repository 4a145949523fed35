"""Every shipped strategy is compared, once."""

from __future__ import annotations

from benchmarks.studies.methods import METHODS, SAME
from clsim.launch.variants import compose
from clsim.training.composition import Composition
from clsim.training.strategy_specs import registered


def test_every_registered_strategy_is_in_a_composition() -> None:
    shipped = {name for name, point in registered().items() if point.value.startswith("clsim.strategies.")}
    parts = {part.name for variant in METHODS for part in Composition(variant.spec).parts}
    named = {name for variant in METHODS for name in variant.spec.split("+")}
    assert shipped == parts | named | set(SAME), "add it to benchmarks/studies/methods.py"


def test_names_differ() -> None:
    assert len(compose(METHODS, {})) == len(METHODS)


def test_a_name_that_is_left_out_is_the_same_as_another() -> None:
    for left_out, shown in SAME.items():
        one, other = Composition(left_out), Composition(shown)
        assert [type(part) for part in one.parts] == [type(part) for part in other.parts]
        assert one.options() == other.options()
        assert shown in [variant.spec for variant in METHODS]
