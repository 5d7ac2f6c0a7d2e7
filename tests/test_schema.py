"""The JSON Schema of recipes: right for every recipe there is, and wrong for mistakes."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import jsonschema
import pydantic
import pytest
import torch
from srkit_inspect import schema as schemas

from srkit import Recipe, cli, recipe, registry
from srkit.errors import OptionError


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = schemas.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def valid() -> dict[str, Any]:
    return {
        "name": "mine",
        "generator": {"name": "face-residual", "width": 8},
        "losses": {"l1": {"weight": 1}},
        "degradation": {"name": "faces-x4", "noise": [0.0, 0.04]},
        "optimizer": {"schedule": "cosine", "betas": [0.5, 0.9]},
    }


@pytest.mark.parametrize("name", list(registry.offers("recipes")))
def test_every_registered_recipe_validates(
    name: str, validator: jsonschema.Draft202012Validator
) -> None:
    validator.validate(tomllib.loads(registry.build("recipes", name).to_toml()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stpes", 3),
        ("steps", "many"),
        ("steps", 0),
        ("data.framing", "crop"),
        ("data.szie", 64),
        ("optimizer.schedule", "cosin"),
        ("optimizer.betas", [0.5]),
        ("optimizer.betas", [0.5, 1.5]),
        ("generator", "face-residual"),
        ("generator.name", "face-residul"),
        ("generator.widht", 8),
        ("generator.width", "wide"),
        ("degradation.kernel", "cubic"),
        ("degradation.noise", "much"),
        ("losses.l1.weight", "heavy"),
        ("losses.l1.root", "value"),
        ("losses.l2", {"weight": 1.0}),
        ("discriminator", {"name": "srgan-plain"}),
        ("adversarial", {"weight": 1.0}),
        ("name", None),
        ("generator", None),
        ("degradation", None),
    ],
)
def test_mistakes_do_not_validate(
    path: str, value: Any, validator: jsonschema.Draft202012Validator
) -> None:
    values = valid()
    validator.validate(values)
    *parents, last = path.split(".")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert not validator.is_valid(values)


def test_every_key_of_a_recipe_is_described(
    validator: jsonschema.Draft202012Validator,
) -> None:
    keys = validator.schema["properties"]
    assert keys.keys() == Recipe.model_fields.keys()
    sections = [keys[name]["properties"] for name in ("data", "optimizer", "adversarial")]
    for table in [keys, *sections]:
        for name, key in table.items():
            assert key.get("description"), name
            assert "``" not in key["description"]
            assert "Attributes:" not in key["description"]


def test_defaults_and_ranges_are_those_of_the_recipe(
    validator: jsonschema.Draft202012Validator,
) -> None:
    keys = validator.schema["properties"]
    assert keys["scale"]["default"] == 4
    assert keys["steps"]["exclusiveMinimum"] == 0
    assert keys["optimizer"]["properties"]["betas"]["default"] == [0.9, 0.999]
    kernels = next(each for each in keys["degradation"]["anyOf"] if _named(each, "faces-x4"))
    assert kernels["properties"]["kernel"]["enum"][0] == kernels["properties"]["kernel"]["default"]


def _named(table: dict[str, Any], name: str) -> bool:
    return bool(table["properties"]["name"]["const"] == name)


def test_options_are_those_of_the_factories_but_for_the_scale(
    validator: jsonschema.Draft202012Validator,
) -> None:
    keys = validator.schema["properties"]
    for key, kind in recipe.PARTS.items():
        assert keys[key]["properties"]["name"]["enum"] == list(registry.offers(kind))
        for table in keys[key]["anyOf"]:
            name = table["properties"]["name"]["const"]
            expected = {option.name for option in registry.options(kind, name)} - {"scale"}
            assert table["properties"].keys() - {"name"} == expected
    assert keys["losses"]["properties"].keys() == registry.offers("losses").keys()


def test_editors_find_neither_references_nor_null_nor_titles(
    validator: jsonschema.Draft202012Validator,
) -> None:
    text = json.dumps(validator.schema)
    assert "$ref" not in text
    assert "null" not in text
    assert text.count('"title": "') == 1


def test_a_part_that_cannot_be_imported_may_have_any_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(kind: str, name: str) -> None:
        raise OptionError("nowhere at all")

    monkeypatch.setattr(registry, "find", nowhere)
    table = schemas.schema()["properties"]["generator"]["anyOf"][0]
    assert table["additionalProperties"] is True


class Tree(pydantic.BaseModel):
    inner: Tree | None = None


def test_a_type_within_itself_is_any_value_there() -> None:
    schema = schemas.json_schema(Tree)
    assert schema["properties"] == {"inner": {}}


def test_options_that_json_cannot_express_may_be_anything() -> None:
    def factory(*, device: torch.device, other: Unknown = None) -> None:  # type: ignore[name-defined] # noqa: F821
        """Do it."""

    schema = schemas.json_schema(schemas.described_table(factory))
    assert schema["properties"] == {"device": {}, "other": {}}


def test_sections_of_docstrings() -> None:
    def documented() -> None:
        """Do it.

        Args:
            first: One ``word``
                and more: of it.
            second: Two.

        Returns:
            third: Not an argument.
        """

    described = schemas.section(documented, "Args")
    assert described == {"first": "One `word` and more: of it.", "second": "Two."}
    assert schemas.section(documented, "Raises") == {}


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schemas.schema()


@pytest.mark.parametrize("arguments", [[], ["faces", "--schema"]])
def test_info_wants_a_name_or_the_schema(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["info", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("srkit: info wants a name")
    assert message.count("\n") == 1
