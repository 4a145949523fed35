"""clsim: a continual-learning simulator for multi-label streams with partial labels.

    scenario = clsim.load_scenario("digits-b0c2")
    comparison = clsim.compare(scenario, ["finetune", "lwf+er", "joint"], seeds=[0, 1])
    print(comparison.table())

Importing clsim loads no torch; running does.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:  # python -m clsim: Python has put the working directory first
    del sys.path[0]

from importlib.metadata import version
from typing import TYPE_CHECKING

from clsim.avalanche_imports import leave_out_hardly_used
from clsim.lazy import lazy_names

if TYPE_CHECKING:
    from clsim.errors import ClsimError
    from clsim.evaluation.multi_label_metrics import MultiLabelMetrics
    from clsim.inference.loading import load_model
    from clsim.inference.model import Model
    from clsim.launch.comparison import Comparison, compare
    from clsim.launch.engines.ray import RayEngine
    from clsim.launch.engines.slurm import SlurmEngine
    from clsim.launch.evaluation import Evaluation, evaluate
    from clsim.launch.single_run import resume, run
    from clsim.launch.tuning import tune
    from clsim.launch.variants import Variant
    from clsim.launch.work import work
    from clsim.scenario import Scenario, StreamPlan, load_scenario
    from clsim.scenario.import_dataset import import_dataset
    from clsim.training.strategy import Context, Options, Strategy

leave_out_hardly_used()
__version__ = version("clsim")

_HOME = {
    "ClsimError": "clsim.errors",
    "Comparison": "clsim.launch.comparison",
    "Context": "clsim.training.strategy",
    "Evaluation": "clsim.launch.evaluation",
    "Model": "clsim.inference.model",
    "MultiLabelMetrics": "clsim.evaluation.multi_label_metrics",
    "Options": "clsim.training.strategy",
    "RayEngine": "clsim.launch.engines.ray",
    "Scenario": "clsim.scenario",
    "SlurmEngine": "clsim.launch.engines.slurm",
    "Strategy": "clsim.training.strategy",
    "StreamPlan": "clsim.scenario",
    "Variant": "clsim.launch.variants",
    "compare": "clsim.launch.comparison",
    "evaluate": "clsim.launch.evaluation",
    "import_dataset": "clsim.scenario.import_dataset",
    "load_model": "clsim.inference.loading",
    "load_scenario": "clsim.scenario",
    "resume": "clsim.launch.single_run",
    "run": "clsim.launch.single_run",
    "tune": "clsim.launch.tuning",
    "work": "clsim.launch.work",
}

__all__ = [
    "ClsimError",
    "Comparison",
    "Context",
    "Evaluation",
    "Model",
    "MultiLabelMetrics",
    "Options",
    "RayEngine",
    "Scenario",
    "SlurmEngine",
    "Strategy",
    "StreamPlan",
    "Variant",
    "compare",
    "evaluate",
    "import_dataset",
    "load_model",
    "load_scenario",
    "resume",
    "run",
    "tune",
    "work",
]

if not TYPE_CHECKING:  # so that mypy knows a name that is not there
    __getattr__ = lazy_names(__name__, _HOME)
