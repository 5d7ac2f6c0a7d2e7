"""A factory's signature as a type, and the one explanation of wrong values."""

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
from typing_extensions import TypedDict, is_typeddict

from srkit.errors import InputError, SrkitError, nearest

T = TypeVar("T")

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
    module = getattr(getattr(factory, "__init__", None), "__module__", None) or ""
    if isinstance(factory, type) and module.startswith("torch.nn."):
        return []
    try:
        signature = inspect.signature(factory, eval_str=True)
    except (NameError, TypeError, SyntaxError):
        signature = inspect.signature(factory)
    return list(signature.parameters.values())


def table_of(factory: Callable[..., Any]) -> Any:
    """Return a factory's options as a TypedDict, by which pydantic validates them."""
    fields = {o.name: field(o, usable(o.annotation)) for o in options_of(factory)}
    return typed_dict(fields, more=takes_any(factory))


def field(option: Option, note: Any) -> Any:
    """Return an option's type as a TypedDict states it."""
    return Required[note] if option.required else NotRequired[note]


def takes_any(factory: Callable[..., Any]) -> bool:
    """Return whether a factory takes options that its signature doesn't name."""
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in _parameters(factory))


def typed_dict(fields: Mapping[str, Any], *, more: bool = False, **config: Any) -> Any:
    """Return a TypedDict of these fields; ``more``: with any other keys beside them."""
    table: Any = cast(Any, TypedDict)("table", dict(fields))
    known: Any = {"arbitrary_types_allowed": True, "allow_inf_nan": False}
    table.__pydantic_config__ = {"extra": "allow" if more else "forbid"} | known | config
    return table


def usable(annotation: Any) -> Any:
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


def validated(
    note: type[T], values: Any, origin: str, *, error: type[SrkitError] = InputError
) -> T:
    """Return plain values, as read from TOML or JSON, as the type they are meant for.

    ``note`` is any type that pydantic knows. An ``error`` says in one line where the first wrong
    value is: in ``origin``, a file or part.
    """
    try:
        return cast(T, _adapter(note).validate_python(values))
    except pydantic.ValidationError as wrong:
        raise error(f"{origin}: {explain(wrong, note, values)}") from wrong


_adapter: Any = functools.lru_cache(maxsize=64)(pydantic.TypeAdapter)  # takes milliseconds


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


def documentation(documented: Any) -> str:
    """Return a docstring; that of the function within a `functools.partial`."""
    while isinstance(documented, functools.partial):
        documented = documented.func
    return inspect.getdoc(documented) or ""
