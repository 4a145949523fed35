"""PRS, partitioning reservoir sampling (Kim, Jeong, Kim: "Imbalanced Continual Learning with Partitioning Reservoir
Sampling", ECCV 2020, arXiv 2009.03632), the name of `er` with that selection."""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class PRS(kit.Strategy):
    """Replay one memory row per new row, from a reservoir that keeps a fixed share of positives for each class.

    The exponent of the shares is strategy.er.selection_options.q; the other options are those of `er`.
    """

    name = "prs"
    made_of: ClassVar[tuple[str, ...]] = ("er",)
    part_options: ClassVar[dict[str, Any]] = {"er.selection": "prs", "er.replay": "paired"}
    family = "replay"
    year = 2020
    stores = "memory rows: images and their labels"
    cost = "memory rows in each step, as er with paired replay"
    bib = """@inproceedings{kim2020imbalanced,
  author = {Kim, Chris Dongjoo and Jeong, Jinseo and Kim, Gunhee},
  title = {Imbalanced Continual Learning with Partitioning Reservoir Sampling},
  booktitle = {European Conference on Computer Vision},
  year = {2020},
}"""
