"""What the author of a method needs, in one place. These names stay; the modules they come from may move.

    from clsim import kit

    class MyMethod(kit.Strategy):
        def plugins(self, context):
            return [kit.Distillation(kit.sigmoid_distillation, 1.0, context.snapshot)]

Importing clsim.kit loads no torch. A name that needs it loads it when it is first used, so a strategy that uses such
names inside its methods can be listed and planned without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clsim.lazy import lazy_names

if TYPE_CHECKING:
    from clsim.data.path_options import FILE_CONTENT
    from clsim.errors import RunError, StrategyError
    from clsim.models.class_vectors import ClassVectors
    from clsim.models.closed_form_head import ClosedFormHead
    from clsim.models.head import GrowingHead, Head, TokenHead, positions
    from clsim.models.network import MultiLabelNet
    from clsim.parts import PartOption
    from clsim.randomness import derive_seed, permutation, raw_integers, uniforms
    from clsim.scenario.plan.stream_plan import StreamPlan
    from clsim.scenario.schema import ScenarioConfig
    from clsim.scenario.stream.rows import RowStore
    from clsim.training.closed_form.analytic import RidgeSums, WeightedAnalytic
    from clsim.training.closed_form.feature_replay import GaussianFeatures
    from clsim.training.closed_form.features import ClosedForm, check_features, with_solved_head
    from clsim.training.closed_form.recursive import RecursiveRidge
    from clsim.training.closed_form.second_moments import FullMoments, LowRankMoments
    from clsim.training.closed_form.solved_head import SolvedHead
    from clsim.training.closed_form.statistics import ClassStatistics, rank_within
    from clsim.training.distillation import Distillation
    from clsim.training.learner import Experience, Learner, Position
    from clsim.training.losses.binary import (
        asymmetric,
        balanced_distillation,
        decayed_distillation,
        emphasised_negatives,
        focal,
        known_entries,
        masked_bce,
        sigmoid_distillation,
    )
    from clsim.training.losses.class_counts import ClassCounts, CountedLoss
    from clsim.training.losses.class_frequencies import class_balanced, distribution_balanced, logit_adjusted, rldam
    from clsim.training.losses.softmax import cross_entropy, logit_adjusted_cross_entropy
    from clsim.training.memory.bias_correction import BiasCorrection
    from clsim.training.memory.network_view import NetworkView
    from clsim.training.memory.replay import Replay
    from clsim.training.memory.selection import (
        ClassBalancedSelection,
        HerdingSelection,
        RandomSelection,
        ReservoirSelection,
        Selection,
        make_selection,
    )
    from clsim.training.memory.store import Budget, Memory
    from clsim.training.memory.stored_logits import StoredLogits
    from clsim.training.online import check_online_replay
    from clsim.training.outputs import Outputs
    from clsim.training.plugin import Plugin
    from clsim.training.quadratic_penalty import WeightPenalty
    from clsim.training.seeding import drawing_again, torch_generators
    from clsim.training.snapshot import Snapshot
    from clsim.training.stock import FeatureModel, MultiLabelDER, TrainMode
    from clsim.training.strategy import Context, Options, Strategy
    from clsim.training.unknown import OldClassesOfNewRows
    from clsim.transfer import sent

SECTIONS = {
    "A method": {
        "Strategy": "clsim.training.strategy",
        "Options": "clsim.training.strategy",
        "Context": "clsim.training.strategy",
        "PartOption": "clsim.parts",
        "FILE_CONTENT": "clsim.data.path_options",
        "StrategyError": "clsim.errors",
        "ScenarioConfig": "clsim.scenario.schema",
        "StreamPlan": "clsim.scenario.plan.stream_plan",
    },
    "Plugins": {
        "Plugin": "clsim.training.plugin",
        "Learner": "clsim.training.learner",
        "Position": "clsim.training.learner",
        "Experience": "clsim.training.learner",
        "Distillation": "clsim.training.distillation",
        "Outputs": "clsim.training.outputs",
        "Snapshot": "clsim.training.snapshot",
        "OldClassesOfNewRows": "clsim.training.unknown",
        "WeightPenalty": "clsim.training.quadratic_penalty",
        "RowStore": "clsim.scenario.stream.rows",
        "RunError": "clsim.errors",
    },
    "Network": {
        "MultiLabelNet": "clsim.models.network",
        "Head": "clsim.models.head",
        "GrowingHead": "clsim.models.head",
        "TokenHead": "clsim.models.head",
        "positions": "clsim.models.head",
        "ClassVectors": "clsim.models.class_vectors",
    },
    "Heads in closed form": {
        "ClosedFormHead": "clsim.models.closed_form_head",
        "ClassStatistics": "clsim.training.closed_form.statistics",
        "FullMoments": "clsim.training.closed_form.second_moments",
        "LowRankMoments": "clsim.training.closed_form.second_moments",
        "ClosedForm": "clsim.training.closed_form.features",
        "check_features": "clsim.training.closed_form.features",
        "with_solved_head": "clsim.training.closed_form.features",
        "RidgeSums": "clsim.training.closed_form.analytic",
        "RecursiveRidge": "clsim.training.closed_form.recursive",
        "WeightedAnalytic": "clsim.training.closed_form.analytic",
        "SolvedHead": "clsim.training.closed_form.solved_head",
        "GaussianFeatures": "clsim.training.closed_form.feature_replay",
        "rank_within": "clsim.training.closed_form.statistics",
    },
    "Memory": {
        "Replay": "clsim.training.memory.replay",
        "Memory": "clsim.training.memory.store",
        "Budget": "clsim.training.memory.store",
        "NetworkView": "clsim.training.memory.network_view",
        "Selection": "clsim.training.memory.selection",
        "ClassBalancedSelection": "clsim.training.memory.selection",
        "HerdingSelection": "clsim.training.memory.selection",
        "RandomSelection": "clsim.training.memory.selection",
        "ReservoirSelection": "clsim.training.memory.selection",
        "make_selection": "clsim.training.memory.selection",
        "BiasCorrection": "clsim.training.memory.bias_correction",
        "StoredLogits": "clsim.training.memory.stored_logits",
        "check_online_replay": "clsim.training.online",
    },
    "Losses": {
        "masked_bce": "clsim.training.losses.binary",
        "focal": "clsim.training.losses.binary",
        "asymmetric": "clsim.training.losses.binary",
        "emphasised_negatives": "clsim.training.losses.binary",
        "sigmoid_distillation": "clsim.training.losses.binary",
        "balanced_distillation": "clsim.training.losses.binary",
        "decayed_distillation": "clsim.training.losses.binary",
        "known_entries": "clsim.training.losses.binary",
        "class_balanced": "clsim.training.losses.class_frequencies",
        "distribution_balanced": "clsim.training.losses.class_frequencies",
        "logit_adjusted": "clsim.training.losses.class_frequencies",
        "rldam": "clsim.training.losses.class_frequencies",
        "cross_entropy": "clsim.training.losses.softmax",
        "logit_adjusted_cross_entropy": "clsim.training.losses.softmax",
        "CountedLoss": "clsim.training.losses.class_counts",
        "ClassCounts": "clsim.training.losses.class_counts",
    },
    "Adapters of stock Avalanche": {
        "FeatureModel": "clsim.training.stock",
        "MultiLabelDER": "clsim.training.stock",
        "TrainMode": "clsim.training.stock",
    },
    "Random numbers": {
        "permutation": "clsim.randomness",
        "uniforms": "clsim.randomness",
        "raw_integers": "clsim.randomness",
        "derive_seed": "clsim.randomness",
        "torch_generators": "clsim.training.seeding",
        "drawing_again": "clsim.training.seeding",
    },
    "Devices": {
        "sent": "clsim.transfer",
    },
}
"""Subject -> name -> module that defines it."""

__all__ = [
    "FILE_CONTENT",
    "BiasCorrection",
    "Budget",
    "ClassBalancedSelection",
    "ClassCounts",
    "ClassStatistics",
    "ClassVectors",
    "ClosedForm",
    "ClosedFormHead",
    "Context",
    "CountedLoss",
    "Distillation",
    "Experience",
    "FeatureModel",
    "FullMoments",
    "GaussianFeatures",
    "GrowingHead",
    "Head",
    "HerdingSelection",
    "Learner",
    "LowRankMoments",
    "Memory",
    "MultiLabelDER",
    "MultiLabelNet",
    "NetworkView",
    "OldClassesOfNewRows",
    "Options",
    "Outputs",
    "PartOption",
    "Plugin",
    "Position",
    "RandomSelection",
    "RecursiveRidge",
    "Replay",
    "ReservoirSelection",
    "RidgeSums",
    "RowStore",
    "RunError",
    "ScenarioConfig",
    "Selection",
    "Snapshot",
    "SolvedHead",
    "StoredLogits",
    "Strategy",
    "StrategyError",
    "StreamPlan",
    "TokenHead",
    "TrainMode",
    "WeightPenalty",
    "WeightedAnalytic",
    "asymmetric",
    "balanced_distillation",
    "check_features",
    "check_online_replay",
    "class_balanced",
    "cross_entropy",
    "decayed_distillation",
    "derive_seed",
    "distribution_balanced",
    "drawing_again",
    "emphasised_negatives",
    "focal",
    "known_entries",
    "logit_adjusted",
    "logit_adjusted_cross_entropy",
    "make_selection",
    "masked_bce",
    "permutation",
    "positions",
    "rank_within",
    "raw_integers",
    "rldam",
    "sent",
    "sigmoid_distillation",
    "torch_generators",
    "uniforms",
    "with_solved_head",
]

if not TYPE_CHECKING:  # so that mypy knows a name that is not there
    __getattr__ = lazy_names(__name__, {name: module for names in SECTIONS.values() for name, module in names.items()})
