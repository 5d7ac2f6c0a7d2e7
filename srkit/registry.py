"""Parts by kind and name: what is offered, the factory behind a name, a built part."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

import pydantic

from srkit import plugins
from srkit.errors import NameClashError, OptionError, UnknownNameError, nearest
from srkit.hookspecs import Factory, ReadyModel, kinds
from srkit.plugins import Plugin
from srkit.recipe import Recipe

# Kinds whose factories give data rather than something to call.
_PLAIN = {"recipes": Recipe, "models": ReadyModel}


@dataclass(frozen=True)
class Offer:
    """A name of some kind, who provides it, and its factory, imported or not.

    Attributes:
        kind: ``"generators"``, ``"losses"``…
        name: As asked for.
        plugins: Who provides it; more than one is a clash.
        factory: The first provider's, a callable or ``"module:Name"``.
    """

    kind: str
    name: str
    plugins: tuple[Plugin, ...]
    factory: Factory

    @property
    def plugin(self) -> Plugin:
        """The only provider.

        Raises:
            NameClashError: Two plugins provide this name.
        """
        if len(self.plugins) > 1:
            owners = " and ".join(str(plugin) for plugin in self.plugins)
            raise NameClashError(
                f"{singular(self.kind)} '{self.name}' is provided by {owners}; "
                "choose one with SRKIT_PLUGINS or uninstall the other"
            )
        return self.plugins[0]


@dataclass(frozen=True)
class Option:
    """One option of a part, as its factory's signature states it."""

    name: str
    annotation: Any
    default: Any
    required: bool

    def __str__(self) -> str:
        note = self.annotation
        text = note.__name__ if isinstance(note, type) else str(note).replace("typing.", "")
        if self.annotation is inspect.Parameter.empty:
            text = "any"
        return f"{self.name}: {text}" + ("" if self.required else f" = {self.default!r}")


def singular(kind: str) -> str:
    """Return ``"face set"`` for ``"face_sets"``, for messages."""
    odd = {"losses": "loss", "studies": "study"}
    return odd.get(kind) or kind.removesuffix("s").replace("_", " ")


@cache
def offers(kind: str) -> Mapping[str, Offer]:
    """Return what is offered of a kind, by name, sorted; imports no part.

    Raises:
        UnknownNameError: No such kind.
    """
    if kind not in kinds():
        raise UnknownNameError(
            f"unknown kind '{kind}'{nearest(kind, kinds())}; kinds are {', '.join(kinds())}"
        )
    result: dict[str, Offer] = {}
    for its_kind, plugin, names in plugins.load().answers:
        if its_kind != kind:
            continue
        for name, factory in names.items():
            others = result[name].plugins if name in result else ()
            first = result[name].factory if name in result else factory
            result[name] = Offer(kind, name, (*others, plugin), first)
    return dict(sorted(result.items()))


def offer(kind: str, name: str) -> Offer:
    """Return who provides a name.

    Raises:
        UnknownNameError: Nobody does; the message says what is known and the nearest name.
    """
    known = offers(kind)
    if name not in known:
        names = ", ".join(known) or "none"
        raise UnknownNameError(
            f"unknown {singular(kind)} '{name}'{nearest(name, known)}; "
            f"known {kind.replace('_', ' ')}: {names}{_elsewhere()}"
        )
    return known[name]


def _elsewhere() -> str:
    """Say which extras aren't installed: a built-in plugin that waits for one may have the name."""
    waiting = [p.state.removeprefix("needs ") for p in plugins.load().plugins if "[" in p.state]
    return f"; more with {', '.join(dict.fromkeys(waiting))}" if waiting else ""


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the factory behind a name, importing it if need be.

    Raises:
        UnknownNameError: Nobody provides the name.
        NameClashError: Two plugins do.
        OptionError: The plugin's ``"module:Name"`` can't be imported.
    """
    its = offer(kind, name)
    owner = its.plugin
    if not isinstance(its.factory, str):
        return its.factory
    module, _, attribute = its.factory.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a stranger's module raises, say whose it is
        raise OptionError(
            f"{singular(kind)} '{name}' of {owner} can't be imported from '{its.factory}': {error}"
        ) from error
    return found


def signature(factory: Callable[..., Any]) -> inspect.Signature:
    """Return a factory's signature with its annotations evaluated where that works.

    A module that defines no ``__init__`` has no options, though torch's own takes anything.
    """
    made_by = getattr(factory, "__init__", None)
    if isinstance(factory, type) and getattr(made_by, "__module__", "").startswith("torch.nn."):
        return inspect.Signature()
    try:
        return inspect.signature(factory, eval_str=True)
    except (NameError, TypeError, SyntaxError):
        return inspect.signature(factory)


def options(kind: str, name: str) -> tuple[Option, ...]:
    """Return the options of a part: the keyword arguments of its factory."""
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        Option(p.name, p.annotation, p.default, p.default is inspect.Parameter.empty)
        for p in signature(find(kind, name)).parameters.values()
        if p.kind in keyword
    )


def describe(kind: str, name: str) -> str:
    """Return the first line of a part's docstring, or ``""``; imports the part."""
    return documentation(find(kind, name)).partition("\n")[0]


