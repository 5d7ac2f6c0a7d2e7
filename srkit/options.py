"""A factory's signature as a type; the one explanation of wrong values; both as JSON Schema."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

import pydantic
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, core_schema, to_jsonable_python
from typing_extensions import TypedDict, is_typeddict

from srkit.errors import InputError, SrkitError, nearest

T = TypeVar("T")
Schema = dict[str, Any]

_KEYWORD = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_WRAPPERS = (Annotated, NotRequired, Required)


@dataclass(frozen=True)
class Option:
    """One option of a part, as its factory's signature states it."""

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether the option has no default."""
        return self.default is inspect.Parameter.empty

    def __str__(self) -> str:
        note = self.annotation
        text = note.__name__ if isinstance(note, type) else str(note).replace("typing.", "")
        if note is inspect.Parameter.empty:
            text = "any"
        return f"{self.name}: {text}" + ("" if self.required else f" = {self.default!r}")


def options_of(factory: Callable[..., Any]) -> tuple[Option, ...]:
    """Return the options of a factory: its keyword arguments."""
    parameters = _parameters(factory)
    return tuple(Option(p.name, p.annotation, p.default) for p in parameters if p.kind in _KEYWORD)


def inputs_of(part: Callable[..., Any]) -> frozenset[str]:
    """Return what a loss or a metric asks for: the names in its signature."""
    return frozenset(inspect.signature(getattr(part, "forward", part)).parameters)


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    # A module that defines no __init__ has no options, though torch's own takes anything.
    init = getattr(factory, "__init__", None)
    if isinstance(factory, type) and getattr(init, "__module__", "").startswith("torch.nn."):
        return []
    try:
        signature = inspect.signature(factory, eval_str=True)
    except (NameError, TypeError, SyntaxError):
        signature = inspect.signature(factory)
    return list(signature.parameters.values())


def table_of(factory: Callable[..., Any]) -> Any:
    """Return a factory's options as a TypedDict, which pydantic validates and describes."""
    described = section(factory, "Args")
    fields: dict[str, Any] = {}
    for option in options_of(factory):
        field = pydantic.Field(
            description=described.get(option.name), json_schema_extra=_default(option)
        )
        note: Any = Annotated[_usable(option.annotation), field]
        fields[option.name] = Required[note] if option.required else NotRequired[note]
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in _parameters(factory))
    return typed_dict(fields, more=takes_any, description=documentation(factory).partition("\n")[0])


def typed_dict(fields: Mapping[str, Any], *, more: bool = False, description: str = "") -> Any:
    """Return a TypedDict of these fields; ``more``: with any other keys beside them."""
    table: Any = cast(Any, TypedDict)("table", dict(fields))
    table.__pydantic_config__ = pydantic.ConfigDict(
        extra="allow" if more else "forbid",
        arbitrary_types_allowed=True,
        json_schema_extra={"description": _markdown(description)} if description else None,
    )
    return table


