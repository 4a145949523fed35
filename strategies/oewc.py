"""Online EWC (Schwarz et al., "Progress & Compress", ICML 2018), the name that papers use for a mode of `ewc`."""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class OnlineEWC(kit.Strategy):
    """EWC with one penalty for all earlier tasks; its stored weights and importances do not grow with the tasks.

    Its options are those of its part: strategy.ewc.weight and strategy.ewc.decay.
    """

    name = "oewc"
    made_of: ClassVar[tuple[str, ...]] = ("ewc",)
    part_options: ClassVar[dict[str, Any]] = {"ewc.mode": "online"}
    family = "regularisation"
    year = 2018
    stores = "a copy and an importance of each weight"
    cost = "the cost of ewc, with one penalty for all earlier tasks"
    bib = """@inproceedings{schwarz2018progress,
  author = {Schwarz, Jonathan and Luketina, Jelena and Czarnecki, Wojciech M. and Grabska-Barwinska, Agnieszka and
            Teh, Yee Whye and Pascanu, Razvan and Hadsell, Raia},
  title = {{Progress \\& Compress}: A Scalable Framework for Continual Learning},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
}"""