def documentation(factory: Callable[..., Any]) -> str:
    """Return a factory's docstring; that of the function within a `functools.partial`."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return inspect.getdoc(factory) or ""


def checked(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the factory's annotations want them (``1`` becomes ``1.0``).

    Raises:
        OptionError: An option the factory doesn't take, a missing one, or a wrong type; the
            message shows the signature.
    """
    known = {option.name: option for option in options(kind, name)}
    what = singular(kind)
    shown = f"{name}({', '.join(str(option) for option in known.values())})"
    accepts_any = any(
        p.kind is inspect.Parameter.VAR_KEYWORD
        for p in signature(find(kind, name)).parameters.values()
    )
    result: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            if not accepts_any:
                raise OptionError(
                    f"{what} '{name}' has no option '{key}'{nearest(key, known)}; it is {shown}"
                )
            result[key] = value
            continue
        result[key] = _coerced(known[key], value, f"{what} '{name}'", shown)
    missing = [key for key, option in known.items() if option.required and key not in given]
    if missing:
        raise OptionError(f"{what} '{name}' needs option '{missing[0]}'; it is {shown}")
    return result


def _coerced(option: Option, value: Any, what: str, shown: str) -> Any:
    if option.annotation in (inspect.Parameter.empty, Any) or isinstance(option.annotation, str):
        return value
    try:
        adapter = pydantic.TypeAdapter[Any](
            option.annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True)
        )
    except pydantic.PydanticUserError:
        return value
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        # A misspelt key comes before the one that is therefore missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise OptionError(f"{what}: {_misfit(option, value, first, shown)}") from error


def _misfit(option: Option, value: Any, error: Mapping[str, Any], shown: str) -> str:
    """Say what doesn't fit an option, and where within its value."""
    problem = error["msg"].removeprefix("Value error, ")
    path, inner, table = _place(value, error["loc"])
    if not path:
        return f"option '{option.name}' can't be {value!r}: {problem}; it is {shown}"
    where = option.name + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    if error["type"] == "extra_forbidden":
        known = _keys(option.annotation, table)
        return f"unknown key '{where}'{nearest(str(path[-1]), known)}; known: {', '.join(known)}"
    if error["type"] in ("missing", "union_tag_not_found"):
        lacking = error.get("ctx", {}).get("discriminator", f"'{error['loc'][-1]}'")
        return f"{where} needs {lacking}"
    return f"{where} can't be {inner!r:.80}: {problem}"


def _place(value: Any, location: tuple[int | str, ...]) -> tuple[list[int | str], Any, Any]:
    """Follow an error's location into a value: the steps that lead there, what lies there, in what.

    A location also names members and tags of unions, which are no place in the value.
    """
    path: list[int | str] = []
    table: Any = None
    for step in location:
        in_table = isinstance(value, Mapping) and step in value
        in_list = isinstance(step, int) and isinstance(value, list | tuple) and step < len(value)
        if in_table or in_list:
            path.append(step)
            table, value = value, value[step]
    return path, value, table


def _keys(annotation: Any, table: Mapping[str, Any]) -> list[str]:
    """Return the keys of the model below an annotation that a table is meant for."""
    models: dict[type[pydantic.BaseModel], None] = {}
    notes, seen = [annotation], dict[int, Any]()
    while notes:
        note = notes.pop(0)
        if id(note) in seen:  # types may refer to themselves
            continue
        seen[id(note)] = note
        if isinstance(note, type) and issubclass(note, pydantic.BaseModel):
            models[note] = None
            notes += [field.annotation for field in note.model_fields.values()]
        # An alias, the members of a union, the items of a list.
        notes += [*get_args(note), *filter(None, [getattr(note, "__value__", None)])]

    def tagged(model: type[pydantic.BaseModel]) -> bool:
        fields = model.model_fields.items()
        notes = [(n, f.annotation) for n, f in fields if n in table]
        return all(table[n] in get_args(note) for n, note in notes if get_origin(note) is Literal)

    fits = [model for model in models if tagged(model)]
    # Of several, the one that knows most of the keys.
    best = max(fits, key=lambda m: len(m.model_fields.keys() & table.keys()), default=None)
    return list(best.model_fields) if best else []


def build(kind: str, name: str, **given: Any) -> Any:
    """Build a part by kind and name with options as keyword arguments.

    Raises:
        UnknownNameError, NameClashError: See `find`.
        OptionError: See `checked`; also where the factory itself rejects a value.
    """
    factory = find(kind, name)
    arguments = checked(kind, name, given)
    try:
        made = factory(**arguments)
    except ValueError as error:
        raise OptionError(f"{singular(kind)} '{name}': {error}") from error
    wanted = _PLAIN.get(kind)
    if wanted and not isinstance(made, wanted):
        what = f"{singular(kind)} '{name}' of {offer(kind, name).plugin}"
        raise OptionError(f"{what} is {type(made).__name__}, not a srkit.{wanted.__name__}")
    return made


def build_scaled(kind: str, name: str, scale: int, given: Mapping[str, Any]) -> Any:
    """Build a part, handing it the recipe's ``scale`` where its signature asks for one."""
    arguments = dict(given)
    if "scale" in given and given["scale"] != scale:
        raise OptionError(f"{singular(kind)} '{name}': scale is the recipe's; set 'scale' instead")
    if "scale" in {option.name for option in options(kind, name)}:
        arguments["scale"] = scale
    return build(kind, name, **arguments)


def provenance(kind: str, name: str) -> str:
    """Return ``"distribution version"`` of a part's provider, as stored in checkpoints."""
    plugin = offer(kind, name).plugin
    return f"{plugin.distribution} {plugin.version}"
