"""Images of your own: a table of paths and labels, planned and checked without a line of data code.

python docs/examples/own_data.py FOLDER          (writes a small example into FOLDER, to have something to read)

Without a table: one folder per class, `dataset: {name: folder, root: photos, test: {share: 0.2}}`. With a class of your
own: my_data.py, torchvision_data.py.
"""

import sys
from pathlib import Path

import clsim
from clsim.data.export import write_manifest
from clsim.scenario import open_dataset

home = Path(sys.argv[1])
digits = open_dataset("digits", {"dataset.train": 60, "dataset.test": 30})
table = write_manifest(digits, home / "photos", size=32)  # photos/manifest.csv and photos/images/...

scenario_file = home / "own-data.yaml"
scenario_file.write_text("""\
name: own-data
dataset: {name: manifest, file: photos/manifest.csv, label_columns: rest}   # 1 present, 0 absent, empty: unknown
stream: {increment: 5}
training: {epochs: 5, optimizer: {lr: 1e-3}}
""")

plan = clsim.load_scenario(scenario_file).plan()
print(table.read_text().partition("\n")[0])
print(f"{len(plan.tasks)} tasks, {plan.n_train_rows} rows, {len(plan.test_samples)} test images")
print(f"next: clsim data check {scenario_file}, clsim compare {scenario_file} --strategies finetune,er")
