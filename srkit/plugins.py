"""Find and load plugins, one by one, so that a broken one harms nobody else.

Environment:
    SRKIT_PLUGINS: Comma-separated distributions whose plugins load; the built-in ones always
        do. Unset: all. Empty: built-ins only.
    SRKIT_STRICT: ``1`` raises where a broken plugin would be reported and skipped.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from srkit import hookspecs
from srkit.errors import PluginError, nearest

GROUP = "srkit"
COMMANDS_GROUP = "srkit.commands"
BUILT_IN = "srkit"


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group ``srkit``.

    Attributes:
        distribution: Name of the distribution that declares it.
        version: Of that distribution.
        entry_point: Its name in the group.
        target: The module or object it names.
        state: ``"ok"``, ``"off"`` (left out by ``SRKIT_PLUGINS``), ``"needs NAME[extra]"``, or
            ``"broken: …"`` with the reason.
    """

    distribution: str
    version: str
    entry_point: str
    target: str
    state: str = "ok"

    @property
    def built_in(self) -> bool:
        """Whether it ships with srkit itself."""
        return self.distribution == BUILT_IN

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point})"


Answer: TypeAlias = tuple[str, Plugin, dict[str, Any]]  # (kind, who, name -> factory)


@dataclass(frozen=True)
class Loaded:
    """The plugins of this process and what they answered."""

    plugins: tuple[Plugin, ...]
    answers: tuple[Answer, ...]


def _strict() -> bool:
    return os.environ.get("SRKIT_STRICT", "") not in ("", "0")


def wanted(distribution: str) -> bool:
    """Return whether ``SRKIT_PLUGINS`` lets a distribution's plugins load."""
    names = os.environ.get("SRKIT_PLUGINS")
    if names is None or distribution == BUILT_IN:
        return True
    return canonicalize_name(distribution) in {
        canonicalize_name(name.strip()) for name in names.split(",") if name.strip()
    }


def _missing_extra(entry_point: importlib.metadata.EntryPoint, distribution: str) -> str | None:
    """Name the extra an entry point declares, where one of its requirements isn't installed."""
    try:
        requires = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for extra in entry_point.extras:
        for text in requires:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                continue
            if marker.evaluate({"extra": extra}):
                try:
                    importlib.metadata.version(requirement.name)
                except importlib.metadata.PackageNotFoundError:
                    return extra
    return None


def report(plugin: Plugin, problem: str) -> Plugin:
    """Say once on standard error that a plugin is broken, and return it so marked.

    Raises:
        PluginError: Instead, under ``SRKIT_STRICT=1``.
    """
    problem = " ".join(problem.split())
    line = f"plugin {plugin} skipped: {problem}"
    if _strict():
        raise PluginError(line)
    print(f"srkit: warning: {line}", file=sys.stderr)  # noqa: T201
    return replace(plugin, state=f"broken: {problem}")


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _ask(caller: Any, module: object) -> dict[str, Any]:
    """Call one hook of one plugin; raise ValueError where the answer is no answer."""
    if not caller.has_spec():
        known = [f"srkit_{kind}" for kind in hookspecs.kinds()]
        raise ValueError(f"unknown hook '{caller.name}'{nearest(caller.name, known)}")
    (implementation,) = [i for i in caller.get_hookimpls() if i.plugin is module]
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


def _load_one(
    manager: pluggy.PluginManager, entry_point: importlib.metadata.EntryPoint, plugin: Plugin
) -> tuple[Plugin, list[Answer]]:
    if not wanted(plugin.distribution):
        return replace(plugin, state="off"), []
    if extra := _missing_extra(entry_point, plugin.distribution):
        return replace(plugin, state=f"needs {plugin.distribution}[{extra}]"), []
    try:
        module = entry_point.load()
        manager.register(module, name=f"{plugin.distribution}:{plugin.entry_point}")
    except (Exception, SystemExit) as error:
        return report(plugin, _describe(error)), []
    answers: list[Answer] = []
    problems: list[str] = []
    for caller in manager.get_hookcallers(module) or []:
        try:
            answers.append((caller.name.removeprefix("srkit_"), plugin, _ask(caller, module)))
        except (Exception, SystemExit) as error:  # its other hooks still count
            problems.append(_describe(error))
    return (report(plugin, "; ".join(problems)) if problems else plugin), answers


@cache
def load() -> Loaded:
    """Load every plugin once for this process, in the order of distribution and name.

    Raises:
        PluginError: A plugin is broken and ``SRKIT_STRICT=1``.
    """
    manager = pluggy.PluginManager("srkit")
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    answers: list[Answer] = []
    for entry_point, plugin in found(GROUP):
        plugin, its_answers = _load_one(manager, entry_point, plugin)
        plugins.append(plugin)
        answers += its_answers
    return Loaded(tuple(plugins), tuple(answers))


def found(group: str) -> list[tuple[importlib.metadata.EntryPoint, Plugin]]:
    """Return the entry points of a group with who declares them; the built-in ones first."""
    rows: list[tuple[importlib.metadata.EntryPoint, Plugin]] = []
    for entry_point in importlib.metadata.entry_points(group=group):
        dist = entry_point.dist
        name, version = (dist.name, dist.version) if dist else ("unknown", "0")
        plugin = Plugin(name, version, entry_point.name, entry_point.value)
        if (entry_point, plugin) not in rows:
            rows.append((entry_point, plugin))
    return sorted(rows, key=lambda row: (not row[1].built_in, row[1].distribution, row[0].name))
