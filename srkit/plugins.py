"""Find and load plugins, one by one, so that a broken one harms no other.

Environment:
    SRKIT_PLUGINS: Comma-separated distributions whose plugins load; the built-in ones always
        do. Unset: all. Empty: built-ins only.
    SRKIT_STRICT: ``1`` raises where a broken plugin would be reported and skipped.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError
from typing import Any

import pluggy

from srkit import hookspecs
from srkit.errors import PluginError, nearest

GROUP = "srkit"
COMMANDS_GROUP = "srkit.commands"
BUILT_IN = "srkit"
SLOW = 2.0  # seconds that a plugin may take without a word: every command waits for it


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group ``srkit``.

    Attributes:
        distribution: Name of the distribution that declares it.
        version: Version of that distribution.
        entry_point: Its name in the group.
        target: The module or object it names.
        state: ``"ok"``, ``"off"`` (left out by ``SRKIT_PLUGINS``), ``"needs NAME[extra]"``, or
            ``"broken: …"`` with the reason.
        seconds: Time that loading it took.
    """

    distribution: str
    version: str
    entry_point: str
    target: str
    state: str = "ok"
    seconds: float = 0.0

    @property
    def built_in(self) -> bool:
        """Whether it ships with srkit itself."""
        return self.distribution == BUILT_IN

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point})"


@dataclass(frozen=True)
class Loaded:
    """The plugins of this process, and what they offer.

    Attributes:
        plugins: All of them, broken ones too.
        offers: Kind of parts, who offers them, name to factory.
    """

    plugins: tuple[Plugin, ...]
    offers: tuple[tuple[str, Plugin, dict[str, Any]], ...]


@cache
def load() -> Loaded:
    """Load every plugin once for this process, in the order of distribution and name.

    Raises:
        PluginError: A plugin is broken and ``SRKIT_STRICT=1``.
    """
    manager = pluggy.PluginManager("srkit")
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    offers: list[tuple[str, Plugin, dict[str, Any]]] = []
    for entry_point, plugin in declared(GROUP):
        start, had_torch = time.perf_counter(), "torch" in sys.modules
        plugin, names_by_kind = _load_one(manager, entry_point, plugin)
        plugin = replace(plugin, seconds=time.perf_counter() - start)
        # A plugin may import torch, as those of the documentation do: most commands need it.
        own = had_torch or "torch" not in sys.modules
        if plugin.seconds > SLOW and own and not plugin.built_in:
            _warn(
                f"plugin {plugin} takes {plugin.seconds:.1f} s to load; its author can name parts "
                "as 'module:Name', which are imported when they are used"
            )
        plugins.append(plugin)
        offers += [(kind, plugin, names) for kind, names in names_by_kind.items()]
    return Loaded(tuple(plugins), tuple(offers))


def declared(group: str) -> list[tuple[EntryPoint, Plugin]]:
    """Return the entry points of a group with who declares them; the built-in ones first."""
    rows: dict[Plugin, EntryPoint] = {}
    known: dict[int, tuple[str, str]] = {}  # reading a distribution's metadata is slow
    for entry_point in importlib.metadata.entry_points(group=group):
        dist = entry_point.dist
        if id(dist) not in known:
            known[id(dist)] = (dist.name, dist.version) if dist else ("unknown", "0")
        rows.setdefault(Plugin(*known[id(dist)], entry_point.name, entry_point.value), entry_point)
    ordered = sorted(rows, key=lambda p: (not p.built_in, p.distribution, p.entry_point))
    return [(rows[plugin], plugin) for plugin in ordered]


