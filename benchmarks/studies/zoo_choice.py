"""What the tuning of the ladder chose: python -m benchmarks.studies.zoo_choice, after ... zoo tune.

A method's setting is the one with the greatest last mAP, summed over the tuning streams on which the method can be run,
each a mean over seeds.
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

    A stream on which the defaults have no run does not count, and a setting without a run on one that counts is left
    out.

    Args:
        streams: name of a setting's runs -> their mean last mAP, percent.
        frozen: of each stream, whether the backbone is.
    """
    found: Chosen = {}
    for method in methods:
        settings: list[Mapping[str, Any]] = [{}, *method.tried]
        per_stream = [
            [stream.get(str(method.variant(each, setting).label), math.nan) for setting in settings]
            for each, stream in zip(frozen, streams, strict=True)
        ]
        counted = [values for values in per_stream if not math.isnan(values[0])]
        sums = [sum(values) for values in zip(*counted, strict=True)]
        ran = {index: value for index, value in enumerate(sums) if not math.isnan(value)}
        chosen = max(ran, key=ran.__getitem__, default=0)
        if chosen and ran[chosen] > ran[0]:
            found[method.name] = settings[chosen]
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
