"""A scenario of your own, made from a shipped one in Python: its plan, its batches, a run.

python docs/examples/own_scenario.py --out runs/own --epochs 2
"""

import argparse

import clsim

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--out", default="runs/own", help="folder for the run folders")
parser.add_argument("--train", type=int, default=1200, help="training scenes")
parser.add_argument("--epochs", type=int, default=10)
arguments = parser.parse_args()

overrides = {
    "name": "own",
    "dataset.train": arguments.train,
    "stream.base": 4,  # four classes, then three in each of two tasks
    "stream.increment": 3,
    "stream.order": "frequency",
    "labels.visible": {"keep": 0.7},  # three labels in ten are not annotated
    "training.epochs": arguments.epochs,
}
scenario = clsim.load_scenario("digits-b0c2", overrides)
plan = scenario.plan()
for task in plan.tasks:
    print(f"{len(task)} images of {', '.join(plan.names(task))}")
print(f"plan {plan.sha256[:12]}")

result = clsim.run("digits-b0c2", "lwf+er", overrides=overrides, out=arguments.out)
print(f"{result.folder}: last mAP {result.record.last_mAP:.1f}")
