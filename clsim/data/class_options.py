"""Options about the names of classes that a data set shares with the section `dataset` of a scenario."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class SpellingsConfig(BaseModel):
    """Whether names of classes that differ in spelling alone are one class."""

    spellings: Literal["error", "join"] = Field(
        "error",
        description="class names that differ only in capitals, blanks or invisible characters: an error, or one "
        "class with the spelling of most training images",
    )
