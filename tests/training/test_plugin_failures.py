"""What a plugin raises names the plugin, the event and the step; clsim's own errors and bugs stay what they are."""

from __future__ import annotations

from typing import Any

import pytest
from avalanche.core import SupervisedPlugin

from clsim.errors import RunError, StrategyError
from clsim.training.plugin_failures import plugin_failures


class Fails(SupervisedPlugin):
    """Raises in the third batch."""

    error: Exception = ValueError("first line\n  second line")

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        if strategy.position.step == 2:
            raise self.error


def failure(build: Any, learn: Any, plugin: Any, spec: str = "finetune") -> Exception:
    template = build(spec, first=[plugin])
    with pytest.raises(Exception) as raised, plugin_failures(template):  # noqa: PT011
        learn(template, tasks=1)
    return raised.value


def test_it_is_one_line_with_the_original_as_its_cause(build: Any, learn: Any) -> None:
    error = failure(build, learn, Fails())
    assert type(error) is RunError
    assert str(error) == (
        "plugin Fails failed in after_forward at task 0, epoch 0, step 2: ValueError: first line second line"
    )
    assert error.__cause__ is Fails.error


def test_a_callback_with_the_wrong_arguments_is_named(build: Any, learn: Any) -> None:
    class Short(SupervisedPlugin):
        def before_training_exp(self) -> None:
            """It does not take the strategy."""

    error = failure(build, learn, Short())
    assert "plugin Short failed in before_training_exp at task 0, epoch 0, step 0: TypeError: " in str(error)


def test_the_innermost_plugin_is_named(build: Any, learn: Any) -> None:
    class Listener(SupervisedPlugin):
        def memory_updated(self, strategy: Any, **kwargs: Any) -> None:
            raise KeyError("x")

    assert "plugin Listener failed in memory_updated at task 0, " in str(failure(build, learn, Listener(), "er"))


@pytest.mark.parametrize("error", [StrategyError("mine"), OSError("disk"), RunError("mine")])
def test_clear_errors_stay(build: Any, learn: Any, error: Exception) -> None:
    plugin = Fails()
    plugin.error = error
    assert failure(build, learn, plugin) is error


def test_an_error_of_a_plugin_of_clsim_stays(build: Any, learn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fails, "__module__", "clsim.training.somewhere")
    assert failure(build, learn, Fails()) is Fails.error
