"""clsim: a continual-learning simulator for multi-label streams with partial labels.

    scenario = clsim.load_scenario("digits-b0c2")
    comparison = clsim.compare(scenario, ["finetune", "lwf+er", "joint"], seeds=[0, 1])
    print(comparison.table())

Importing clsim loads no torch; running does.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clsim.errors import ClsimError
    from clsim.launch.comparison import Comparison, compare
    from clsim.launch.single_run import resume, run
    from clsim.scenario import Scenario, StreamPlan, load_scenario
    from clsim.training.strategy import Context, Options, Strategy

__version__ = version("clsim")

_HOME = {
    "ClsimError": "clsim.errors",
    "Comparison": "clsim.launch.comparison",
    "Context": "clsim.training.strategy",
    "Options": "clsim.training.strategy",
    "Scenario": "clsim.scenario",
    "Strategy": "clsim.training.strategy",
    "StreamPlan": "clsim.scenario",
    "compare": "clsim.launch.comparison",
    "load_scenario": "clsim.scenario",
    "resume": "clsim.launch.single_run",
    "run": "clsim.launch.single_run",
}

__all__ = [
    "ClsimError",
    "Comparison",
    "Context",
    "Options",
    "Scenario",
    "Strategy",
    "StreamPlan",
    "compare",
    "load_scenario",
    "resume",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'clsim' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
