"""What all sections of a scenario file have in common."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.option_marks import marked_options
from clsim.parts import PartOption, option_problems

PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of the file: immutable, no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _options_are_known(self) -> Self:
        """Check the names of the options of parts, as far as that needs no execution; the rest when they are made."""
        for (name,), mark in own_parts(type(self)).items():
            reference, options = getattr(self, name), getattr(self, mark.options, {}) if mark.options else {}
            if isinstance(reference, str):
                for option, text in option_problems(mark.kind, reference, options).items():
                    below = (mark.options or name, option)
                    raise PydanticCustomError("part", "{text}", {"below": below, "text": text})
        return self


@cache
def own_parts(model: type[BaseModel]) -> dict[tuple[str], PartOption]:
    """Return the options of a section itself, not of those below it, that name parts."""
    return {(keys[0],): mark for keys, mark in marked_options(model, PartOption).items() if len(keys) == 1}


def named(value: Any) -> Any:
    """Return the section that a text stands for in a list of parts: `[a, {name: b, options: {...}}]`."""
    return {"name": value} if isinstance(value, str) else value


def either(*forms: str) -> Discriminator:
    """Return what tells the forms of a setting `keyword | {key: value}`; all are named where none is told.

    The tag of a form is its first key in braces, "{rule}", which no key of a file is. It may have other keys.
    """
    keys = {form[1:].partition(":")[0] for form in forms if form.startswith("{")}

    def tag(value: Any) -> str | None:
        if isinstance(value, str):
            return "keyword" if value in forms else None
        if isinstance(value, dict):
            told = [key for key in value if key in keys] or list(value)
            return _tag(told[0]) if len(told) == 1 else None
        if isinstance(value, BaseModel):
            return _tag(next(iter(type(value).model_fields)))
        return None

    allowed = " | ".join(forms)
    return Discriminator(
        tag, custom_error_type="one_of", custom_error_message=f"allowed: {allowed}", custom_error_context={}
    )


def _tag(key: object) -> str:
    return f"{{{key}}}"
