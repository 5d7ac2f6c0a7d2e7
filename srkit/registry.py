"""Parts by kind and name: what is offered, the factory behind a name, a built part."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from srkit import plugins
from srkit.errors import NameClashError, OptionError, SrkitError, UnknownNameError, nearest
from srkit.hookspecs import Factory, ReadyModel, kinds
from srkit.plugins import Plugin

if TYPE_CHECKING:
    from srkit.options import Option


@dataclass(frozen=True)
class Offer:
    """A name of some kind, who provides it, and its factory, imported or not.

    Attributes:
        kind: ``"generators"``, ``"losses"``…
        name: As it is asked for.
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


@cache
def offers(kind: str) -> Mapping[str, Offer]:
    """Return what is offered of a kind, by name, sorted; imports no part.

    A name belongs to the built-in plugin that provides it; another plugin's part of that name is
    ``distribution:name``.

    Raises:
        UnknownNameError: No such kind.
    """
    if kind not in kinds():
        raise UnknownNameError(
            f"unknown kind '{kind}'{nearest(kind, kinds())}; kinds are {', '.join(kinds())}"
        )
    providers: dict[str, list[tuple[Plugin, Factory]]] = {}
    for answered, plugin, names in plugins.load().answers:
        for name, factory in names.items() if answered == kind else ():
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


def offer(kind: str, name: str) -> Offer:
    """Return who provides a name, or ``distribution:name``.

    Raises:
        UnknownNameError: Nobody does; the message says what is known and the nearest name.
    """
    known = offers(kind)
    if name in known:
        return known[name]
    its = known.get(name.partition(":")[2])
    if its and name in [_qualified(plugin, its.name) for plugin in its.plugins]:
        return its
    raise UnknownNameError(
        f"unknown {singular(kind)} '{name}'{nearest(name, known)}; "
        f"known {kind.replace('_', ' ')}: {', '.join(known) or 'none'}{_elsewhere()}"
    )


def _elsewhere() -> str:
    """Say which extras aren't installed: a built-in plugin that waits for one may have the name."""
    waiting = [p.state.removeprefix("needs ") for p in plugins.load().plugins if "[" in p.state]
    return f"; more with {', '.join(dict.fromkeys(waiting))}" if waiting else ""


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the factory behind a name, importing it if need be.

    Raises:
        UnknownNameError: Nobody provides the name.
        NameClashError: Two plugins do.
        OptionError: The plugin's ``"module:Name"`` can't be imported or called.
    """
    its = offer(kind, name)
    owner = its.plugin
    if not isinstance(its.factory, str):
        return its.factory
    module, _, attribute = its.factory.partition(":")
    try:
        with plugins.quiet():
            found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a module raises, say whose it is
        raise OptionError(
            f"{its} of {owner} can't be imported from '{its.factory}': {error}"
        ) from error
    if not callable(found):
        raise OptionError(f"{its} of {owner}: '{its.factory}' can't be called")
    return found


def options(kind: str, name: str) -> tuple[Option, ...]:
    """Return the options of a part: the keyword arguments of its factory."""
    from srkit.options import options_of

    return options_of(find(kind, name))


def describe(kind: str, name: str) -> str:
    """Return the first line of a part's docstring, or ``""``; imports the part."""
    from srkit.options import documentation

    return documentation(find(kind, name)).partition("\n")[0]


def build(kind: str, name: str, **given: Any) -> Any:
    """Build a part by kind and name with options as keyword arguments.

    Raises:
        UnknownNameError, NameClashError: See `find`.
        OptionError: An option that the factory doesn't take, a missing one, a value of the wrong
            type or one that the factory rejects.
    """
    from srkit.options import table_of, validated
    from srkit.recipe import Recipe, reserved

    its, factory = offer(kind, name), find(kind, name)
    for option in options(kind, name):
        if option.name in reserved(kind):
            raise OptionError(
                f"{its} of {its.plugin} has an option '{option.name}', which is the recipe's own"
            )
    arguments = validated(table_of(factory), given, str(its), error=OptionError)
    try:
        made = factory(**arguments)
    except SrkitError:
        raise
    except ValueError as error:
        raise OptionError(f"{its}: {error}") from error
    except (Exception, SystemExit) as error:
        if its.plugin.built_in:  # our own bug keeps its traceback
            raise
        raise OptionError(f"{its} of {its.plugin} fails: {plugins.describe(error)}") from error
    wanted = {"recipes": Recipe, "models": ReadyModel}.get(kind)
    if wanted and not isinstance(made, wanted):
        what = type(made).__name__
        raise OptionError(f"{its} of {its.plugin} is {what}, not a srkit.{wanted.__name__}")
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
