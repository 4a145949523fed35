"""Losses on multi-label and single-label logits, and the class counts that some of them need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clsim.lazy import lazy_names

_HOME = {
    "asymmetric": "clsim.training.losses.binary",
    "decayed_distillation": "clsim.training.losses.binary",
    "emphasised_negatives": "clsim.training.losses.binary",
    "focal": "clsim.training.losses.binary",
    "known_entries": "clsim.training.losses.binary",
    "masked_bce": "clsim.training.losses.binary",
    "sigmoid_distillation": "clsim.training.losses.binary",
}
"""Names that were importable from here when this was one module."""

if not TYPE_CHECKING:  # so that mypy knows a name that is not there
    __getattr__ = lazy_names(__name__, _HOME)
