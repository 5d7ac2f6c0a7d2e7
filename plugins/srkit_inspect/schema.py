"""``srkit info --schema``: recipes as a JSON Schema, for editors of TOML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, Required, Union, cast

import pydantic
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, core_schema, to_jsonable_python

from srkit import options, registry
from srkit.errors import SrkitError
from srkit.recipe import PARTS, Loss, Recipe

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipes, as ``json.dumps`` takes it.

    It lists the installed parts with their options, which imports them.
    """
    generated = json_schema(_with_installed_parts())
    # Together with the required keys this is what `Recipe` checks as a whole.
    together = {"discriminator": ["adversarial"], "adversarial": ["discriminator"]}
    title = {"$schema": DIALECT, "title": "srkit recipe"}
    return {**title, **generated, "dependentRequired": together}


def _with_installed_parts() -> type[Recipe]:
    fields: dict[str, Any] = {}
    for key, kind in PARTS.items():
        default, names = Recipe.model_fields[key].default, list(registry.offers(kind))
        tables = [_table(kind, name, {"name": Required[Literal[name]]}) for name in names]
        word = {"description": f"A registered {registry.singular(kind)}.", "enum": names}
        extra: Any = {"properties": {"name": {"type": "string", **word}}}
        several: Any = Union[(*tables, None) if default is None else tuple(tables)]  # noqa: UP007
        fields[key] = (several, pydantic.Field(default, json_schema_extra=extra))
    losses = {
        name: NotRequired[_table("losses", name, _LOSS)] for name in registry.offers("losses")
    }
    fields["losses"] = (options.typed_dict(losses), Recipe.model_fields["losses"])
    return pydantic.create_model("Recipe", __base__=Recipe, **fields)


def _table(kind: str, name: str, first: dict[str, Any]) -> Any:
    """Return the type of a part's table: these keys, and its options but for the scale."""
    try:
        factory = registry.find(kind, name)
    except SrkitError:  # a part that can't be imported here may have any options
        return options.typed_dict(first, more=True)
    return described_table(factory, first, without="scale")


def described_table(factory: Any, first: Mapping[str, Any] = {}, without: str = "") -> Any:
    """Return a factory's options as a TypedDict, with what its docstring says of them."""
    described, fields = section(factory, "Args"), dict(first)
    for option in options.options_of(factory):
        if option.name != without:
            about = pydantic.Field(
                description=described.get(option.name), json_schema_extra=_default(option)
            )
            note: Any = Annotated[options.usable(option.annotation), about]
            fields[option.name] = options.field(option, note)
    line = _markdown(options.documentation(factory).partition("\n")[0])
    extra: Any = {"json_schema_extra": {"description": line}} if line else {}
    return options.typed_dict(fields, more=options.takes_any(factory), **extra)


def _default(option: options.Option) -> Schema:
    if option.required or option.default is None:  # TOML has no null
        return {}
    try:
        return {"default": to_jsonable_python(option.default)}
    except PydanticSerializationError:
        return {}


class Documented(GenerateJsonSchema):
    """JSON Schema with models' docstrings as descriptions, without null, which TOML lacks."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:  # noqa: D102
        generated = super().model_schema(schema)
        described = section(schema["cls"], "Attributes")
        for key, field in generated.get("properties", {}).items():
            if key in described:
                field["description"] = described[key]
        first = options.documentation(schema["cls"]).partition("\n\n")[0]
        return generated | {"description": _markdown(first)}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:  # noqa: D102
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:  # noqa: D102
        generated = super().default_schema(schema)
        return {key: value for key, value in generated.items() if (key, value) != ("default", None)}

    def function_before_schema(  # noqa: D102
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> Schema:
        # Such a validator is there to take more than the type does, and seldom says what.
        inner = super().function_before_schema(schema)
        return inner if "json_schema_input_schema" in schema else {"anyOf": [inner, {}]}

    def handle_invalid_for_json_schema(  # noqa: D102
        self, schema: core_schema.CoreSchema, error_info: str
    ) -> Schema:
        return {}  # anything goes where JSON can't express a type


def json_schema(note: Any) -> Schema:
    """Return the JSON Schema of a type with everything in place, for editors of TOML.

    Editors complete from what is written out, but seldom follow references.
    """
    generated = pydantic.TypeAdapter(note).json_schema(schema_generator=Documented)
    return cast(Schema, _inlined(generated, generated.pop("$defs", {})))


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if name := node.get("$ref", "").removeprefix("#/$defs/"):
        # Within itself a definition isn't known: a type without end becomes any value there.
        others = {key: value for key, value in definitions.items() if key != name}
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**definitions.get(name, {}), **siblings}, others)
    titled = isinstance(node.get("title"), str)  # else an option of that name
    items = ((key, value) for key, value in node.items() if not (titled and key == "title"))
    return {key: _inlined(value, definitions) for key, value in items}


def section(documented: Any, heading: str) -> dict[str, str]:
    """Return what a docstring's section (``Attributes``, ``Args``) says of each name."""
    text = options.documentation(documented)
    match = re.search(rf"^{heading}:\n((?:(?: .*)?(?:\n|\Z))+)", text, re.MULTILINE)
    entries = re.split(r"\n(?=    \S)", match[1].rstrip()) if match else []
    pairs = (entry.strip().partition(": ") for entry in entries)
    return {name: _markdown(words) for name, colon, words in pairs if colon}


def _markdown(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


# The keys of a loss beside its options.
_LOSS = {
    name: NotRequired[
        Annotated[
            field.annotation,
            pydantic.Field(
                description=section(Loss, "Attributes")[name],
                json_schema_extra={"default": field.default},
            ),
        ]
    ]
    for name, field in Loss.model_fields.items()
}
