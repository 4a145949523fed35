r"""Compare seven strategies on the built-in digit scenes: lower and upper reference, and steps to RebLL and beyond.

The same from the command line:
    clsim compare digits-b0c2 --out runs/demo \
        --strategies "finetune,er,lwf+er,akd+er,rebll,rebll+moments(moments.features=transport) as rebll+moments,joint"
"""

import argparse

import clsim

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", default="runs/demo", help="folder for the run folders")
parser.add_argument("--overwrite", action="store_true", help="replace existing runs")
parser.add_argument("--epochs", type=int, help="fewer epochs than the scenario says, for a quick look")
arguments = parser.parse_args()

comparison = clsim.compare(
    "digits-b0c2",
    [
        *("finetune", "er", "lwf+er", "akd+er", "rebll"),
        "rebll+moments(moments.features=transport) as rebll+moments",
        "joint",
    ],
    seeds=[0],
    overrides={"training.epochs": arguments.epochs} if arguments.epochs else {},
    out=arguments.out,
    overwrite=arguments.overwrite,
    progress=True,
)
print(comparison.table())
print(f"report:  {comparison.report()}")
print(f"curves:  .venv/bin/clsim tensorboard {comparison.folder}")
