"""A run on several ranks, as those but the first carry it out: they train, and write nothing.

The first one holds the run folder. It says when the folder is there, from which checkpoint the run goes on, and when
the result is written. Data are decoded and features computed by the first one; the others find them in the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clsim.plugin_files import blamed
from clsim.running.assembly import build_template, training_plan
from clsim.running.checkpoint_files import Checkpoint
from clsim.running.checkpointer import place
from clsim.running.interruption import interruptible
from clsim.running.memory_shortage import shortage_named
from clsim.running.prepared_run import open_run
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import OtherRun, differences, identity_of
from clsim.sealing import sealed
from clsim.strict_json import read_object
from clsim.training.composition import Composition
from clsim.training.plugin_failures import plugin_failures
from clsim.training.ranks import Ranks
from clsim.training.template import MultiLabelTemplate

AtCut = Callable[[MultiLabelTemplate], None]


def follow(folder: Path, ranks: Ranks, device: str) -> dict[str, Any]:
    """Train with the first rank on the run of a folder, until its result is written.

    Args:
        folder: of the run.
        ranks: of the run.
        device: of this rank.

    Returns:
        The content of `result.json`.

    Raises:
        OtherRun: in this process it would be another run than in the first one.
        RankLost: another rank has ended.
        KeyboardInterrupt: the ranks have agreed to stop.
    """
    logging.getLogger("clsim").addHandler(logging.NullHandler())  # what there is to say the first rank says
    begun = ranks.share()
    if begun is not None:
        _train(folder, ranks, device, begun)
        ranks.share()
    return read_object(RunFolder(folder).result)


def _train(folder: Path, ranks: Ranks, device: str, begun: dict[str, Any]) -> None:
    scenario, spec = open_run(folder)
    threads = scenario.config.threads
    assert isinstance(threads, int)
    torch.set_num_threads(threads)
    composition = Composition(spec.strategy, spec.options)
    plan = training_plan(scenario, composition)
    here = identity_of(scenario, spec, threads) | {"training_plan_sha256": plan.sha256}
    if differing := differences(begun["identity"], here):
        text = f"{folder}: not trained by rank {ranks.rank}, because here it would be another run than in rank 0:"
        raise OtherRun("\n".join([text, *(f"  {line}" for line in differing)]))
    plan = plan.without_truth()

    def where() -> str:
        return place(asdict(template.position))

    with blamed(), shortage_named(scenario.config, device):
        template = build_template(scenario, composition, plan, seed=spec.seed, device=device, loggers=[], ranks=ranks)
        scenario.forget_labels()
        if begun["checkpoint"] is not None:
            template.load_state_dict(Checkpoint(**begun["checkpoint"]).state(device))
        with interruptible() as interruption:
            ranks.asks_to_stop = lambda: interruption.requested
            template.at_cut = leading(ranks, _leave)
            with shortage_named(scenario.config, device, where), plugin_failures(template), blamed(where), sealed():
                template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)


def _leave(template: MultiLabelTemplate) -> None:
    """End where the ranks have agreed to stop."""
    if template.ranks.requested:
        raise KeyboardInterrupt(f"interrupted {place(asdict(template.position))}")


def leading(ranks: Ranks, at_cut: AtCut) -> AtCut:
    """Return what is called at a cut of a run; where several ranks stop, none ends before all are done with it."""
    if ranks.alone:
        return at_cut

    def together(template: MultiLabelTemplate) -> None:
        try:
            at_cut(template)
        finally:
            if ranks.requested:
                ranks.agree()

    return together
