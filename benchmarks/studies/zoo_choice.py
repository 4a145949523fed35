"""What the tuning of the ladder chose: python -m benchmarks.studies.zoo_choice, after ... zoo tune.

A method's setting is the one with the greatest last mAP, summed over the tuning streams, each a mean over seeds.
"""

from __future__ import annotations

import math
import pprint
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.methods import LADDER, Method
from benchmarks.studies.study import ROOT
from benchmarks.studies.zoo import STUDY, TUNING, is_frozen

Chosen = dict[str, Mapping[str, Any]]


def best(methods: Sequence[Method], streams: Sequence[Mapping[str, float]], frozen: Sequence[bool]) -> Chosen:
    """Return the setting of each method for which one is better than its defaults.

    A setting without a run on one of the streams is left out, and so is a method whose defaults are without one.

    Args:
        streams: name of a setting's runs -> their mean last mAP, percent.
        frozen: of each stream, whether the backbone is.
    """
    found: Chosen = {}
    for method in methods:
        sums: list[tuple[float, Mapping[str, Any]]] = []
        for setting in ({}, *method.tried):
            labels = [str(method.variant(each, setting).label) for each in frozen]
            values = [stream.get(label, math.nan) for label, stream in zip(labels, streams, strict=True)]
            sums.append((sum(values), setting))
        value, setting = max((one for one in sums if not math.isnan(one[0])), key=lambda one: one[0], default=sums[0])
        if value > sums[0][0]:
            found[method.name] = setting
    return found


def main(out: Path = ROOT / "runs" / "studies" / "zoo") -> None:
    """Print the settings to be written into `methods.CHOSEN`."""
    found = [results for one in TUNING if (results := one.results(STUDY.folder(out, one))) is not None]
    if len(found) < len(TUNING):
        print(f"{len(found)} of {len(TUNING)} tuning streams have runs: nothing is chosen")
        return
    means = [results.frame.groupby("strategy").last_mAP.mean().to_dict() for results in found]
    pprint.pprint(best(LADDER, means, [is_frozen(one) for one in TUNING]))


if __name__ == "__main__":
    main()