def wanted(distribution: str) -> bool:
    """Return whether ``SRKIT_PLUGINS`` lets a distribution's plugins load."""
    names = os.environ.get("SRKIT_PLUGINS")
    if names is None or distribution == BUILT_IN:
        return True
    return _canonical(distribution) in map(_canonical, names.split(","))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _load_one(
    manager: pluggy.PluginManager, entry_point: EntryPoint, plugin: Plugin
) -> tuple[Plugin, dict[str, dict[str, Any]]]:
    if not wanted(plugin.distribution):
        return replace(plugin, state="off"), {}
    if extra := _missing_extra(entry_point, plugin.distribution):
        return replace(plugin, state=f"needs {plugin.distribution}[{extra}]"), {}
    try:
        if not plugin.built_in:
            _require_version(entry_point)
        with quiet():
            module = entry_point.load()
        if manager.is_registered(module):
            raise ValueError(f"another entry point names {plugin.target}, too")
        manager.register(module, name=f"{plugin.distribution}:{plugin.entry_point}")
    except (Exception, SystemExit) as error:
        return report(plugin, describe(error)), {}
    names: dict[str, dict[str, Any]] = {}
    problems = [f"{name} isn't marked @srkit.hookimpl" for name in _unmarked(module)]
    for caller in manager.get_hookcallers(module) or []:
        try:
            names[caller.name.removeprefix("srkit_")] = _call(caller, module)
        except (Exception, SystemExit) as error:  # its other hooks still count
            problems.append(describe(error))
    return (report(plugin, "; ".join(problems)) if problems else plugin), names


def _require_version(entry_point: EntryPoint) -> None:
    """Raise ValueError where a distribution requires another version of srkit."""
    for text in (entry_point.dist.requires if entry_point.dist else None) or ():
        if re.match(r"srkit\b(?![-.])", text, re.IGNORECASE):
            from packaging.requirements import Requirement  # slow to import, too

            requirement, version = Requirement(text), importlib.metadata.version(BUILT_IN)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(version, prereleases=True):
                raise ValueError(f"requires srkit{requirement.specifier}, and this is {version}")


def _missing_extra(entry_point: EntryPoint, distribution: str) -> str | None:
    """Name the extra an entry point declares, where one of its requirements isn't installed."""
    requirements = importlib.metadata.requires(distribution) or [] if entry_point.extras else []
    for extra in entry_point.extras:
        for requirement in requirements:
            name, _, marker = requirement.partition(";")
            if "extra" in marker and _only_for(marker, extra):
                try:
                    importlib.metadata.version(re.split(r"[^\w.-]", name.strip())[0])
                except PackageNotFoundError:
                    return extra
    return None


def _only_for(marker: str, extra: str) -> bool:
    if plain := re.fullmatch(r"""\s*extra\s*==\s*["']([\w.-]+)["']\s*""", marker):
        return _canonical(plain[1]) == _canonical(extra)
    from packaging.markers import Marker  # slow to import, and seldom needed

    return Marker(marker).evaluate({"extra": extra})


@contextlib.contextmanager
def quiet() -> Any:
    """Send what a plugin prints to standard error: standard output is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _hooks() -> list[str]:
    return [f"srkit_{kind}" for kind in hookspecs.kinds()]


def _unmarked(module: object) -> list[str]:
    """Return a plugin's functions that have a hook's name and aren't marked as one."""
    functions = ((name, getattr(module, name, None)) for name in _hooks())
    return [
        name
        for name, function in functions
        if inspect.isroutine(function) and not hasattr(function, "srkit_impl")
    ]


def _call(caller: Any, module: object) -> dict[str, Any]:
    """Call one hook of one plugin; raise ValueError where the answer is no answer."""
    if not caller.has_spec():
        raise ValueError(f"unknown hook '{caller.name}'{nearest(caller.name, _hooks())}")
    (implementation,) = [i for i in caller.get_hookimpls() if i.plugin is module]
    with quiet():
        answer = implementation.function()
    if not isinstance(answer, Mapping) or not all(
        isinstance(name, str) and (callable(factory) or isinstance(factory, str))
        for name, factory in answer.items()
    ):
        raise ValueError(
            f"{caller.name} must return a dict of names to factories or 'module:Name' strings, "
            f"not {answer!r:.80}"
        )
    return dict(answer)


def report(plugin: Plugin, problem: str) -> Plugin:
    """Say once on standard error that a plugin is broken, and return it so marked.

    Raises:
        PluginError: Instead, under ``SRKIT_STRICT=1``.
    """
    problem = " ".join(problem.split())
    line = f"plugin {plugin} skipped: {problem}"
    if os.environ.get("SRKIT_STRICT", "") not in ("", "0"):
        raise PluginError(line)
    _warn(line)
    return replace(plugin, state=f"broken: {problem}")


def _warn(line: str) -> None:
    print(f"srkit: warning: {line}", file=sys.stderr)  # noqa: T201


def describe(error: BaseException) -> str:
    """Return an exception's class and message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
