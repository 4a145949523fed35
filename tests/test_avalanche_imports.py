from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, clsim
from importlib.util import find_spec
assert find_spec("avalanche").name == "avalanche"  # a look is no import
import avalanche.training
assert not {"wandb", "jax", "qpsolvers"} & set(sys.modules)
assert type(avalanche.__loader__) is type(avalanche.__spec__.loader) is type(clsim.__loader__)

import numpy as np
from avalanche.evaluation.metrics import confusion_matrix
from avalanche.training.plugins import gem
assert not hasattr(gem.qpsolvers, "__wrapped__") and "qpsolvers" not in sys.modules
one = np.eye(1)
assert gem.qpsolvers.solve_qp(P=one, q=np.array([-2.0]), G=one, h=np.ones(1), solver="quadprog").round(6) == 1
import wandb
assert wandb.__file__ and confusion_matrix.wandb is not wandb
assert confusion_matrix.wandb.plot is wandb.plot
import qpsolvers
assert gem.qpsolvers.solve_qp is qpsolvers.solve_qp
print("whole")
"""


def test_avalanche_imports_wandb_and_qpsolvers_when_it_uses_them() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("whole\n", 0), done.stderr
