"""Read back what a comparison has measured: a data frame of runs, and one run's course.

python docs/examples/read_results.py runs/demo/digits-b0c2
"""

import json
import sys

from clsim.report.results import load_results

results = load_results(sys.argv[1])
for run in results.runs:
    print(run.folder.name, run.folder.parent.name)
    result = json.loads((run.folder / "result.json").read_text())
    print("  mAP after each task:", [round(value, 1) for value in result["mAP"]])
    print("  R, last row:", [None if value is None else round(value, 1) for value in result["R"][-1]])
