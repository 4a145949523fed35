"""What a search is: the arguments of `clsim.tune`, checked as far as that needs no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clsim.errors import RunError, did_you_mean
from clsim.launch.arguments import as_seed, as_seeds, split_overrides
from clsim.launch.trials import Trial
from clsim.launch.tuning_ranges import Range, as_ranges
from clsim.launch.variants import Variant, as_variant, compose
from clsim.vocabulary import GROUPS

OBJECTIVES = ("avg_mAP", "last_mAP", *(f"{group}_last_mAP" for group in GROUPS))
"""What a search can maximise, percent; names as in `Results.frame`."""
FRESH_SEEDS = 5


@dataclass(frozen=True)
class Search:
    """The arguments of `tune`, checked as far as that needs no data."""

    scenario: Any
    variant: Variant
    ranges: dict[str, Range]
    trials: int
    seeds: tuple[int, ...]
    test_seeds: tuple[int, ...]
    validation: float | None
    objective: str
    overrides: dict[str, Any]
    origins: Mapping[str, str]
    batch: int
    seed: int
    name: str | None

    @property
    def validated(self) -> dict[str, Any]:
        """The overrides of the search, whose runs are scored on validation images, once per task."""
        own = {} if self.validation is None else {"dataset.validation": self.validation}
        return {**self.overrides, **own, "evaluation.on": "validation", "evaluation.every": "task"}

    def at(self, params: Mapping[str, Any], label: str) -> Variant:
        """Return the strategy with values of the search."""
        keys = {key: value for key, value in params.items() if not key.startswith("strategy.")}
        options = {key.removeprefix("strategy."): value for key, value in params.items() if key not in keys}
        own = self.variant
        return Variant(own.spec, label, {**own.options, **options}, {**own.overrides, **keys})

    def tuned(self, best: Trial) -> Variant:
        """Return the strategy with the values of the best trial, under its name on test images."""
        (entry,) = compose([self.variant], {})
        return self.at(best.params, f"{entry.name} tuned")


def search_of(file: Mapping[str, Any], **arguments: Any) -> Search:
    """Return the arguments of `clsim.tune` that are not None, over those of a file, checked.

    Raises:
        ClsimError: one of them cannot be, or would look at test images.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    for key in ("overrides", "ranges"):
        if isinstance(given.get(key), Mapping) and key in file:
            given[key] = {**file[key], **given[key]}
    found = {**file, **given}
    for key in ("strategy", "ranges"):
        if not found.get(key):
            raise RunError(f"{key}: none given; a search needs a strategy, and ranges of keys to search over")
    variant = as_variant(found["strategy"])
    ranges = as_ranges(found["ranges"], file.get("range_origins"))
    if fixed := [key for key in ranges if variant.sets(key)]:
        raise RunError(f"range {fixed[0]}: the strategy {variant.spec} sets it already")
    overrides = found.get("overrides") or {}
    split_overrides(overrides)
    if overrides.get("evaluation.on") == "test" or _nested(overrides.get("evaluation"), "on") == "test":
        raise RunError(
            "evaluation.on: given 'test'; a search looks at validation images only, and its best is shown on test "
            "images when it has ended"
        )
    seeds = as_seeds(found.get("seeds", (0,)), "seeds")
    fresh = range(max(seeds, default=0) + 1, max(seeds, default=0) + 1 + FRESH_SEEDS)
    test_seeds = as_seeds(found.get("test_seeds", fresh), "test_seeds")
    if both := sorted(set(seeds) & set(test_seeds)):
        raise RunError(f"test_seeds: {both[0]} is a seed of the search too; the best is shown with fresh seeds")
    return Search(
        scenario=found["scenario"],
        variant=variant,
        ranges=ranges,
        trials=_at_least_one(found.get("trials", 20), "trials"),
        seeds=seeds,
        test_seeds=test_seeds,
        validation=found.get("validation"),
        objective=_objective(found.get("objective", OBJECTIVES[0])),
        overrides={key: value for key, value in overrides.items() if key != "evaluation.on"},
        origins=file.get("origins", {}),
        batch=_at_least_one(found.get("batch", 4), "batch"),
        seed=as_seed(found.get("seed", 0)),
        name=found.get("name"),
    )


def _nested(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _at_least_one(value: Any, name: str) -> int:
    if (number := as_seed(value, name)) < 1:
        raise RunError(f"{name}: given {number}, must be at least 1")
    return number


def _objective(value: Any) -> str:
    if value in OBJECTIVES:
        return str(value)
    if isinstance(value, str) and "test" in value.lower():
        raise RunError(
            f"objective: given {value!r}; a search looks at validation images only; allowed: {', '.join(OBJECTIVES)}"
        )
    raise RunError(f"objective: given {value!r}, allowed: {', '.join(OBJECTIVES)}{did_you_mean(value, OBJECTIVES)}")
