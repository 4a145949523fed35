"""The JSON Schema of scenario files, with the options of every shipped part, by which editors complete and check."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import PydanticSerializationError

from clsim.part_kinds import KINDS
from clsim.parts import described, entry_points_of
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.section import own_parts

STRATEGY_OPTIONS = "StrategyOptions"
"""The definition with the options of strategies by name, which are keys of `--set` and not of a scenario file."""


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files.

    A section that names a shipped part holds the options of that part; those of a user's own part stay free, and so do
    those of a part that takes any keyword. Shipped parts are imported for that.
    """
    strategies = {name: described("strategy", name)[1] for name in entry_points_of("strategy")}
    models = [(model, "validation") for model in (ScenarioConfig, *strategies.values()) if model is not None]
    references, whole = models_json_schema(models, schema_generator=_WithPartOptions)  # type: ignore[arg-type]
    definitions = whole["$defs"]
    scenario = definitions.pop(ScenarioConfig.__name__)
    definitions[STRATEGY_OPTIONS] = {
        "description": "options of the shipped strategies, as in --set strategy.lwf.weight=0.5",
        "type": "object",
        "properties": {name: references[model, "validation"] for name, model in strategies.items() if model},
    }
    return {**scenario, "$defs": dict(sorted(definitions.items()))}


def options_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of the options of a part; an option of a type that JSON does not have is left free."""
    return model.model_json_schema(by_alias=False, schema_generator=_OfAnyType)


class _OfAnyType(GenerateJsonSchema):
    """Leaves a field free whose type JSON does not have, as of options of torch's own parts."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  as pydantic declares it

    def model_field_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema of a field; of a type that JSON does not have one that all values satisfy."""
        try:
            return super().model_field_schema(schema)
        except (PydanticInvalidForJsonSchema, PydanticSerializationError):
            return {}


class _WithPartOptions(_OfAnyType):
    """Adds to each section with a part the options of the shipped ones: `if` it is that part, `then` these."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema of a model, a section perhaps."""
        shown = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        conditions = [
            self._condition(key, mark.options, name, options, model.model_fields[key].default == name)
            for (key,), mark in own_parts(model).items()
            if mark.options in model.model_fields
            for name, options in _closed_options(mark.kind, shown["properties"][key]).items()
        ]
        return {**shown, "allOf": conditions} if conditions else shown

    def _condition(
        self, key: str, options_key: str, name: str, options: type[BaseModel], is_default: bool
    ) -> JsonSchemaValue:
        named = {"properties": {key: {"const": name}}, **({} if is_default else {"required": [key]})}
        then: JsonSchemaValue = {"properties": {options_key: self.generate_inner(options.__pydantic_core_schema__)}}
        if any(field.is_required() for field in options.model_fields.values()):
            then["required"] = [options_key]
        return {"if": named, "then": then}


def _closed_options(kind: str, field: JsonSchemaValue) -> dict[str, type[BaseModel]]:
    """Return the options of the shipped parts that a field may name, but for those that take any keyword whatever."""
    refused = field.get("not", {}).get("enum", ())  # they have sections of their own
    found = {name: described(kind, name)[1] for name in KINDS[kind].shipped if name not in refused}
    return {
        name: model for name, model in found.items() if model is not None and model.model_config.get("extra") != "allow"
    }
