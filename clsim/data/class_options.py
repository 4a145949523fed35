"""Options about the names of classes that a data set shares with the section `dataset` of a scenario."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class SpellingsConfig(BaseModel):
    """Whether names of classes that differ in spelling alone are one class."""

    spellings: Literal["error", "join"] = Field(
        "error",
        description="names of classes that differ in capitals, blanks or invisible characters alone: an error, or one "
        "class, under the spelling that most training images have",
    )
