"""Save one figure of a comparison's report as an SVG file, for a paper or a README.

python docs/examples/figure.py runs/demo/digits-b0c2 curves figure.svg
"""

import sys
from pathlib import Path

from clsim.files import write_atomically
from clsim.report.figures import draw
from clsim.report.results import load_results

folder, name, target = sys.argv[1:]
figures = {key: figure for key, figure in draw(load_results(folder)).items() if figure is not None}
if name not in figures:
    sys.exit(f"no figure {name!r}; there are: {', '.join(figures)}")
write_atomically(Path(target), str(figures[name]).replace("<svg ", '<svg style="background: white" ', 1))
