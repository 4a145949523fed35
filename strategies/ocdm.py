"""OCDM (Liang, Li: "Optimizing Class Distribution in Memory for Multi-Label Online Continual Learning", arXiv
2209.11469, 2022), the name of `er` with that selection.

DECIDED: as many memory rows as new ones in each step, as of other online methods; the paper's number is not known.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class OCDM(kit.Strategy):
    """Replay one memory row per new row, from a memory whose class counts are kept near a target distribution.

    The exponent `rho` and the rows that come in at once, `batch`, are in strategy.er.selection_options.
    """

    name = "ocdm"
    made_of: ClassVar[tuple[str, ...]] = ("er",)
    part_options: ClassVar[dict[str, Any]] = {"er.selection": "ocdm", "er.replay": "paired"}
    family = "replay"
    year = 2022
    stores = "memory rows: images and their labels"
    cost = "memory rows in each step, as er with paired replay"
    bib = """@article{liang2022optimizing,
  author = {Liang, Y.-S. and Li, W.-J.},
  title = {Optimizing Class Distribution in Memory for Multi-Label Online Continual Learning},
  journal = {arXiv preprint arXiv:2209.11469},
  year = {2022},
}"""
