"""Parts by kind and name: what is offered, the factory behind a name, a built part."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from srkit import hookspecs, plugins
from srkit.errors import (
    NameClashError,
    OptionError,
    PluginError,
    SrkitError,
    UnknownNameError,
    nearest,
    one_line,
    ran_out,
)
from srkit.hookspecs import Factory, ReadyModel, kinds
from srkit.plugins import Plugin

if TYPE_CHECKING:
    from srkit.options import Option

# What a part of a recipe has: those that are an nn.Module, those that are called.
ATTRIBUTES = {
    "generators": "state_dict",
    "discriminators": "state_dict",
    "losses": "__call__",
    "degradations": "__call__",
}


@dataclass(frozen=True)
class Offer:
    """A name of some kind, who provides it, and its factory, imported or not."""

    kind: str
    name: str
    plugins: tuple[Plugin, ...]  # who provides it; more than one is a clash
    factory: Factory  # the first provider's

    @property
    def plugin(self) -> Plugin:
        """The only provider; two are a NameClashError."""
        if len(self.plugins) > 1:
            owners = " and ".join(map(str, self.plugins))
            choices = " or ".join(f"'{_qualified(plugin, self.name)}'" for plugin in self.plugins)
            raise NameClashError(f"{self} is provided by {owners}; say {choices}")
        return self.plugins[0]

    def __str__(self) -> str:
        return f"{singular(self.kind)} '{self.name}'"


def _qualified(plugin: Plugin, name: str) -> str:
    return f"{plugin.distribution}:{name}"


def singular(kind: str) -> str:
    """Return ``"face set"`` for ``"face_sets"``, for messages."""
    return "loss" if kind == "losses" else kind.removesuffix("s").replace("_", " ")


def kind_named(name: str) -> str:
    """Return the kind that a word stands for: ``generator``, ``face-set``, ``face_sets``."""
    word = name.replace("-", "_").replace(" ", "_")
    for kind in kinds():
        if word in (kind, singular(kind).replace(" ", "_")):
            return kind
    raise UnknownNameError(
        f"unknown kind '{name}'{nearest(word, kinds())}; kinds are {', '.join(kinds())}"
    )


_registered: dict[tuple[str, str], Factory] = {}
SESSION = Plugin("session", "0", "srkit.register", "this process")


def register(kind: str, name: str, factory: Factory) -> None:
    """Give a part of this process a name, as a plugin would; again, to replace it.

    It lasts as long as the process. For a command line see ``--plugin FILE.py``.

    Args:
        kind: ``"generator"``, ``"loss"``, ``"face-set"`` or any other.
        name: Name of the part.
        factory: A class or function, whose keyword arguments are the part's options; or
            ``"module:Name"``.

    Raises:
        UnknownNameError: No such kind.
        NameClashError: A built-in part has this name.
        OptionError: It isn't a name, or nothing that builds a part.
    """
    kind = kind_named(kind)
    if hasattr(factory, "state_dict") and not isinstance(factory, type):
        raise OptionError("register wants what builds the network: its class, or a function")
    if not plugins.acceptable(name, factory):
        raise OptionError(f"register wants a name and a class or function, not {name!r:.40}")
    known = offers(kind).get(name)
    if known and known.plugins[0].built_in:
        raise NameClashError(f"{known} is srkit's own; take another name")
    _registered[kind, name] = factory
    offers.cache_clear()


@cache
def offers(kind: str) -> Mapping[str, Offer]:
    """Return what is offered of a kind, by name, sorted; imports no part.

    A name belongs to the built-in plugin that provides it; another plugin's part of that name is
    ``distribution:name``.
    """
    kind = kind_named(kind)
    providers: dict[str, list[tuple[Plugin, Factory]]] = {}
    registered = ((each, SESSION, {name: f}) for (each, name), f in _registered.items())
    for offered, plugin, names in (*plugins.load().offers, *registered):
        for name, factory in names.items() if offered == kind else ():
            providers.setdefault(name, []).append((plugin, factory))
    result: dict[str, Offer] = {}
    for name, pairs in providers.items():
        chosen = [pair for pair in pairs if pair[0].built_in] or pairs
        result[name] = Offer(kind, name, tuple(plugin for plugin, _ in chosen), chosen[0][1])
        for plugin, factory in pairs if len(pairs) > 1 else ():
            if not plugin.built_in:
                name_of_it = _qualified(plugin, name)
                result[name_of_it] = Offer(kind, name_of_it, (plugin,), factory)
    return dict(sorted(result.items()))


def parts(kind: str) -> list[str]:
    """Return the names of a kind's parts (``"losses"``); UnknownNameError: no such kind."""
    return list(offers(kind))


def offer(kind: str, name: str) -> Offer:
    """Return who provides a name, or ``distribution:name``.

    UnknownNameError: no plugin does; the message says what is known and the nearest name.
    """
    if entry := _known(kind, name):
        return entry
    known = offers(kind)
    # A built-in plugin that waits for an extra may have the name.
    waiting = [p.state.removeprefix("needs ") for p in plugins.load().plugins if "[" in p.state]
    more = f"; more with {', '.join(dict.fromkeys(waiting))}" if waiting else ""
    raise UnknownNameError(
        f"unknown {singular(kind)} '{name}'{nearest(name, known)}; "
        f"known {kind.replace('_', ' ')}: {', '.join(known) or 'none'}{more}"
    )


