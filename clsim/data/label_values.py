"""Labels that are neither present nor absent: -1, soft labels, "no finding". An option says what each of them means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from clsim.data.source import Split

UNCERTAIN, SOFT = -2, -3
"""Codes of a parsed label beside 1 present, 0 absent, -1 unknown; the value of a soft label stands elsewhere."""

Codes = NDArray[np.int8]
Soft = NDArray[np.float32]


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """What the small sections of a data set have in common."""


class SoftValue(Options):
    """`{soft: 0.6}`."""

    soft: float = Field(gt=0, lt=1, description="soft label of all uncertain entries")


class Uncertain(Options):
    """`{uncertain: positive | negative | {soft: 0.6}}`."""

    uncertain: Literal["positive", "negative"] | SoftValue = Field(
        description="how training reads an uncertain label (CheXpert's U-Ones, U-Zeros, or a soft label); in test"
        " images it is unknown"
    )


class Threshold(Options):
    """`{threshold: 0.5}`."""

    threshold: float = Field(gt=0, lt=1, description="lowest soft label that counts as present; below it is absent")


class NoFinding(Options):
    """`{name: No Finding, beside: [Support Devices]}`."""

    name: str = Field(min_length=1, description='name of the label that means "no class is present"')
    beside: list[str] = Field(
        [], description="classes to which this label does not apply, such as CheXpert's Support Devices"
    )


class LabelValuesConfig(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of data sets whose labels are numbers."""

    minus_one: Literal["absent", "unknown"] | Uncertain | None = Field(
        None, description="meaning of the label -1: absent, unknown, or uncertain; default: an error"
    )
    soft_labels: Literal["unknown"] | Threshold | None = Field(
        None,
        description="use labels between 0 and 1 as training targets. Where only present or absent is possible "
        "(assignment, class counts, test truth) they count as unknown, or by a threshold. Default: an"
        " error",
    )

    @property
    def code_of_minus_one(self) -> int | None:
        """Code of a label -1; None: an error."""
        if isinstance(self.minus_one, Uncertain):
            return UNCERTAIN
        return {"absent": 0, "unknown": -1, None: None}[self.minus_one]


def read_codes(codes: Codes, soft: Soft, config: LabelValuesConfig, split: Split) -> tuple[Codes, Soft | None]:
    """Return labels int8 [N, C], 1, 0 or -1, and soft labels float32 [N, C], 0 where there is none; None: none at all.

    DECIDED: a label of a test image is never soft, and an uncertain one is unknown there, because nobody can score
    what the annotator did not know.

    Args:
        codes: int8 [N, C], 1, 0, -1, `UNCERTAIN` or `SOFT`.
        soft: float32 [K], values of the entries that are `SOFT`, row by row.
        config: what they mean.
        split: whose labels they are.
    """
    if codes.min(initial=0) >= -1:  # as most tables are; what follows needs five bytes more per entry
        codes.flags.writeable = False
        return codes, None
    values = np.zeros(codes.shape, dtype=np.float32)
    values[codes == SOFT] = soft
    uncertain = codes == UNCERTAIN
    labels = np.where(uncertain, -1, codes).astype(np.int8)
    if split == "train" and isinstance(config.minus_one, Uncertain):
        meaning = config.minus_one.uncertain
        if isinstance(meaning, SoftValue):
            values[uncertain] = meaning.soft
        else:
            labels[uncertain] = meaning == "positive"
    labels = np.where(values > 0, hard_reading(values, config.soft_labels), labels).astype(np.int8)
    labels.flags.writeable = False
    return labels, values if split == "train" and values.any() else None


def hard_reading(soft: Soft, rule: Literal["unknown"] | Threshold | None) -> Codes:
    """What soft labels count as where they must be 1, 0 or -1, int8 of their shape."""
    if isinstance(rule, Threshold):
        return (soft >= np.float32(rule.threshold)).astype(np.int8)
    return np.full(soft.shape, -1, dtype=np.int8)


def is_soft(value: float) -> bool:
    """Whether a label lies between 0 and 1, as float32 too."""
    return bool(0 < np.float32(value) < 1)


def without_finding(codes: Codes, names: Sequence[str], rule: NoFinding) -> tuple[Codes, NDArray[np.int64], list[int]]:
    """Take the label "no finding" out of a matrix: where it is present, all other classes are absent.

    DECIDED: it is no class. Shown in one task it would tell that the classes of all other tasks are absent, and the
    published protocols (NIH ChestX-ray14) do not count it. Where it is absent it says nothing about single classes.

    Args:
        codes: int8 [N, C], as in `read_codes`, changed in place.
        names: of the C columns; `rule.name` is among them.

    Returns:
        The columns left, int8 [N, C']; their positions in `names`; rows in which another class is present, uncertain
        or soft although there is "no finding".
    """
    column = list(names).index(rule.name)
    told = np.array([name != rule.name and name not in rule.beside for name in names])
    rows = np.flatnonzero(codes[:, column] == 1)
    block = codes[np.ix_(rows, told)]
    contradicting = rows[np.isin(block, (1, UNCERTAIN, SOFT)).any(axis=1)].tolist()
    codes[np.ix_(rows, told)] = 0
    kept = np.array([position for position in range(len(names)) if position != column], dtype=np.int64)
    return np.ascontiguousarray(codes[:, kept]), kept, contradicting
