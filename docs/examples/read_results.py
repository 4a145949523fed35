"""Read back what a comparison has measured: a data frame of runs, and one run's course.

python docs/examples/read_results.py runs/demo/digits-b0c2
"""

import sys

from clsim.report.results import load_results

results = load_results(sys.argv[1])
for run in results.runs:
    print(run.folder.name, run.folder.parent.name)
    print("  mAP after each task:", [round(value, 1) for value in run.record.mAP])
    print("  R, last row:", [None if value is None else round(value, 1) for value in run.record.R[-1]])