def _known(kind: str, name: str) -> Offer | None:
    known = offers(kind)
    if name in known:
        return known[name]
    entry = known.get(name.partition(":")[2])
    if entry and name in [_qualified(plugin, entry.name) for plugin in entry.plugins]:
        return entry
    return None


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the factory behind a name, importing it if need be.

    It is an UnknownNameError where no plugin provides the name, a NameClashError where two do, an
    OptionError where the plugin's ``"module:Name"`` can't be imported or called.
    """
    entry = offer(kind, name)
    owner = entry.plugin
    if not isinstance(entry.factory, str):
        return entry.factory
    module, _, attribute = entry.factory.partition(":")
    try:
        with plugins.contained():
            factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except PluginError as error:
        raise OptionError(
            f"{entry} of {owner} can't be imported from '{entry.factory}': {error}"
        ) from error.__cause__
    if not callable(factory):
        raise OptionError(f"{entry} of {owner}: '{entry.factory}' can't be called")
    return factory


def call(kind: str, name: str, *arguments: Any) -> Any:
    """Return what a part's factory gives for arguments; for kinds that have no options."""
    factory = find(kind, name)
    with blamed(kind, name):
        return factory(*arguments)


def options(kind: str, name: str) -> tuple[Option, ...]:
    """Return the options of a part: the keyword arguments of its factory."""
    from srkit.options import options_of

    factory = find(kind, name)
    with blamed(kind, name):
        return options_of(factory)


def describe(kind: str, name: str) -> str:
    """Return the first line of a part's docstring, or ``""``; imports the part."""
    from srkit.options import documentation

    return documentation(find(kind, name)).partition("\n")[0]


def build(kind: str, name: str, /, **values: Any) -> Any:
    """Build a part by kind and name with options as keyword arguments.

    It raises as `find`, and OptionError for an option that the factory doesn't take or that is
    missing, and a value of the wrong type or one that the factory rejects.
    """
    from srkit.options import table_of, validated
    from srkit.recipe import Recipe, reserved

    entry, factory = offer(kind, name), find(kind, name)
    for option in options(kind, name):
        if option.name in reserved(kind):
            raise OptionError(
                f"{entry} of {entry.plugin} has an option '{option.name}', "
                "which is the recipe's own"
            )
    arguments = validated(table_of(factory), values, str(entry), error=OptionError)
    with blamed(kind, name), redirect_stdout(sys.stderr):
        try:
            part = factory(**arguments)
        except ValueError as error:  # the caller's mistake
            raise OptionError(f"{entry}: {error}") from error
        except (ArithmeticError, RuntimeError) as error:  # torch's words for a width of -1, say
            if not (values and entry.plugin.built_in) or ran_out(error):
                raise
            raise OptionError(f"{entry}: {one_line(error)}") from error
    wanted = {"recipes": Recipe, "models": ReadyModel}.get(kind)
    if wanted and not isinstance(part, wanted):
        what = type(part).__name__
        raise OptionError(f"{entry} of {entry.plugin} is {what}, not a srkit.{wanted.__name__}")
    return part


@contextmanager
def blamed(kind: str, name: str) -> Iterator[None]:
    """Name the part, whose it is and what it should do, in whatever another plugin's part raises.

    That is an OptionError then. Our own bugs keep their traceback; where memory runs out, the
    caller may try less.
    """
    try:
        yield
    except SrkitError:
        raise
    except BaseException as error:
        entry = _known(kind, name)
        if plugins.interrupts(error) or ran_out(error) or not entry or entry.plugin.built_in:
            raise
        raise OptionError(
            f"{entry} of {entry.plugin} fails: {plugins.describe(error)}; "
            f"expected: {expectation(kind)}"
        ) from error


def expectation(kind: str) -> str:
    """Return what a kind's factory gives: the first sentence of its hook's documentation."""
    first = (getattr(hookspecs, f"srkit_{kind}").__doc__ or "").partition("\n")[0]
    return first.partition(": ")[2].replace("`", "").rstrip(".")


def build_scaled(kind: str, name: str, scale: int, values: Mapping[str, Any]) -> Any:
    """Build a part, handing it the recipe's ``scale`` where its signature asks for one."""
    arguments = dict(values)
    if "scale" in values and values["scale"] != scale:
        raise OptionError(f"{singular(kind)} '{name}': scale is the recipe's; set 'scale' instead")
    if "scale" in {option.name for option in options(kind, name)}:
        arguments["scale"] = scale
    part = build(kind, name, **arguments)
    if kind in ATTRIBUTES and not hasattr(part, ATTRIBUTES[kind]):
        entry = offer(kind, name)
        what = f"{type(part).__name__}; expected: {expectation(kind)}"
        raise OptionError(f"{entry} of {entry.plugin} is {what}")
    return part


def provenance(kind: str, name: str) -> str:
    """Return ``"distribution version"`` of a part's provider, as stored in checkpoints."""
    plugin = offer(kind, name).plugin
    return f"{plugin.distribution} {plugin.version}"
