"""Recipes as a JSON Schema, for editors that complete and check TOML."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required, Union

import pydantic

from srkit import options, registry
from srkit.errors import SrkitError
from srkit.recipe import PARTS, Loss, Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipes, as ``json.dumps`` takes it.

    It lists the installed parts with their options, which imports them.
    """
    generated = options.json_schema(_with_installed_parts())
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


_LOSS = {
    name: NotRequired[
        Annotated[
            field.annotation,
            pydantic.Field(
                description=options.section(Loss, "Attributes")[name],
                json_schema_extra={"default": field.default},
            ),
        ]
    ]
    for name, field in Loss.model_fields.items()
}


def _table(kind: str, name: str, first: dict[str, Any]) -> Any:
    """Return the type of a part's table: these keys, and its options but for the scale."""
    try:
        table = options.table_of(registry.find(kind, name))
    except SrkitError:  # a part that can't be imported here may have any options
        return options.typed_dict(first, more=True)
    fields = {key: note for key, note in table.__annotations__.items() if key != "scale"}
    both = options.typed_dict(first | fields)
    both.__pydantic_config__ = table.__pydantic_config__
    return both