def _usable(annotation: Any) -> Any:
    """Return an annotation, or Any for one that pydantic can't use."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return Any
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    try:
        pydantic.TypeAdapter(Annotated[annotation, ...], config=config)
    except pydantic.PydanticUserError as error:
        # A model has a configuration of its own.
        return annotation if error.code == "type-adapter-config-unused" else Any
    except NameError:
        return Any
    return annotation


def _default(option: Option) -> Schema:
    if option.required or option.default is None:  # TOML has no null
        return {}
    try:
        return {"default": to_jsonable_python(option.default)}
    except PydanticSerializationError:
        return {}


def validated(
    note: type[T], values: Any, origin: str, *, error: type[SrkitError] = InputError
) -> T:
    """Return plain values as the type they are meant for.

    Args:
        note: A pydantic model, a TypedDict, or any other type that pydantic knows.
        values: As read from TOML or JSON.
        origin: File or part, for the message.
        error: Class of the exception.

    Raises:
        SrkitError: An ``error``; one line names the first wrong value and where it is.
    """
    try:
        return cast(T, _adapter(cast(Any, note)).validate_python(values))
    except pydantic.ValidationError as wrong:
        raise error(f"{origin}: {explain(wrong, note, values)}") from wrong


@functools.lru_cache(maxsize=64)
def _adapter(note: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(note)  # takes milliseconds


def explain(error: pydantic.ValidationError, note: Any, values: Any) -> str:
    """Return in one line the first thing wrong with values meant for a type."""
    # A misspelt key comes before the one that is therefore missing.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    kind, context = first["type"], first.get("ctx", {})
    path, value, table = _place(values, first["loc"])
    if kind == "extra_forbidden":
        known = _keys(note, path[:-1], table)
        meant = nearest(str(path[-1]), known)
        return f"unknown key '{_dotted(path)}'{meant}; known: {', '.join(known)}"
    if kind == "missing":
        return f"'{_dotted([*path, first['loc'][-1]])}' is missing"
    if kind == "union_tag_not_found":
        return f"'{_dotted([*path, context['discriminator'].strip(chr(39))])}' is missing"
    if kind == "union_tag_invalid":
        path, value = [*path, context["discriminator"].strip("'")], context["tag"]
    where, shown = _dotted(path), f"{value!r:.60}"
    if expected := context.get("expected") or context.get("expected_tags"):
        meant = nearest(str(value).lower(), re.findall(r"'([^']+)'", expected))
        return f"'{where}' can't be {shown}{meant}; it is {expected}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        named = f"'{where}'" if where else "this"
        return f"{named} is a table with keys of its own, not {shown}"
    problem = first["msg"].removeprefix("Value error, ")
    return f"'{where}' can't be {shown}: {problem}" if where else problem


def _dotted(path: list[int | str]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _place(values: Any, location: tuple[int | str, ...]) -> tuple[list[int | str], Any, Any]:
    """Follow an error's location: the steps that lead there, what lies there, and in what.

    A location also names members and tags of unions, which are no place in the values.
    """
    path: list[int | str] = []
    table: Any = None
    for step in location:
        in_table = isinstance(values, Mapping) and step in values
        in_list = isinstance(step, int) and isinstance(values, list | tuple) and step < len(values)
        if in_table or in_list:
            path.append(step)
            table, values = values, values[step]
    return path, values, table


def _keys(note: Any, path: list[int | str], table: Mapping[str, Any]) -> list[str]:
    """Return the keys of the type that is meant for the table at a path below a type."""
    notes = list(_members(note))
    for step in path:
        notes = [m for note in notes for inner in _below(note, step) for m in _members(inner)]
    for fields in filter(None, map(_fields, notes)):
        tags = ((n, f) for n, f in fields.items() if get_origin(f) is Literal and n in table)
        if all(table[name] in get_args(tag) for name, tag in tags):
            return list(fields)
    return []


def _members(note: Any) -> Iterator[Any]:
    """Yield the types behind aliases, annotations and unions."""
    note = getattr(note, "__value__", note)
    if get_origin(note) in _WRAPPERS:
        yield from _members(get_args(note)[0])
    elif get_origin(note) in (Union, UnionType):
        for member in get_args(note):
            yield from _members(member)
    else:
        yield note


def _fields(note: Any) -> dict[str, Any]:
    if is_typeddict(note):
        return dict(note.__annotations__)
    if isinstance(note, type) and issubclass(note, pydantic.BaseModel):
        return {name: field.annotation for name, field in note.model_fields.items()}
    return {}


def _below(note: Any, step: int | str) -> list[Any]:
    """Return the types of what a key or index of a type holds."""
    if fields := _fields(note):
        return [fields[str(step)]] if step in fields else []
    return list(get_args(note))  # of a dict the key's type too, which has no fields


class Documented(GenerateJsonSchema):
    """JSON Schema with models' docstrings as descriptions, without null, which TOML lacks."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:  # noqa: D102
        generated = super().model_schema(schema)
        described = section(schema["cls"], "Attributes")
        for key, field in generated.get("properties", {}).items():
            if key in described:
                field["description"] = described[key]
        first = documentation(schema["cls"]).partition("\n\n")[0]
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


def documentation(documented: Any) -> str:
    """Return a docstring; that of the function within a `functools.partial`."""
    while isinstance(documented, functools.partial):
        documented = documented.func
    return inspect.getdoc(documented) or ""


def section(documented: Any, heading: str) -> dict[str, str]:
    """Return what a docstring's section (``Attributes``, ``Args``) says of each name."""
    text = documentation(documented)
    match = re.search(rf"^{heading}:\n((?:(?: .*)?(?:\n|\Z))+)", text, re.MULTILINE)
    entries = re.split(r"\n(?=    \S)", match[1].rstrip()) if match else []
    pairs = (entry.strip().partition(": ") for entry in entries)
    return {name: _markdown(words) for name, colon, words in pairs if colon}


def _markdown(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")
