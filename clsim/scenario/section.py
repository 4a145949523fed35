"""What all sections of a scenario file have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field

PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of the file: immutable, no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def either(*forms: str) -> Discriminator:
    """A setting `keyword | {key: value}`: the form is told by the keyword or the key; all forms are named otherwise."""

    def tag(value: Any) -> str | None:
        if isinstance(value, str):
            return "keyword" if value in forms else None
        if isinstance(value, dict) and len(value) == 1:
            return str(next(iter(value)))
        if isinstance(value, BaseModel):
            return next(iter(type(value).model_fields))
        return None

    allowed = " | ".join(forms)
    return Discriminator(
        tag, custom_error_type="one_of", custom_error_message=f"allowed: {allowed}", custom_error_context={}
    )
