"""Recipes as a JSON Schema, for editors that complete and check TOML."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

import pydantic
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from srkit import registry
from srkit.errors import SrkitError
from srkit.recipe import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Keys of a recipe that name one part, and its kind.
PARTS = {
    "generator": "generators",
    "discriminator": "discriminators",
    "degradation": "degradations",
}
WEIGHT = "Times the loss's value, for pictures in [0, 1]."

Schema = dict[str, Any]


def schema(*, installed: bool = True) -> Schema:
    """Return the JSON Schema (draft 2020-12) of recipes.

    Everything is written out in place, each part as one of several alternatives (``oneOf``):
    editors of TOML complete from these, but not from conditions (``if``).

    Args:
        installed: List the parts that are installed, with their options, which imports them;
            else a part may have any name and options.

    Returns:
        What ``json.dumps`` takes.
    """
    made = Recipe.model_json_schema(schema_generator=_Documented)
    made = _written_out(made, made.pop("$defs"))
    keys = made["properties"]
    for key in PARTS:
        what = keys[key]["description"]
        keys[key] |= _part(PARTS[key]) if installed else {}
        keys[key]["description"] = what
    weight = keys["losses"]["additionalProperties"]["properties"]["weight"]
    weight["description"] = WEIGHT
    if installed:
        keys["losses"] |= _losses(weight)
    # TOML has no null; together with the required keys this is what `Recipe` checks as a whole.
    together = {"discriminator": ["adversarial"], "adversarial": ["discriminator"]}
    return {"$schema": DIALECT, "title": "srkit recipe", **made, "dependentRequired": together}


def _part(kind: str) -> Schema:
    names = list(registry.offers(kind))
    of_each = []
    for name in names:
        only = {"type": "string", "enum": [name]}
        of_each.append(_options(kind, name, {"name": only}) | {"required": ["name"]})
    word = {"description": f"A registered {registry.singular(kind)}.", "enum": names}
    return {"properties": {"name": {"type": "string", **word}}, "oneOf": of_each}


def _losses(weight: Schema) -> Schema:
    names = registry.offers("losses")
    each = {name: _options("losses", name, {"weight": weight}) for name in names}
    return {"properties": each, "additionalProperties": False}


def _options(kind: str, name: str, first: Mapping[str, Schema]) -> Schema:
    """Return the schema of a part's table: these keys, and its options beside them."""
    table: Schema = {"type": "object", "properties": dict(first), "additionalProperties": True}
    try:
        factory = registry.find(kind, name)
        options = registry.options(kind, name)
    except SrkitError:  # a part that can't be imported here may have any options
        return table
    said = section(factory, "Args")
    for option in options:
        if option.name == "scale":  # written once, for the whole recipe
            continue
        its = _type(option.annotation)
        if option.name in said:
            its["description"] = said[option.name]
        if not option.required and option.default is not None:
            its |= _default(option.default)
        table["properties"][option.name] = its
    table["additionalProperties"] = any(
        p.kind is inspect.Parameter.VAR_KEYWORD
        for p in registry.signature(factory).parameters.values()
    )
    return table | {"description": _markdown(registry.describe(kind, name))}


def _type(annotation: Any) -> Schema:
    """Return the schema of an option's type; anything goes where JSON can't express it."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return {}
    try:
        made = pydantic.TypeAdapter[Any](annotation).json_schema(schema_generator=_Documented)
    except pydantic.PydanticUserError:
        return {}
    result: Schema = _written_out(made, made.pop("$defs", {}))
    return result


def _default(value: Any) -> Schema:
    try:
        return {"default": json.loads(json.dumps(value, allow_nan=False))}
    except (TypeError, ValueError):
        return {}


class _Documented(GenerateJsonSchema):
    """Gives each key of a model what the model's docstring says of it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        made = super().model_schema(schema)
        said = section(schema["cls"], "Attributes")
        for key, its in made.get("properties", {}).items():
            if key in said:
                its["description"] = said[key]
        first = registry.documentation(schema["cls"]).partition("\n\n")[0]
        return made | {"description": _markdown(first)}

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Schema:
        # Such a validator is there to take more than the type does, and seldom says what.
        inner = super().function_before_schema(schema)
        return inner if "json_schema_input_schema" in schema else {"anyOf": [inner, {}]}


def section(documented: Any, heading: str) -> dict[str, str]:
    """Return what a docstring's section (``Attributes``, ``Args``) says of each name."""
    text = registry.documentation(documented)
    found = re.search(rf"^{heading}:\n((?:(?: .*)?(?:\n|\Z))+)", text, re.MULTILINE)
    result = {}
    for entry in re.split(r"\n(?=    \S)", found[1].rstrip()) if found else ():
        name, colon, words = entry.strip().partition(": ")
        if colon:
            result[name] = _markdown(words)
    return result


def _markdown(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _written_out(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Put definitions where they are referred to; drop null, which TOML lacks, and titles."""
    if isinstance(node, list):
        return [_written_out(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if name := node.get("$ref", "").removeprefix("#/$defs/"):
        # Within itself a definition isn't known: a type without end becomes any value there.
        others = {key: value for key, value in definitions.items() if key != name}
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _written_out({**definitions.get(name, {}), **beside}, others)
    if {"type": "null"} in node.get("anyOf", ()):
        given = [each for each in node["anyOf"] if each != {"type": "null"}]
        several = {"anyOf": given} if len(given) > 1 else given[0]
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        return _written_out({**several, **beside}, definitions)
    result = {}
    for key, value in node.items():
        if key == "properties":  # its own keys are names
            result[key] = {name: _written_out(its, definitions) for name, its in value.items()}
        elif key in ("default", "enum", "const"):  # values, not schemas
            result |= {} if value is None else {key: value}
        elif key != "title":
            result[key] = _written_out(value, definitions)
    return result
